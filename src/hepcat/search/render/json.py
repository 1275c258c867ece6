"""The ladder as JSON: for programs, and for pictures of one's own.

In: a Ladder. Out: one JSON object, keys as documented in docs/flow.md; times are microseconds since the
epoch (UTC) and differences microseconds; hosts, legs and messages are referred to by number from 0. Findings
and other legs of the calls are in it where they are given.
What can go wrong: nothing; text is ASCII with escapes, so nothing acts on a terminal.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from hepcat.search.ladder import Arrow, Ladder

if TYPE_CHECKING:
    from hepcat.search.findings.finding import Finding
    from hepcat.search.related import Related


def render_json(
    ladder: Ladder,
    *,
    raw: bool = False,
    findings: "Sequence[Finding] | None" = None,
    related: "Sequence[Related] | None" = None,
) -> str:
    """Return the object as indented text. raw: `payload` too; octets that are not UTF-8 as `\\xNN`."""
    value = ladder_value(ladder, raw=raw)
    if findings is not None:
        value["findings"] = [asdict(finding) for finding in findings]
    if related is not None:
        value["related"] = [asdict(each) for each in related]
    return json.dumps(value, indent=2) + "\n"


def ladder_value(ladder: Ladder, *, raw: bool = False) -> dict[str, Any]:
    """Return the same as a value: dicts, lists and plain values only."""
    return {
        "hosts": [asdict(host) for host in ladder.hosts],
        "calls": [{**asdict(leg), "duration": leg.duration} for leg in ladder.legs],
        "messages": [_arrow(arrow, raw) for arrow in ladder.arrows],
    }


def _arrow(arrow: Arrow, raw: bool) -> dict[str, Any]:
    value = {name: getattr(arrow, name) for name in _NAMES}
    value["call"] = arrow.leg
    value["outcome"] = arrow.outcome
    value["octets"] = len(arrow.payload)
    value["sdp"] = None if arrow.sdp is None else {**asdict(arrow.sdp), "summary": arrow.sdp.summary}
    if raw:
        value["payload"] = arrow.payload.decode("utf-8", "backslashreplace")
    return value


_NAMES = [
    name
    for name in Arrow.__dataclass_fields__
    if name not in ("leg", "sdp", "payload", "src_text", "dst_text")
] + ["src_text", "dst_text"]
