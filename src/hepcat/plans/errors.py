"""What is wrong with a capture plan, and where: the message begins FILE:LINE:COLUMN, as of compilers."""

import difflib
from collections.abc import Iterable

from hepcat.errors import HepcatError
from hepcat.plans.ast import Position


class PlanError(HepcatError):
    """A plan that cannot be compiled. `line` and `column` count from 1."""

    def __init__(self, source: str, position: Position, message: str, hint: str = "") -> None:
        super().__init__(f"{source}:{position.line}:{position.column}: {message}", hint)
        self.line, self.column = position


def nearest(word: str, names: Iterable[str]) -> str:
    """Return `; did you mean X?` for the name that looks most like the word, "" where none does."""
    names = list(names)
    close = difflib.get_close_matches(word, names, 1, 0.6)
    if not close:  # capitals, dashes for underscores
        same = [name for name in names if name.lower() == word.lower().replace("-", "_")]
        close = same[:1]
    return f'; did you mean "{close[0]}"?' if close else ""
