"""What a plan does, against a slow interpreter that takes one row after the other.

The functions here are stand-ins whose answers are drawn beforehand: f0 to f5 are true for some rows, and z0
and z1 end the plan for some (the original's return value 0). Each call is noted, so that what must not run
(behind &&, || and a drop) is seen to be left alone.
"""

from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepcat.batch.drops import Drop
from hepcat.plans import compiler
from hepcat.plans.ast import And, Block, Condition, End, If, Not, Number, Or, Statement
from hepcat.plans.function import Function
from hepcat.plans.parser import parse_plan
from hepcat.plans.plan import Mask, Work
from tests.plans.support import bench, sip
from tests.wire.make_batch import make_batch

ROWS = 6
NAMES = tuple(f"f{i}" for i in range(6))
ENDING = ("z0", "z1")


class Ended(Exception):
    """The plan of this row has ended."""


class Answers:
    """The stand-ins: tables of answers, and what was called for which rows."""

    def __init__(self, true: dict[str, list[bool]], ends: dict[str, list[bool]]) -> None:
        self.true, self.ends = true, ends
        self.calls: list[tuple[str, int]] = []

    def step(self, name: str) -> Any:
        def step(work: Work, mask: Mask) -> Mask:
            assert np.count_nonzero(mask), "called for no row"
            assert not np.count_nonzero(mask & ~work.alive), "called for a row that has ended"
            self.calls += [(name, int(row)) for row in np.flatnonzero(mask)]
            ended = mask & np.array(self.ends.get(name, [False] * ROWS))
            work.alive &= ~ended
            return mask & ~ended & np.array(self.true[name])

        return step

    def functions(self) -> dict[str, Function]:
        return {
            name: Function(name, "test", "A stand-in.", lambda call, context: self.step(call.name))
            for name in self.true
        }

    def ask(self, name: str, row: int) -> bool:
        self.calls.append((name, row))
        if self.ends.get(name, [False] * ROWS)[row]:
            raise Ended
        return self.true[name][row]


def holds(node: Condition, row: int, answers: Answers) -> bool:
    """Whether a condition is true for one row."""
    if isinstance(node, Number):
        return bool(node.value)
    if isinstance(node, Not):
        return not holds(node.term, row, answers)
    if isinstance(node, And):
        return all(holds(term, row, answers) for term in node.terms)
    if isinstance(node, Or):
        return any(holds(term, row, answers) for term in node.terms)
    return answers.ask(node.name, row)


def execute(node: Statement, row: int, answers: Answers) -> None:
    """Run a statement for one row. Raises Ended."""
    if isinstance(node, Block):
        for statement in node.statements:
            execute(statement, row, answers)
    elif isinstance(node, If):
        if holds(node.condition, row, answers):
            execute(node.then, row, answers)
        elif node.otherwise is not None:
            execute(node.otherwise, row, answers)
    elif isinstance(node, End):
        raise Ended
    else:
        answers.ask(node.name, row)


