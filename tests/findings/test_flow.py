"""`hepcat flow --explain` and `--related`, and the same in Python."""

import json
from pathlib import Path

import pytest

import hepcat
from hepcat.search.findings import find
from hepcat.search.render.findings import NOTHING, render_findings
from hepcat.stores.lake import LakeWriter
from tests.findings.scenarios import final_failure, private_address, well_plain
from tests.findings.test_hostile import NASTY
from tests.findings.test_related import leg
from tests.search.remotes import batch_of
from tests.support import hepcat_here


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture(scope="module")
def legs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("legs")
    with LakeWriter(folder) as writer:
        writer.append(batch_of([*leg("one"), *leg("two", "X-CID: one"), *leg("alone")], False))
    return folder


def test_explain_is_under_the_picture(lake: Path) -> None:
    done = hepcat_here("flow", "--data", str(lake), "--explain", "final-failure@example.com")
    picture, _, said = done.stdout.partition("\n\nWhat went wrong:\n")
    assert "503 Service Unavailable" in picture
    lines = said.splitlines()
    assert lines[0] == "error    INVITE failed: 503 Service Unavailable"
    assert lines[1].startswith("         198.51.100.9:5060 → 198.51.100.1:5060 (#3), passed on")
    assert all(len(line) <= 100 for line in lines)
    assert "\x1b" not in done.stdout


def test_without_explain_nothing_is_said(lake: Path) -> None:
    assert (
        "What went wrong" not in hepcat_here("flow", "--data", str(lake), "final-failure@example.com").stdout
    )


def test_a_call_that_went_well(lake: Path) -> None:
    done = hepcat_here("flow", "--data", str(lake), "--explain", "well-plain@example.com")
    assert done.stdout.endswith(f"\n\n{NOTHING}\n")


def test_of_several_calls_each_finding_says_of_which(lake: Path) -> None:
    calls = ("final-failure@example.com", "private-address@example.com")
    said = hepcat_here("flow", "--data", str(lake), "--explain", *calls).stdout.partition("What went wrong:")[
        2
    ]
    assert said.index("error ") < said.index("warning ")
    assert all(f"Call-ID {call}" in said for call in calls)


def test_colour(lake: Path) -> None:
    done = hepcat_here(
        "flow", "--data", str(lake), "--explain", "--color", "always", "final-failure@example.com"
    )
    assert "\x1b[31merror\x1b[0m    INVITE failed" in done.stdout


def test_json(lake: Path) -> None:
    call = ("flow", "--data", str(lake), "--format", "json", "private-address@example.com")
    value = json.loads(hepcat_here(*call, "--explain", "--related").stdout)
    assert value["related"] == []
    (finding,) = value["findings"]
    assert finding["rule"] == "private_address"
    assert set(finding) == {"rule", "severity", "title", "detail", "arrows", "call"}
    assert value["messages"][finding["arrows"][0]]["label"] == "INVITE"
    assert not {"findings", "related"} & set(json.loads(hepcat_here(*call).stdout))


def test_explain_is_for_text_and_json(lake: Path) -> None:
    done = hepcat_here("flow", "--data", str(lake), "--explain", "--format", "svg", "x", check=False)
    assert done.returncode == 2
    assert "--explain goes with --format text and json" in done.stderr


def test_related_adds_the_other_leg_and_says_why(legs: Path) -> None:
    done = hepcat_here("flow", "--data", str(legs), "--related", "one")
    assert done.stdout.startswith("● one  INVITE")
    assert "\n● two  INVITE" in done.stdout
    assert done.stderr == "hepcat: also two, by the A-leg header of one\n"
    assert "two" not in hepcat_here("flow", "--data", str(legs), "one").stdout


def test_related_says_where_there_is_no_other_leg(legs: Path) -> None:
    done = hepcat_here("flow", "--data", str(legs), "--related", "alone")
    assert done.stderr == "hepcat: no other leg of the same call was found\n"


def test_in_python(lake: Path) -> None:
    with hepcat.open(lake) as data:
        ladder = data.flow("final-failure@example.com")
        assert [f.rule for f in ladder.findings()] == ["final_failure"]
        assert ladder.findings() == find(ladder)
        assert data.flow("well-plain@example.com").findings() == []


def test_narrow_and_hostile() -> None:
    from hepcat.search.ladder import build
    from tests.ladder.make import table

    rows = [dict(row, call_id=NASTY) for row in (*final_failure(), *private_address())]
    other = [dict(row, call_id="b") for row in well_plain()]
    ladder = build(table([*rows, *other]))
    for width in (1, 40, 60, 200):
        text = render_findings(ladder, ladder.findings(), width=width)
        assert text.replace("\n", "").isprintable()
        assert max(map(len, text.splitlines())) <= max(width, 40)
