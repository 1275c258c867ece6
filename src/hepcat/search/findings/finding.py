"""What a rule says, and what a rule is.

In: nothing. Out: `Finding`, `Rule` and the decorator that makes one. What can go wrong: nothing.

The texts of a finding are safe to show as text anywhere: what they quote of a message has been through
render.escape and is cut. They are no markup.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from hepcat.search.findings.scene import Call, Scene
    from hepcat.search.ladder import Arrow

Severity = Literal["error", "warning", "note"]
#: The call failed; it suffers, or will; worth to know.
ERROR: Final = "error"
WARNING: Final = "warning"
NOTE: Final = "note"
#: Worst first.
SEVERITIES: Final[tuple[Severity, ...]] = (ERROR, WARNING, NOTE)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that went wrong. `arrows`: the messages that show it, the one to open first."""

    rule: str
    severity: Severity
    title: str
    detail: str
    arrows: tuple[int, ...]
    call: int | None  # the leg's number in the ladder


@dataclass(frozen=True, slots=True)
class Told:
    """What a rule's function yields: a finding without the name of the rule and of the call."""

    severity: Severity
    title: str
    detail: str
    arrows: "Sequence[Arrow]"


Look = Callable[["Scene", "Call"], Iterable[Told]]


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule: its name for programs and for people, when it fires, the standard, and its function."""

    name: str
    title: str
    doc: str
    standard: str
    look: Look


def rule(name: str, title: str, standard: str, doc: str) -> Callable[[Look], Rule]:
    """Make a Rule of the function that follows, which yields what it sees in one call."""
    return lambda look: Rule(name, title, " ".join(doc.split()), standard, look)
