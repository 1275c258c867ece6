"""The machine that a plan runs on: a list of instructions over masks, with no recursion.

In: a program (compiler.py makes it) and `Work`. Out: nothing but what the steps did to the work. What can
go wrong: nothing; a step that raises is a bug of ours.

One mask is current. A step replaces it by the rows for which it is true. `if` splits it, `||` gathers, `!`
turns it round; what they need later waits on a stack. Where the current mask is empty nothing is called.
Rows whose plan has ended (drop, break, a function that says so) leave every mask that is taken up again.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import numpy as np

from hepcat.batch.drops import Drop
from hepcat.plans.plan import Mask, Step, Work

_NO_TARGET: Final = int(Drop.NO_TARGET)
_PLAN: Final = int(Drop.PLAN)


class Op(IntEnum):
    """Instructions. `argument` is the step of CALL, the place to go to of those that may jump."""

    CALL = 0  # the mask becomes where the step is true
    RUN = 1  # call the step and keep the mask: a call as statement
    NOTHING = 2  # the mask becomes empty: `if (0)`
    END = 3  # drop, break
    IF = 4  # put the mask on the stack
    SPLIT = 5  # behind the condition: the rest goes on the stack; jump to ELSE where nothing was true
    ELSE = 6  # take the rest; jump to DONE where there is none
    DONE = 7  # behind the if: what it began with and is still alive
    AND = 8  # between terms: jump behind the last one where nothing is left
    OR_FIRST = 9  # before the first term
    OR_NEXT = 10  # between terms: keep what was true, go on with the rest
    OR_LAST = 11  # behind the last term: all that was true
    NOT_FIRST = 12
    NOT_LAST = 13


@dataclass(slots=True)
class Instruction:
    """One instruction; `target` is a place in the program, `step` a function."""

    op: Op
    step: Step | None = None
    target: int = -1


Program = tuple[Instruction, ...]

# The members as plain numbers: looking them up in the class takes longer than the comparison.
_CALL, _RUN, _NOTHING, _END, _IF, _SPLIT, _ELSE, _DONE, _AND, *_REST = map(int, Op)
_OR_FIRST, _OR_NEXT, _OR_LAST, _NOT_FIRST, _NOT_LAST = _REST


def run_program(program: Program, work: Work) -> None:
    """Run a program over all rows of a batch."""
    count: Any = np.count_nonzero
    stack: list[Mask] = []
    mask: Mask = work.alive.copy()
    at, length = 0, len(program)
    while at < length:
        instruction = program[at]
        op = instruction.op
        at += 1
        if op <= _RUN:
            if count(mask):
                step: Any = instruction.step
                true = step(work, mask)
                mask = (true if op == _CALL else mask) & work.alive
        elif op == _SPLIT:
            stack.append(stack[-1] & ~mask & work.alive)
            if not count(mask):
                at = instruction.target
        elif op == _ELSE:
            mask = stack.pop() & work.alive
            if not count(mask):
                at = instruction.target
        elif op == _DONE:
            mask = stack.pop() & work.alive
        elif op == _AND:
            if not count(mask):
                at = instruction.target
        elif op in (_IF, _NOT_FIRST):
            stack.append(mask)
        elif op == _OR_FIRST:
            stack += (mask, np.zeros_like(mask))
        elif op == _OR_NEXT:
            stack[-1] = stack[-1] | mask
            stack[-2] = mask = stack[-2] & ~mask & work.alive
            if not count(mask):
                at = instruction.target
        elif op == _OR_LAST:
            mask = (stack.pop() | mask) & work.alive
            stack.pop()
        elif op == _NOT_LAST:
            mask = stack.pop() & ~mask & work.alive
        elif op == _END:
            mask = _end(work, mask)
        else:
            mask = np.zeros_like(mask)


def _end(work: Work, mask: Mask) -> Mask:
    """End the plan of these rows; a row that was left out for another reason keeps that one."""
    work.alive &= ~mask
    work.reason[mask & (work.reason == _NO_TARGET)] = _PLAN
    return np.zeros_like(mask)
