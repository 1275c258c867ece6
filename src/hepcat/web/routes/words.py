"""GET /api/fields, /api/values, /api/parse: what completion and error marks of a query box need.

In: the name of a field, the beginning of a value; a query. Out: fields, recent values; whether the query can
be understood. What can go wrong: 400 with the position of the fault; what searches.py says.
"""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request

from hepcat.search.fields import KEYED, Field, Kind, fields_of
from hepcat.web.auth import Viewer
from hepcat.web.models import FieldModel, Parsed, Values, answers
from hepcat.web.parameters import QueryText, StoreName, TimeRange
from hepcat.web.rows import Encoded, encode
from hepcat.web.site import TheSite

router = APIRouter(prefix="/api", tags=["query language"])

_TEXT: Final = (":", "!=")
_ORDER: Final = (":", "!=", ">", ">=", "<", "<=")
_EXAMPLES: Final[dict[Kind, tuple[str, ...]]] = {
    Kind.TEXT: ("{}:value", "{}:val*", "{}:*"),
    Kind.NOCASE: ("{}:value", "{}:*value*", "{}:~^a.*z$~"),
    Kind.NUMBER: ("{}:100", "{}>=100", "{}:100..199"),
    Kind.TIME: ("{}>=1h", "{}:today"),
    Kind.ADDRESS: ("{}:192.0.2.1", "{}:192.0.2.1:5060", "{}:10.0.0.0/8"),
    Kind.HOST: ("{}:example.org", "{}:*.example.org"),
    Kind.PERSON: ("{}:alice", "{}:alice@example.org", "{}:+49*"),
    Kind.AGENT: ("{}:edge-1", "{}:2001"),
    Kind.PAYLOAD: ("{}:word", '{}:"two words"'),
}
#: Fields of which more can be said than of others of their kind.
_OF_FIELD: Final[dict[str, tuple[str, ...]]] = {
    "method": ("method:INVITE", "method:INVITE,BYE"),
    "status": ("status:486", "status:4xx", "status>=400"),
}

FieldName = Annotated[str, Query(max_length=128, description="A field or an alias.", examples=["from"])]
Prefix = Annotated[str, Query(max_length=256, description="How values begin; letters in any case.")]
Some = Annotated[int, Query(ge=1, le=200, description="Values at most.")]


@router.get("/fields", summary="Fields of the query language", responses=answers(list[FieldModel]))
async def fields(viewer: Viewer) -> Encoded:
    """Return every field: its kind, what it is, operators and examples; extra. and header. take any name."""
    known = [_field(field) for field in fields_of("sip").values()]
    headers = [
        {
            "name": f"{name}.",
            "kind": Kind.NOCASE.value,
            "doc": doc,
            "aliases": [],
            "operators": list(_TEXT),
            "examples": [f"{name}.X-Foo:bar"],
            "of": [],
        }
        for name, doc in KEYED.items()
    ]
    return Encoded(encode([*known, *headers]))


@router.get("/values", summary="Recent values of a field", response_class=Encoded, responses=answers(Values))
async def values(
    request: Request,
    site: TheSite,
    viewer: Viewer,
    span: TimeRange,
    field: FieldName,
    prefix: Prefix = "",
    limit: Some = 20,
    store: StoreName = None,
) -> Encoded:
    """Return values that the newest messages have."""

    def search() -> bytes:
        from hepcat.search.recent_values import values as recent

        found = recent(site.stores.get(store).searcher, field, prefix, span.since, span.end, limit)
        return encode({"values": [str(value) for value in found]})

    return Encoded(await site.searches.run(request, viewer.name, search))


@router.get("/parse", summary="Check a query", responses=answers(Parsed))
async def parse(request: Request, site: TheSite, viewer: Viewer, q: QueryText = "") -> Parsed:
    """Say that a query can be understood; else the problem has the position of the fault."""
    from hepcat.search.parser import parse_query

    await site.searches.run(request, viewer.name, lambda: parse_query(q))
    return Parsed(ok=True)


def _field(field: Field) -> dict[str, Any]:
    ordered = field.kind in (Kind.NUMBER, Kind.TIME)
    examples = _OF_FIELD.get(field.name) or [text.format(field.name) for text in _EXAMPLES[field.kind]]
    return {
        "name": field.name,
        "kind": field.kind.value,
        "doc": field.doc,
        "aliases": list(field.aliases),
        "operators": list(_ORDER if ordered else _TEXT),
        "examples": list(examples),
        "of": list(dict.fromkeys(name for pair in field.columns for name in pair if name is not None)),
    }
