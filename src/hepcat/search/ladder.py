"""The ladder of one or several calls: hosts, arrows and what became of each, ready to be drawn.

In: messages as an Arrow table with columns of batch/schema.py (those that are missing count as null),
and names for hosts. Out: `Ladder`, a plain value that hepcat.search.render draws as text, SVG, Mermaid
or JSON, all the same picture. What can go wrong: nothing that traffic can cause; every message of the
table is one arrow. Strings come out as they were sent: the renderers make them safe to show.

Neither DuckDB nor the lake is needed here.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hepcat.search import cancel
from hepcat.search.ladder_hosts import Host, Wire, endpoint_text, place_hosts
from hepcat.search.ladder_legs import Leg, summarize
from hepcat.search.ladder_marks import Marks, Message, mark
from hepcat.search.sdp import Sdp, sdp_of_body

if TYPE_CHECKING:
    import pyarrow as pa

    from hepcat.search.findings.finding import Finding

__all__ = ["Arrow", "Host", "Ladder", "Leg", "build"]

#: Columns that are read; all others are ignored.
COLUMNS: Final[tuple[str, ...]] = (
    "ts",
    "transport",
    "src_ip",
    "src_port",
    "dst_ip",
    "dst_port",
    "vlan",
    "node_id",
    "node_name",
    "method",
    "status",
    "reason_phrase",
    "ruri",
    "from_user",
    "from_domain",
    "from_tag",
    "to_user",
    "to_domain",
    "to_tag",
    "call_id",
    "cseq",
    "via_1",
    "via_1_branch",
    "user_agent",
    "content_type",
    "expires",
    "malformed",
    "payload",
)
_HEADER_END: Final = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True, slots=True)
class Arrow:
    """One message. Numbers of hosts, legs and other arrows count from 0; times are microseconds."""

    index: int
    ts: int  # since the epoch, UTC
    delta: int  # since the arrow before, of whichever call
    elapsed: int  # since the first arrow
    src: int
    dst: int
    src_text: str  # ip:port as captured
    dst_text: str
    transport: str | None
    leg: int
    method: str | None  # of the request; in a response the CSeq's
    status: int | None  # None in a request
    reason: str | None
    ruri: str | None
    cseq: str | None
    from_tag: str | None
    to_tag: str | None
    label: str
    sdp: Sdp | None
    transaction: int
    retransmission: int  # 0: sent for the first time; n: the n-th retransmission
    retransmission_of: int | None
    copy_of: int | None  # the same message, captured twice
    forward_of: int | None  # the same octets between other addresses
    in_dialog: bool  # a request with a To tag (not ACK)
    dialog: int | None  # which branch of a fork answered, where several did
    user_agent: str | None
    expires: int | None  # seconds
    malformed: str | None
    payload: bytes

    @property
    def is_request(self) -> bool:
        """Whether this is a request (or something that is not even a response)."""
        return self.status is None

    @property
    def outcome(self) -> str:
        """`request`, `provisional`, `success`, `redirect` or `failure`."""
        if self.status is None:
            return "request"
        if self.status < 200:
            return "provisional"
        if self.status < 300:
            return "success"
        return "redirect" if self.status < 400 else "failure"

    @property
    def faint(self) -> bool:
        """Whether it adds nothing new to the call: a retransmission or a copy."""
        return self.retransmission > 0 or self.copy_of is not None

    @property
    def notes(self) -> tuple[str, ...]:
        """The marks in words, for people; messages are numbered from 1 there."""
        notes = []
        if self.retransmission:
            notes.append(f"retransmission {self.retransmission}")
        if self.copy_of is not None:
            notes.append(f"copy of #{self.copy_of + 1}")
        if self.forward_of is not None:
            notes.append(f"same octets as #{self.forward_of + 1}")
        if self.dialog is not None:
            notes.append(f"branch {self.dialog}")
        if self.malformed:
            notes.append(f"malformed: {self.malformed}")
        return tuple(notes)


@dataclass(frozen=True, slots=True)
class Ladder:
    """A picture of calls. `str()` draws it in plain text; in a notebook it draws itself."""

    hosts: tuple[Host, ...]
    arrows: tuple[Arrow, ...]
    legs: tuple[Leg, ...]

    def text(
        self, *, width: int | None = None, color: bool = False, utc: bool = True, raw: bool = False
    ) -> str:
        """Return it for a terminal of `width` columns; None takes COLUMNS or the terminal's."""
        from hepcat.search.render.text import render_text

        return render_text(self, width=width, color=color, utc=utc, raw=raw)

    def svg(self, *, utc: bool = True) -> str:
        """Return a stand-alone SVG document."""
        from hepcat.search.render.svg import render_svg

        return render_svg(self, utc=utc)

    def mermaid(self) -> str:
        """Return a Mermaid sequence diagram."""
        from hepcat.search.render.mermaid import render_mermaid

        return render_mermaid(self)

    def json(self, *, raw: bool = False) -> str:
        """Return the model as JSON; `raw` adds the messages' octets as text."""
        from hepcat.search.render.json import render_json

        return render_json(self, raw=raw)

    def findings(self, now: int | None = None) -> "list[Finding]":
        """Return what went wrong in these calls, the worst first (docs/findings.md).

        now: microseconds since the epoch, where they may still go on.
        """
        from hepcat.search.findings import find

        return find(self, now)

    def _repr_svg_(self) -> str:
        """What a notebook shows."""
        return self.svg()

    def __str__(self) -> str:
        return self.text()


