"""What went wrong, for a terminal, a pipe, a ticket.

In: findings, the width in cells, whether to colour. Out: lines of text. What can go wrong: nothing; the
findings' texts are safe already, and are wrapped at the width.
"""

import textwrap
from collections.abc import Sequence
from typing import Final

from hepcat.search.findings.finding import ERROR, NOTE, WARNING, Finding
from hepcat.search.ladder import Ladder
from hepcat.search.render.escape import safe_line
from hepcat.search.render.text import MIN_WIDTH, terminal_width

NOTHING: Final = "Nothing that a rule knows went wrong."
_COLORS: Final = {ERROR: "31", WARNING: "33", NOTE: "36"}
_INDENT: Final = 9  # `warning` and two spaces


def render_findings(
    ladder: Ladder, findings: Sequence[Finding], *, width: int | None = None, color: bool = False
) -> str:
    """Return the findings, the worst first; with several calls, each says of which. Ends in a line end."""
    if not findings:
        return f"{NOTHING}\n"
    width = max(terminal_width() if width is None else width, MIN_WIDTH)
    lines = ["What went wrong:"]
    for finding in findings:
        word = f"{finding.severity:{_INDENT}}"
        if color:
            word = (
                f"\x1b[{_COLORS[finding.severity]}m{finding.severity}\x1b[0m{word[len(finding.severity) :]}"
            )
        title, *rest = _wrapped(finding.title, width)
        lines.append(word + title)
        lines += [" " * _INDENT + line for line in (*rest, *_wrapped(_detail(ladder, finding), width))]
    return "\n".join(lines) + "\n"


def _detail(ladder: Ladder, finding: Finding) -> str:
    if len(ladder.legs) < 2 or finding.call is None:
        return finding.detail
    return f"{finding.detail} Call-ID {safe_line(ladder.legs[finding.call].call_id, 80)}"


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width - _INDENT, break_on_hyphens=False) or [""]