calls = st.sampled_from([f"{name}()" for name in (*NAMES, *ENDING)])
atoms = calls | st.sampled_from(["1", "0", "yes", "off"])
conditions = st.recursive(
    atoms,
    lambda inner: st.one_of(
        inner.map(lambda c: f"!{c}" if c[0] != "(" else f"not {c}"),
        st.lists(inner, min_size=2, max_size=3).map(lambda terms: f"({' && '.join(terms)})"),
        st.lists(inner, min_size=2, max_size=3).map(lambda terms: f"({' || '.join(terms)})"),
        st.tuples(inner, inner, inner).map(lambda t: f"({t[0]} || {t[1]} && {t[2]})"),
    ),
    max_leaves=8,
)
statements = st.recursive(
    calls.map(lambda c: f"{c};") | st.sampled_from(["drop;", "break;", ";"]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: f"{{ {' '.join(parts)} }}"),
        st.tuples(conditions, inner).map(lambda t: f"if ({t[0]}) {{ {t[1]} }}"),
        st.tuples(conditions, inner, inner).map(lambda t: f"if ({t[0]}) {{ {t[1]} }} else {{ {t[2]} }}"),
        st.tuples(conditions, inner, conditions, inner, inner).map(
            lambda t: f"if ({t[0]}) {{ {t[1]} }} else if ({t[2]}) {{ {t[3]} }} else {{ {t[4]} }}"
        ),
    ),
    max_leaves=8,
)
answer = st.lists(st.booleans(), min_size=ROWS, max_size=ROWS)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(statements, max_size=4),
    st.fixed_dictionaries(dict.fromkeys((*NAMES, *ENDING), answer)),
    st.fixed_dictionaries(dict.fromkeys(ENDING, answer)),
)
def test_random_plans(parts: list[str], true: dict[str, list[bool]], ends: dict[str, list[bool]]) -> None:
    text = f"capture {{ {' '.join(parts)} }}"
    masks = Answers(true, ends)
    with patch.object(compiler, "functions", masks.functions):
        made = bench(text)
    work = made.run(BATCH)
    rows = Answers(true, ends)
    alive = []
    for row in range(ROWS):
        try:
            execute(parse_plan(text, "t").captures[0].block, row, rows)
            alive.append(True)
        except Ended:
            alive.append(False)
    assert work.alive.tolist() == alive
    for row in range(ROWS):
        called = [name for name, of in masks.calls if of == row]
        assert called == [name for name, of in rows.calls if of == row]


BATCH = make_batch(*[sip(call_id=f"c{i}") for i in range(ROWS)])


# ---- counts


def test_each_row_is_sent_or_dropped_or_left() -> None:
    made = bench(
        """capture {
            if (sip_check("method", "INVITE")) { send_hep("hepsocket"); send_hep("other"); drop; }
            if (sip_check("method", "BYE")) drop;
            if (sip_check("method", "ACK")) { if (sample("0%")) send_hep("hepsocket"); drop; }
            if (sip_check("method", "INFO")) { if (rate_limit("1/s")) send_hep("hepsocket"); }
            if (sip_check("method", "PRACK")) { if (dedup()) send_hep("hepsocket"); }
            if (sip_check("method", "CANCEL")) { if (!sample("0%")) send_hep("hepsocket"); }
        }"""
    )
    methods = ("INVITE", "BYE", "ACK", "INFO", "INFO", "PRACK", "PRACK", "PRACK", "CANCEL", "MESSAGE")
    work = made.run(*[sip(m) for m in methods])
    assert work.sent.tolist() == [True, False, False, True, False, True, False, False, True, False]
    left = ~work.sent & ~work.dropped
    assert left.tolist() == [False] * 9 + [True]
    counts = {Drop(i).name: int(n) for i, n in enumerate(made.env.drops) if n}
    assert counts == {"PLAN": 1, "SAMPLED": 1, "RATE_LIMIT": 1, "DUPLICATE": 2}
    assert made.sent == made.targets["hepsocket"].rows
    assert made.targets["other"].rows == [0]


def test_counts_add_up_over_batches() -> None:
    made = bench("capture { drop; }")
    for _ in range(3):
        made.run(sip(), sip())
    assert int(made.env.drops[Drop.PLAN]) == 6
    assert int(made.env.drops.sum()) == 6


def test_a_missing_outlet_is_found_when_binding() -> None:
    made = bench('capture { send_hep("other"); }')
    del made.env.outlets["other"]  # type: ignore[attr-defined]
    with pytest.raises(KeyError, match="no outlet for other"):
        made.plan.bind(made.env)


def test_a_plan_is_shared_by_workers() -> None:
    """What a plan remembers is one for all its runners: copies may reach different workers."""
    made = bench('capture { if (dedup()) send_hep("hepsocket"); }')
    made.run(sip())
    made.run(sip())
    assert made.sent == [0]
