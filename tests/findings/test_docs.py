"""docs/findings.md: a section a rule, and each example is what hepcat says.

HEPCAT_GOLDEN=1 writes the sections of the rules anew; look at the difference before you commit it.
"""

import os
import re
import textwrap
from pathlib import Path

import pytest

from hepcat.search.findings import RULES, Rule, find
from hepcat.search.ladder import build
from hepcat.search.render.findings import render_findings
from tests.findings.scenarios import ALIASES, WRONG, Rows
from tests.ladder.make import table

PAGE = Path(__file__).parents[2] / "docs" / "findings.md"
#: The rules' sections stand between this line and the end.
_START = "## The rules\n"


def example(rule: Rule) -> tuple[str, Rows]:
    """Return what the example of a rule is about, and its messages."""
    scenario = next(s for s, names in WRONG.items() if s.__name__ == rule.name or names == (rule.name,))
    assert scenario.__doc__ is not None
    return scenario.__doc__, scenario()


def wrapped(text: str) -> str:
    return "\n".join(textwrap.wrap(text, 116, break_long_words=False, break_on_hyphens=False))


def section(rule: Rule) -> str:
    """Return the section of a rule."""
    about, rows = example(rule)
    if rule.name == "malformed":  # the capture says so, which these rows have not been through
        rows = [dict(r, malformed="cseq" if r["cseq"] == "2 PING" else None) for r in rows]
    ladder = build(table(rows), ALIASES)
    said = [f for f in find(ladder) if f.rule == rule.name]
    picture = ladder.text(width=96).rstrip("\n").rpartition("\n")[0]  # without the lifelines' ends
    words = "\n\n".join(
        map(wrapped, (f"`{rule.name}` ({rule.standard}). {rule.doc}", f"An example. {about}"))
    )
    return f"### {rule.title}\n\n{words}\n\n```\n{picture}\n\n{render_findings(ladder, said, width=96)}```\n"


def whole() -> str:
    """Return the page with all sections written anew."""
    head = PAGE.read_text(encoding="utf-8").partition(_START)[0]
    return f"{head}{_START}\n" + "\n".join(section(rule) for rule in RULES)


def test_the_page_says_what_hepcat_says() -> None:
    if os.environ.get("HEPCAT_GOLDEN"):
        PAGE.write_text(whole(), encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == whole()


@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.name)
def test_each_example_shows_its_rule(rule: Rule) -> None:
    assert re.search(r"(?m)^(error|warning|note) ", section(rule))
