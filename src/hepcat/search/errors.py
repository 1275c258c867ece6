"""Errors of the query language: what is wrong, where, and what was expected there.

In: the query, a position in it and a message. Out: a HepcatError whose text is the message with the
query and a caret under the character.
"""

from typing import Final

from hepcat.errors import HepcatError

#: A long query is shown as this many characters around the fault.
SHOWN: Final = 72


class StoreAway(HepcatError):
    """The store does not answer just now; asking again may help."""


class NoTail(HepcatError):
    """What arrives in the store cannot be followed."""


class UnknownName(HepcatError):
    """A name that was given is none that there is: of a column, a field, a list, a format."""


class QueryError(HepcatError):
    """The query cannot be understood. `query`, `position` (0-based, in characters), `reason`."""

    def __init__(self, query: str, position: int, reason: str, hint: str = "") -> None:
        self.query = query
        self.position = max(0, min(position, len(query)))
        self.reason = reason
        super().__init__(f"{reason}\n{self.pointer()}", hint)

    def pointer(self) -> str:
        """Return two lines: the query, or the part of it around the fault, and the caret."""
        first = max(0, self.position - SHOWN // 2) if len(self.query) > SHOWN else 0
        part = self.query[first : first + SHOWN]
        before = "..." if first else ""
        after = "..." if first + SHOWN < len(self.query) else ""
        line = "".join(c if c.isprintable() else " " for c in part)
        return f"  {before}{line}{after}\n  {' ' * (len(before) + self.position - first)}^"
