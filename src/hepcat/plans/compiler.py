"""A plan's tree to a program, and the program to a runner.

In: the text of a plan file, the names of the targets there are, the named regular expressions. Out: a
`Plan`, which workers bind to their `Environment`. What can go wrong: PlanError (a HepcatError) with file,
line and column: syntax, an unknown function, wrong arguments. Running raises nothing.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from hepcat.batch.drops import Drop
from hepcat.batch.layout import Batch
from hepcat.plans.ast import (
    And,
    Block,
    Call,
    Capture,
    Condition,
    End,
    If,
    Not,
    Number,
    Or,
    Position,
    Statement,
)
from hepcat.plans.errors import PlanError, nearest
from hepcat.plans.function import Context, Function
from hepcat.plans.parser import parse_plan
from hepcat.plans.plan import Environment, Step, Work
from hepcat.plans.program import Instruction, Op, Program, run_program
from hepcat.plans.registry import functions

_NO_TARGET: Final = int(Drop.NO_TARGET)


@dataclass(frozen=True, slots=True)
class Plan:
    """A compiled plan. name: of its capture block. functions: names used. headers: names of headers that
    it looks for in messages. targets: names that it sends to. reads_addresses: whether it needs the whole
    SIP index. debug: the file's `debug = N`. warnings: FILE:LINE:COLUMN: text."""

    source: str
    name: str
    program: Program
    functions: frozenset[str]
    headers: tuple[str, ...]
    targets: frozenset[str]
    reads_addresses: bool
    debug: int | None
    warnings: tuple[str, ...]

    def bind(self, env: Environment) -> "Runner":
        """Return a runner for one worker."""
        missing = sorted(self.targets - set(env.outlets))
        if missing:
            raise KeyError(f"plan {self.source}: no outlet for {missing[0]}")
        return Runner(self, env)


class Runner:
    """A plan and what it may use: one worker's."""

    __slots__ = ("env", "plan")

    def __init__(self, plan: Plan, env: Environment) -> None:
        self.plan = plan
        self.env = env

    def run(self, batch: Batch, now_us: int) -> Work:
        """Send what the plan sends. Afterwards each row is in work.sent, in work.dropped (and counted in
        env.drops), or left to the caller to count as NO_TARGET."""
        n = batch.n
        work = Work(
            batch=batch if len(batch.ts) == n else batch.trim(),
            env=self.env,
            alive=np.ones(n, dtype=np.bool_),
            sent=np.zeros(n, dtype=np.bool_),
            now_us=now_us,
            reason=np.full(n, _NO_TARGET, dtype=np.uint8),
        )
        run_program(self.plan.program, work)
        work.dropped = ~work.sent & (work.reason != _NO_TARGET)
        if np.count_nonzero(work.dropped):
            self.env.drops += np.bincount(work.reason[work.dropped], minlength=len(Drop))
        return work


def compile_plan(
    text: str,
    source: str,
    targets: Collection[str],
    regexps: Mapping[str, str],
    custom_headers: tuple[str, ...] = (),
    name: str | None = None,
) -> Plan:
    """Compile a plan file; every capture block is checked, one of them is returned.

    source: the file's name, for messages. targets: names of targets, the whole configuration's. regexps:
    name -> pattern. custom_headers: what header_check("custom", ...) looks at. name: which capture block;
    None takes the only one, or the one without a name. Raises PlanError.
    """
    tree = parse_plan(text, source)
    context = Context(source, targets, regexps, custom_headers)
    plans: dict[str, Plan] = {}
    for capture in tree.captures:
        if capture.name in plans:
            what = f'capture "{capture.name}"' if capture.name else "a capture without a name"
            raise PlanError(source, capture.position, f"{what} stands in this file already")
        plans[capture.name] = _compile(capture, context, tree.debug)
    return _choose(plans, source, name)


def _choose(plans: dict[str, Plan], source: str, name: str | None) -> Plan:
    start = Position(1, 1)
    if not plans:
        raise PlanError(source, start, "there is no capture in this file", "Write: capture { ... }")
    if name is None:
        if len(plans) == 1:
            return next(iter(plans.values()))
        name = ""
    if name in plans:
        return plans[name]
    names = ", ".join(f'"{known}"' for known in plans if known)
    if not name:
        hint = "The one without a name is run: write capture { ... } for one of them, or make a file of each."
        raise PlanError(source, start, f"the file has several captures: {names}", hint)
    raise PlanError(
        source, start, f'there is no capture "{name}"{nearest(name, plans)}', f"There are: {names}."
    )


