"""The ladder as a Mermaid sequence diagram: for a ticket or a page that draws it itself.

In: a Ladder. Out: `sequenceDiagram` text. What can go wrong: nothing; every character that could mean
something to Mermaid or to HTML is written as an entity code (`#59;`), so a message cannot end its line,
begin a directive or bring markup.
"""

import re
from typing import Final

from hepcat.search.ladder import Arrow, Ladder
from hepcat.search.render.escape import safe_line
from hepcat.search.render.words import clock, media_of, outcome_of

#: What is written as an entity code: all of ASCII that is not plain, and two characters that Mermaid
#: uses within as its own marks for entity codes. A colon is plain, but not where `wrap:` would be read.
_SPECIAL: Final = re.compile(r"[^0-9A-Za-z .,:/@()+=_\-\u00a1-\U0010ffff]|[\u00b6\ufb02]")
_WRAP: Final = re.compile(r"^(\s*:?\s*(?:no)?wrap):", re.IGNORECASE)
_LONGEST: Final = 120


def render_mermaid(ladder: Ladder) -> str:
    """Return the diagram; it ends in a line end."""
    lines = ["sequenceDiagram"]
    lines += [f"    participant h{i} as {mermaid_text(host.name)}" for i, host in enumerate(ladder.hosts)]
    several = len(ladder.legs) > 1
    for leg in ladder.legs:
        title = f"{mermaid_text(leg.call_id)}<br/>{mermaid_text(outcome_of(leg))}"
        if ladder.hosts:
            lines.append(
                f"    Note over {_span(ladder)}: {f'call {leg.index + 1} ' if several else ''}{title}"
            )
    lines += [f"    {_arrow(arrow, several)}" for arrow in ladder.arrows]
    return "\n".join(lines) + "\n"


def mermaid_text(text: str) -> str:
    """Return a text as Mermaid reads it back: one line, entity codes for what is special."""
    line = safe_line(text, _LONGEST)
    line = _SPECIAL.sub(lambda match: f"#{ord(match[0])};", line)
    return _WRAP.sub(r"\1#58;", line)


def _span(ladder: Ladder) -> str:
    return "h0" if len(ladder.hosts) == 1 else f"h0,h{len(ladder.hosts) - 1}"


def _arrow(arrow: Arrow, several: bool) -> str:
    stroke = "->>" if arrow.is_request else "-->>"
    call = f"call {arrow.leg + 1}, " if several else ""
    parts = [f"{call}{clock(arrow.ts, True)} {mermaid_text(arrow.label)}"]
    parts += [mermaid_text(f"({note})") for note in arrow.notes]
    parts += [mermaid_text(media) for media in media_of(arrow)]
    return f"h{arrow.src}{stroke}h{arrow.dst}: {'<br/>'.join(parts)}"
