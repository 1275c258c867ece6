"""What the answers look like, for the OpenAPI document: the routes send rows as they are (rows.py).

In: the registries of columns. Out: pydantic models, and `answers` for a route's `responses`. What can go
wrong: nothing; tests/web/test_schema.py compares answers with these models.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from hepcat.batch.schema import SIP_COLUMNS
from hepcat.search.calls import CALL_COLUMNS
from hepcat.search.histogram import CLASSES
from hepcat.web.problems import MEDIA_TYPE

Microseconds = Annotated[int, Field(description="Microseconds since the epoch (UTC).")]
Count = Annotated[int, Field(ge=0)]
_CALL_TYPES: Final[dict[str, Any]] = {"timestamp": int, "string": str, "number": int, "seconds": float}
_SIP_TYPES: Final[dict[str, Any]] = {"timestamp": int, "map": dict[str, str | None], "binary": str}
_UNITS: Final = {"timestamp": " (microseconds since the epoch)", "seconds": " (seconds)"}


class Answer(BaseModel):
    """An answer has these members and no others."""

    model_config = ConfigDict(extra="forbid")


def _row(name: str, doc: str, types: dict[str, Any], columns: Any, more: Any) -> Any:
    """Make the model of a row: each column may be left out (`fields`), and each may have no value."""
    fields: dict[str, Any] = {}
    for column in columns:
        kind = types.get(column.type, int if column.type.startswith("uint") else str) | None
        about = column.doc + _UNITS.get(column.type, "")
        fields[column.name] = (kind, Field(None, description=about))
    return create_model(name, __config__=ConfigDict(extra=more), __doc__=doc, **fields)


CallRow = _row(
    "CallRow", "A call: what the messages of one Call-ID say.", _CALL_TYPES, CALL_COLUMNS, "forbid"
)
MessageRow = _row(
    "MessageRow",
    "A message; further members are extra.NAME and header.NAME.",
    _SIP_TYPES,
    SIP_COLUMNS,
    "allow",
)


class Rows(Answer):
    """A page of rows."""

    next: str | None = Field(description="`cursor` of the next page; null: this is the last.")
    since: Microseconds | None = Field(description="Begin of the range; null: the beginning.")
    until: Microseconds = Field(description="End of the range; the moment of the first request if left out.")
    notes: list[str] = Field(description="What the answer lacks, in words.")


class CallRows(Rows):
    """A page of calls."""

    calls: list[CallRow]  # type: ignore[valid-type]


class MessageRows(Rows):
    """A page of messages."""

    messages: list[MessageRow]  # type: ignore[valid-type]


class _Counts(Answer):
    start: list[int] = Field(description="Begin of each bucket, microseconds since the epoch.")
    width: int | None = Field(description="Length of each bucket in microseconds; null: nothing was found.")
    since: Microseconds | None
    until: Microseconds
    total: list[Count]
    notes: list[str]


_BY_CLASS: Final[dict[str, Any]] = {
    name: (list[Count], Field(description=f"Of class {name}.")) for name in CLASSES
}
Counts: Any = create_model(
    "Counts",
    __base__=_Counts,
    __doc__="Counts over time, empty buckets too: all, and by class of status.",
    **_BY_CLASS,
)


class TopRow(Answer):
    """A value and how often it was found."""

    value: str | int | None = Field(description="null: no such value")
    count: Count


class Top(Answer):
    """The most frequent values."""

    by: str
    rows: list[TopRow]
    total: Count = Field(description="Messages (calls) that match.")
    other: Count = Field(description="Of these, with other values.")
    since: Microseconds | None
    until: Microseconds
    notes: list[str]


class FieldModel(Answer):
    """A field of the query language."""

    name: str
    kind: str
    doc: str
    aliases: list[str]
    operators: list[str] = Field(description="What may stand between the field and a value.")
    examples: list[str]
    of: list[str] = Field(description="Columns that it looks at.")


class Values(Answer):
    """Recent values of a field."""

    values: list[str]


class Parsed(Answer):
    """The query can be understood."""

    ok: Literal[True]


class ProblemModel(BaseModel):
    """A problem document (RFC 9457)."""

    type: str = Field(description="What kind of problem; described in /api/docs.")
    title: str
    status: int
    detail: str
    hint: str | None = Field(None, description="What to do about it.")
    position: int | None = Field(
        None, description="Where `query` cannot be understood; counted in characters."
    )
    query: str | None = None
    parameter: str | None = Field(None, description="The parameter that is wrong.")


_WHY: Final = {
    400: "A parameter or the query is wrong: `position` points at the character.",
    401: "Nobody is logged in.",
    403: "Not allowed.",
    404: "There is no such thing.",
    413: "More than one answer may carry.",
    421: "A name that is none of this server's.",
    429: "Too much at once; Retry-After says when to try again.",
    501: "The store cannot do this.",
    502: "The store does not answer.",
    503: "Not available just now.",
    504: "The search took longer than it may.",
}
#: What any route that searches may answer.
SEARCH_PROBLEMS: Final = (400, 401, 403, 404, 421, 429, 502, 503, 504)


def answers(model: Any = None, *statuses: int, **file: Any) -> dict[int | str, dict[str, Any]]:
    """Return a route's `responses`: the model (or what says how a file looks), and problem documents."""
    problem = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemModel"}}}
    told: dict[int | str, dict[str, Any]] = {
        status: {"description": _WHY[status], "content": problem}
        for status in sorted({*SEARCH_PROBLEMS, *statuses})
    }
    told[200] = file or {"model": model, "description": getattr(model, "__doc__", None) or "The answer."}
    return told
