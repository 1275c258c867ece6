"""The contract of a plan function: its name, words and arguments, and how a step is made of a call.

In: a `Call` of the tree, and the `Context` of the compilation. Out: a `Step` (plan.py). What can go wrong:
PlanError from `make`, with the position of the argument that is wrong; nothing while running. A step that
remembers (rates, copies) keeps that in itself, behind a lock: the workers of a profile share it, since the
copies of a message may reach different ones.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from hepcat.plans.ast import Argument, Call, Position
from hepcat.plans.errors import PlanError
from hepcat.plans.plan import Step


@dataclass(frozen=True, slots=True)
class Parameter:
    """An argument that a function takes: what it is called, and what it may say."""

    name: str
    doc: str
    optional: bool = False


@dataclass
class Context:
    """What is known while a plan is compiled, and what comes to light on the way."""

    source: str
    targets: Collection[str]
    regexps: Mapping[str, str]
    custom_headers: tuple[str, ...]
    warnings: list[str] = field(default_factory=list)
    headers: set[str] = field(default_factory=set)
    #: whether a step reads what a brief index leaves out (hepcat.wire.sip, BRIEF_LEAVES_OUT)
    reads_addresses: bool = False

    def fail(self, at: Position | Argument, message: str, hint: str = "") -> NoReturn:
        """Raise PlanError."""
        position = at.position if isinstance(at, Argument) else at
        raise PlanError(self.source, position, message, hint)

    def warn(self, at: Position | Argument, message: str) -> None:
        """Note something that the writer of the plan should know; it compiles all the same."""
        position = at.position if isinstance(at, Argument) else at
        self.warnings.append(f"{self.source}:{position.line}:{position.column}: {message}")


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the plan language. module: the original's, or `hepcat` for those it did not have."""

    name: str
    module: str
    doc: str
    make: Callable[[Call, Context], Step]
    parameters: tuple[Parameter, ...] = ()
    example: str = ""

    @property
    def signature(self) -> str:
        """The function as it is written: `send_hep(profile[, wait])`."""
        required = [p.name for p in self.parameters if not p.optional]
        optional = "".join(
            f"[, {p.name}]" if required or i else f"[{p.name}]"
            for i, p in enumerate(p for p in self.parameters if p.optional)
        )
        return f"{self.name}({', '.join(required)}{optional})"


MODULE_OF_OURS = "hepcat"
