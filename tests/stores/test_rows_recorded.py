"""Rows of recorded HEP, column by column against what Kamailio's own module stored for the same datagrams."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from hepcat.stores.classic.plan import COPY, LOAD_DATA, Charset, Flavour, RowMaker, original_cells
from hepcat.stores.classic.schema import LOGS_CAPTURE, SIP_CAPTURE, Table
from hepcat.stores.classic.tables import TableChoice
from tests.support import ROOT
from tests.wire.test_hep_recorded import SETS, oracle, version_of

from .rows_support import SETTINGS, read_rows, recorded

#: What a message of HEP version 1 does not say: its time.
TIMES = ("date", "micro_ts")


def stored(path: Path, without: tuple[str, ...]) -> Counter[tuple[bytes, ...]]:
    """What the module stored, but its numbers of rows."""
    return Counter(
        tuple(value.encode("latin-1") for name, value in row.items() if name not in ("id", *without))
        for row in oracle(path)
    )


@pytest.mark.parametrize(("folder", "name"), SETS)
@pytest.mark.parametrize(
    ("flavour", "charset"),
    [(LOAD_DATA, Charset.LATIN1), (LOAD_DATA, Charset.UTF8MB4), (COPY, Charset.NO_NUL)],
    ids=["load-latin1", "load-utf8", "copy"],
)
def test_octets(folder: Path, name: str, flavour: Flavour, charset: Charset) -> None:
    without = TIMES if version_of(name) == 1 else ()
    batch = recorded(folder / f"{name}.bin")
    groups, drops = TableChoice(SETTINGS).groups(batch)
    assert not drops
    made: dict[Table, Counter[tuple[bytes | None, ...]]] = {}
    for group in groups:
        cells = original_cells(group.table, charset)
        rows = RowMaker(cells, flavour, SETTINGS, group.table, utc=True).octets(batch, group.rows)
        assert (rows.count, rows.cut, rows.replaced) == (len(group.rows), 0, 0)
        kept = [i for i, cell in enumerate(cells) if cell.column.name not in without]
        made[group.table] = Counter(tuple(row[i] for i in kept) for row in read_rows(rows.data.tobytes()))
    assert made[SIP_CAPTURE] == stored(folder / f"{name}.rows.tsv", without)
    assert made.get(LOGS_CAPTURE, Counter()) == stored(folder / f"{name}.logs.tsv", without)
    assert (LOGS_CAPTURE in made) == name.endswith("log")


@pytest.mark.parametrize(("folder", "name"), SETS)
def test_tuples(folder: Path, name: str) -> None:
    without = TIMES if version_of(name) == 1 else ()
    batch = recorded(folder / f"{name}.bin")
    got: Counter[tuple[bytes, ...]] = Counter()
    for group in TableChoice(SETTINGS).groups(batch)[0]:
        if group.table is SIP_CAPTURE:
            cells = original_cells(SIP_CAPTURE, Charset.UTF8MB4)
            made = RowMaker(cells, LOAD_DATA, SETTINGS, utc=True).tuples(batch, group.rows)
            kept = [i for i, cell in enumerate(cells) if cell.column.name not in without]
            got.update(tuple(str(row[i]).encode() for i in kept) for row in made.values)
    assert got == stored(folder / f"{name}.rows.tsv", without)


DIGEST = """
import hashlib
from tests.stores.rows_support import *
from tests.stores.test_rows_kernel import hostile
from hepcat.stores.classic.plan import *
from hepcat.stores.classic import rows
from hepcat.stores.classic.schema import SIP_CAPTURE
from tests.wire.test_hep_recorded import HERE, NAMES
print(rows.__file__.endswith(".py"))
batches = [recorded(HERE / f"{name}.bin") for name in NAMES] + [hostile(seed) for seed in range(2)]
for charset in Charset:
    for flavour in (LOAD_DATA, COPY, VALUES, DBTEXT, PLAIN):
        made = RowMaker(original_cells(SIP_CAPTURE, charset), flavour, SETTINGS)
        for batch in batches:
            out = made.octets(batch, every(batch))
            print(hashlib.sha256(out.data.tobytes()).hexdigest(), out.cut, out.replaced)
"""


def test_uncompiled_gives_the_same() -> None:
    lines = []
    for pure in ("1", "0"):
        environment = {"HEPCAT_PURE": pure, "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", DIGEST], env=environment, cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        lines.append(done.stdout.split("\n"))
    assert lines[0][0] == "True"
    assert lines[0][1:] == lines[1][1:]
    assert len(set(lines[0])) > 60
