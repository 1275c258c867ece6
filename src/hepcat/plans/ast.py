"""The tree of a capture plan: what the parser makes and the compiler reads.

In: nothing. Out: frozen nodes, each with where it stands. Conditions are calls, numbers, and `Not`,
`And`, `Or` over them; statements are calls, `If`, `End` (drop, break) and blocks of statements. `depth`
says how many conditions, blocks and ifs lie within one another, so that nobody has to walk down to know.
"""

from dataclasses import dataclass
from typing import NamedTuple


class Position(NamedTuple):
    """Where something stands: line and column, from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Argument:
    """A string between quotes, without them."""

    text: str
    position: Position


@dataclass(frozen=True, slots=True)
class Call:
    """A function with its arguments."""

    name: str
    arguments: tuple[Argument, ...]
    position: Position
    depth: int = 1


@dataclass(frozen=True, slots=True)
class Number:
    """A number as condition: true unless it is 0."""

    value: int
    position: Position
    depth: int = 1


@dataclass(frozen=True, slots=True)
class Not:
    """True where the term is false."""

    term: "Condition"
    depth: int


@dataclass(frozen=True, slots=True)
class And:
    """True where all terms are; those after a false one are not asked."""

    terms: tuple["Condition", ...]
    depth: int


@dataclass(frozen=True, slots=True)
class Or:
    """True where one term is; those after a true one are not asked."""

    terms: tuple["Condition", ...]
    depth: int


Condition = Call | Number | Not | And | Or


@dataclass(frozen=True, slots=True)
class Block:
    """Statements one after the other."""

    statements: tuple["Statement", ...]
    depth: int


@dataclass(frozen=True, slots=True)
class If:
    """`then` where the condition is true, `otherwise` where it is false. `else if` is an If there."""

    condition: Condition
    then: "Statement"
    otherwise: "Statement | None"
    position: Position
    depth: int


@dataclass(frozen=True, slots=True)
class End:
    """`drop` or `break`: the plan ends."""

    word: str
    position: Position
    depth: int = 1


Statement = Call | If | End | Block


@dataclass(frozen=True, slots=True)
class Capture:
    """`capture[NAME] { ... }`; name is "" where it has none."""

    name: str
    block: Block
    position: Position


@dataclass(frozen=True, slots=True)
class PlanFile:
    """All of a file. debug: its `debug = N`, None where there is none."""

    captures: tuple[Capture, ...]
    debug: int | None