def build(table: "pa.Table", aliases: Mapping[str, str] | None = None) -> Ladder:
    """Make the ladder of a table's messages, in order of `ts`.

    aliases: names by `ip` or `ip:port` (see ladder_hosts). Messages without a Call-ID are one leg.
    """
    rows = _rows(table)
    if not rows:
        return Ladder((), (), ())
    call_ids = list(dict.fromkeys(row["call_id"] or "" for row in rows))
    leg_of = {call_id: i for i, call_id in enumerate(call_ids)}
    hosts, ends = place_hosts([_wire(row) for row in rows], aliases)
    marks = mark([_message(row, leg_of[row["call_id"] or ""]) for row in rows])
    arrows = _arrows(rows, leg_of, ends, marks)
    of_leg: list[list[Arrow]] = [[] for _ in call_ids]
    for arrow in arrows:
        of_leg[arrow.leg].append(arrow)
    legs = [
        summarize(i, call_id, _people(rows[own[0].index]), own)
        for i, (call_id, own) in enumerate(zip(call_ids, of_leg, strict=True))
    ]
    return Ladder(hosts, tuple(arrows), tuple(legs))


def _rows(table: "pa.Table") -> list[dict[str, Any]]:
    """Return the rows as dicts with every name of COLUMNS, sorted by time, ts as microseconds."""
    names = set(table.schema.names)
    columns: dict[str, Sequence[Any]] = {}
    for name in COLUMNS:
        if name not in names:
            columns[name] = [None] * table.num_rows
        elif name == "ts":
            columns[name] = table.column(name).cast("timestamp[us]").cast("int64").to_pylist()
        else:
            columns[name] = table.column(name).to_pylist()
    rows = [dict(zip(COLUMNS, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    for row in rows:
        row["ts"] = row["ts"] or 0
        row["status"] = row["status"] or None
        row["payload"] = row["payload"] or b""
    rows.sort(key=lambda row: int(row["ts"]))
    return rows


def _wire(row: Mapping[str, Any]) -> Wire:
    return Wire(
        row["transport"],
        (row["src_ip"] or "?", row["src_port"] or None),
        (row["dst_ip"] or "?", row["dst_port"] or None),
        row["status"] is None,
        row["via_1"],
    )


def _message(row: Mapping[str, Any], leg: int) -> Message:
    wire = _wire(row)
    return Message(
        ts=row["ts"],
        leg=leg,
        src=wire.src,
        dst=wire.dst,
        point=(row["node_id"], row["node_name"], row["vlan"]),
        method=row["method"],
        status=row["status"],
        branch=row["via_1_branch"],
        cseq=row["cseq"],
        from_tag=row["from_tag"],
        to_tag=row["to_tag"],
        payload=row["payload"],
    )


def _people(row: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return caller and callee as the first message of a call names them."""
    return row["from_user"] or row["from_domain"], row["to_user"] or row["to_domain"]


def _arrows(
    rows: Sequence[Mapping[str, Any]],
    leg_of: Mapping[str, int],
    ends: Sequence[tuple[int, int]],
    marks: Sequence[Marks],
) -> list[Arrow]:
    arrows: list[Arrow] = []
    bodies: dict[tuple[str | None, bytes], Sdp | None] = {}
    start = previous = int(rows[0]["ts"])
    for index, (row, (src, dst), own) in enumerate(zip(rows, ends, marks, strict=True)):
        cancel.check()
        wire = _wire(row)
        arrows.append(
            Arrow(
                index=index,
                ts=row["ts"],
                delta=row["ts"] - previous,
                elapsed=row["ts"] - start,
                src=src,
                dst=dst,
                src_text=endpoint_text(wire.src),
                dst_text=endpoint_text(wire.dst),
                transport=row["transport"],
                leg=leg_of[row["call_id"] or ""],
                method=row["method"],
                status=row["status"],
                reason=row["reason_phrase"],
                ruri=row["ruri"],
                cseq=row["cseq"],
                from_tag=row["from_tag"],
                to_tag=row["to_tag"],
                label=_label(row, own),
                sdp=_sdp(row, bodies),
                transaction=own.transaction,
                retransmission=own.retransmission,
                retransmission_of=own.retransmission_of,
                copy_of=own.copy_of,
                forward_of=own.forward_of,
                in_dialog=own.in_dialog,
                dialog=own.dialog,
                user_agent=row["user_agent"],
                expires=row["expires"],
                malformed=row["malformed"],
                payload=row["payload"],
            )
        )
        previous = row["ts"]
    return arrows


def _label(row: Mapping[str, Any], marks: Marks) -> str:
    """`INVITE`, `re-INVITE`, `180 Ringing`; a response to another request says to which: `200 OK (BYE)`."""
    method, status = row["method"], row["status"]
    if status is None:
        if method is None:
            return "(not a SIP message)"
        return "re-INVITE" if method == "INVITE" and marks.in_dialog else str(method)
    label = f"{status} {row['reason_phrase'] or ''}".strip()
    return label if method in (None, "INVITE") else f"{label} ({method})"


def _sdp(row: Mapping[str, Any], bodies: dict[tuple[str | None, bytes], Sdp | None]) -> Sdp | None:
    """Return the message's SDP; the same body at the next hop is not read again."""
    payload: bytes = row["payload"]
    end = _HEADER_END.search(payload)
    if end is None or end.end() == len(payload):
        return None
    key = (row["content_type"], payload[end.end() :])
    if key not in bodies:
        bodies[key] = sdp_of_body(key[1], key[0])
    return bodies[key]