def _compile(capture: Capture, context: Context, debug: int | None) -> Plan:
    before = len(context.warnings)
    headers, context.headers = context.headers, set()
    context.reads_addresses = False
    compiler = _Compiler(context)
    program = compiler.program_of(capture.block)
    plan = Plan(
        source=context.source,
        name=capture.name,
        program=program,
        functions=frozenset(compiler.used),
        headers=tuple(sorted(context.headers)),
        targets=frozenset(compiler.targets),
        reads_addresses=context.reads_addresses,
        debug=debug,
        warnings=tuple(context.warnings[before:]),
    )
    context.headers |= headers
    return plan


#: What waits to be compiled: a node, or an instruction to put there, or a label to set to where we are.
_Task = Condition | Block | If | End | Instruction | list[Instruction]


class _Compiler:
    """Turns one capture into a program. Works off a list of tasks: a plan's nesting never is Python's."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.code: list[Instruction] = []
        self.used: set[str] = set()
        self.targets: set[str] = set()

    def program_of(self, block: Block) -> Program:
        """Compile a block."""
        tasks: list[tuple[_Task, bool]] = [(block, True)]
        while tasks:
            task, statement = tasks.pop()
            if isinstance(task, Instruction):
                self.code.append(task)
            elif isinstance(task, list):
                for instruction in task:
                    instruction.target = len(self.code)
            elif isinstance(task, Call):
                self.code.append(Instruction(Op.RUN if statement else Op.CALL, self.step_of(task)))
            elif isinstance(task, End):
                self.code.append(Instruction(Op.END))
            elif isinstance(task, Number):
                if not task.value:
                    self.code.append(Instruction(Op.NOTHING))
            else:
                tasks += reversed(self.parts_of(task))
        return tuple(self.code)

    def parts_of(self, node: Block | If | Not | And | Or) -> list[tuple[_Task, bool]]:
        """Return what a node is made of, in the order of the program."""
        if isinstance(node, Block):
            self.check_dead(node)
            return [(part, True) for part in node.statements]
        if isinstance(node, If):
            return self.parts_of_if(node)
        if isinstance(node, Not):
            return [(Instruction(Op.NOT_FIRST), False), (node.term, False), (Instruction(Op.NOT_LAST), False)]
        parts: list[tuple[_Task, bool]] = []
        jumps: list[Instruction] = []
        between = Op.AND if isinstance(node, And) else Op.OR_NEXT
        for i, term in enumerate(node.terms):
            if i:
                jumps.append(Instruction(between))
                parts.append((jumps[-1], False))
            parts.append((term, False))
        if isinstance(node, And):
            return [*parts, (jumps, False)]
        return [(Instruction(Op.OR_FIRST), False), *parts, (jumps, False), (Instruction(Op.OR_LAST), False)]

    def parts_of_if(self, node: If) -> list[tuple[_Task, bool]]:
        """IF condition SPLIT(->ELSE) then ELSE(->DONE) otherwise DONE."""
        split, other = Instruction(Op.SPLIT), Instruction(Op.ELSE)
        parts: list[tuple[_Task, bool]] = [
            (Instruction(Op.IF), False),
            (node.condition, False),
            (split, False),
            (node.then, True),
            ([split], False),
            (other, False),
        ]
        if node.otherwise is not None:
            parts.append((node.otherwise, True))
        return [*parts, ([other], False), (Instruction(Op.DONE), False)]

    def check_dead(self, block: Block) -> None:
        """Warn of statements behind a drop."""
        for statement, following in zip(block.statements, block.statements[1:], strict=False):
            if isinstance(statement, End):
                position = _position_of(following)
                if position:
                    self.context.warn(position, f"what stands after {statement.word} never runs")
                return

    def step_of(self, call: Call) -> Step:
        """Look up a function and make its step."""
        table = functions()
        function = table.get(call.name)
        if function is None:
            hint = "docs/plans.md lists all functions."
            self.context.fail(
                call.position, f'there is no function "{call.name}"{nearest(call.name, table)}', hint
            )
        _check_count(function, call, self.context)
        self.used.add(call.name)
        if function.parameters and function.parameters[0].name == "target":
            self.targets.add(call.arguments[0].text)
        return function.make(call, self.context)


def _position_of(statement: Statement) -> Position | None:
    while isinstance(statement, Block):
        if not statement.statements:
            return None
        statement = statement.statements[0]
    return statement.position


def _check_count(function: Function, call: Call, context: Context) -> None:
    least = sum(not parameter.optional for parameter in function.parameters)
    most = len(function.parameters)
    count = len(call.arguments)
    if least <= count <= most:
        return
    wanted = str(most) if least == most else f"{least} to {most}"
    noun = "argument" if wanted == "1" else "arguments"
    context.fail(
        call.position,
        f"{call.name} takes {wanted if most else 'no'} {noun}, not {count}",
        f"It is written {function.signature}, for instance {function.example}",
    )
