"""docs/plans.md: its table is that of the registry, and its example does what it says."""

import re

from hepcat.cli.reference import refresh
from hepcat.plans.compiler import compile_plan
from hepcat.plans.registry import functions
from tests.plans.support import SDP, bench, sip
from tests.support import ROOT
from tests.wire.make_batch import Datagram

PAGE = (ROOT / "docs" / "plans.md").read_text()


def test_the_table_is_current() -> None:
    assert refresh(PAGE) == PAGE, "run `make docs`"
    for name in functions():
        assert f"| `{name}(" in PAGE


def test_functions_in_the_text_exist() -> None:
    text = re.sub(r"<!-- generated.*?<!-- end -->", "", PAGE, flags=re.DOTALL)
    for name in re.findall(r"`([a-z_]+)\(", text):
        assert name in functions() or name in ("function", "drop"), name


def test_the_example_compiles_and_runs() -> None:
    example = re.search(r"```\n(# sip.cfg.*?)```", PAGE, re.DOTALL)
    assert example
    plan = compile_plan(example[1], "sip.cfg", ["hepsocket", "research"], {})
    assert plan.warnings == ()
    made = bench(example[1].replace('"research"', '"other"'))
    invite = Datagram(sip(body=SDP), src="10.0.0.1", ts=1)
    work = made.run(
        invite,
        Datagram(invite.payload, src="10.0.0.1", ts=100),
        sip("OPTIONS"),
        sip("REGISTER", agent="friendly-scanner"),
        b"junk",
        sip(status=200),
    )
    assert made.sent == [0, 5]
    assert made.targets["other"].rows == [0, 5]
    assert [r["tags"] for r in made.targets["hepsocket"].records] == [b"side=inside", None]
    assert work.dropped.tolist() == [False, True, True, True, True, False]
    assert b"alice" not in made.targets["other"].records[0]["payload"]
