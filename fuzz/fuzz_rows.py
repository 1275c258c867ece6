"""Fuzz the rows of the classic tables, and the reader of dbtext.

Invariants, for any octets:
1. As a message of a batch they become one row of every column, in every flavour and character set; nothing is
   raised. LOAD DATA, COPY and dbtext read back give the values that stand in the Python tuples; a value is no
   longer than its column, and where text is UTF-8 it is well-formed. The compiled kernel writes the same
   octets and counts the same.
2. As a dbtext file they give rows or a HepcatError, never another exception.
3. A row that was read is written again as what was read.

The plain code runs instrumented; the first octet of an input picks the invariant, the second the options.
"""

import contextlib
import importlib.machinery
import importlib.util
import os
import re
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]
os.environ["HEPCAT_PURE"] = "1"

import atheris  # noqa: E402
from libfuzzer import fuzz_with  # noqa: E402

import hepcat.batch  # noqa: E402
import hepcat.stores.classic  # noqa: E402
from hepcat.errors import HepcatError  # noqa: E402

with atheris.instrument_imports(include=["hepcat"]):
    from hepcat.stores.classic import plan, rows
    from hepcat.stores.dbtext import format as text_format
    from hepcat.stores.dbtext import reader

from tests.stores.rows_support import SETTINGS, call, every, messages, read_rows, unescape  # noqa: E402
from tests.stores.test_rows_kernel import read_bytea  # noqa: E402

from hepcat.stores.classic.schema import SIP_CAPTURE  # noqa: E402


def load(package: ModuleType, name: str) -> ModuleType | None:
    """Load a kernel's extension, without a place in sys.modules."""
    spec = importlib.machinery.PathFinder.find_spec(f"{package.__name__}.{name}", list(package.__path__))
    if spec is None or not isinstance(spec.loader, importlib.machinery.ExtensionFileLoader):
        return None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compiled() -> Any:
    """The compiled RowKernel, which needs the compiled gather; None where either was not built."""
    gather = load(hepcat.batch, "gather")
    if gather is None:
        return None
    plain = sys.modules["hepcat.batch.gather"]
    sys.modules["hepcat.batch.gather"] = gather
    try:
        module = load(hepcat.stores.classic, "rows")
    finally:
        sys.modules["hepcat.batch.gather"] = plain
    return None if module is None else module.RowKernel


FAST = compiled()
CHARSETS = list(plan.Charset)
WIDTHS = (None, 0, 1, 2, 7, 60)
FLAVOURS = (plan.LOAD_DATA, plan.COPY, plan.DBTEXT, plan.VALUES)


def made(cells: list[plan.Cell], flavour: plan.Flavour, batch: Any, kernel: Any) -> plan.Rows:
    plan.RowKernel = kernel
    try:
        return plan.RowMaker(cells, flavour, SETTINGS).octets(batch, every(batch))
    finally:
        plan.RowKernel = rows.RowKernel


def fuzz_values(octets: bytes, option: int) -> None:
    """Invariant 1."""
    charset, width = CHARSETS[option % 6], WIDTHS[option // 6 % 6]
    cells = [plan.Cell(column, width, charset) for column in SIP_CAPTURE.columns]
    batch = messages(octets[:60_000])
    tuples = plan.RowMaker(cells, plan.LOAD_DATA, SETTINGS).tuples(batch, every(batch))
    (values,) = tuples.values
    texts = [i for i, cell in enumerate(cells) if cell.column.kind in ("text", "octets")]
    is_plain = charset in (plan.Charset.OCTETS, plan.Charset.LATIN1, plan.Charset.BYTEA)
    for i in texts:
        assert isinstance(values[i], bytes if is_plain else str)
        fixed = cells[i].column.name in ("method", "source_ip", "destination_ip")
        assert fixed or width is None or len(values[i]) <= width
    want = [values[i] if is_plain else values[i].encode() for i in texts]
    for flavour in FLAVOURS:
        out = made(cells, flavour, batch, rows.RowKernel)
        assert (out.count, out.cut, out.replaced) == (1, tuples.cut, tuples.replaced)
        data = out.data.tobytes()
        if flavour in (plan.LOAD_DATA, plan.COPY):
            (row,) = read_rows(data)
            got = [row[i] or b"" for i in texts]
            if flavour is plan.COPY and charset is plan.Charset.BYTEA:
                got = [read_bytea(value) for value in got]
            assert got == want
        elif flavour is plan.DBTEXT:
            assert data.count(b"\n") == 1
            parts = re.findall(rb"((?:\\.|[^:\\])*)(?::|$)", data[:-1], re.DOTALL)[: len(cells)]
            assert [unescape(parts[i]) for i in texts] == want
        if FAST is not None:
            fast = made(cells, flavour, batch, FAST)
            assert (fast.data.tobytes(), fast.cut, fast.replaced) == (data, out.cut, out.replaced)


def fuzz_file(octets: bytes, option: int) -> None:
    """Invariant 2."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        header = b"" if option & 1 else b"id(int,auto) a(string,null) b(double,null) c(blob,null)\n"
        (folder / "t").write_bytes(header + octets)
        if option & 2:
            (folder / ".hepcat_written.json").write_bytes(octets)
        with contextlib.suppress(HepcatError):
            list(reader.read_rows(folder, "t"))


def fuzz_again(octets: bytes, option: int) -> None:
    """Invariant 3."""
    columns = text_format.parse_header(b"a(string,null) b(blob,null)")
    try:
        row = text_format.parse_row(octets, columns)
    except text_format.Malformed:
        return
    escapes = {octet: b"\\" + bytes([letter]) for octet, letter in plan.DBTEXT.escapes.items()}
    again = b":".join(
        b"".join(
            escapes.get(octet, bytes([octet]))
            for octet in str(row[name] or "").encode("utf-8", "surrogateescape")
        )
        for name in ("a", "b")
    )
    assert text_format.parse_row(again, columns) == row


TARGETS = (fuzz_values, fuzz_file, fuzz_again)


def one_input(data: bytes) -> None:
    """Check an invariant on one input."""
    if len(data) > 1:
        TARGETS[data[0] % len(TARGETS)](data[2:], data[1])


def write_seeds(folder: Path) -> None:
    """Messages, files and rows of the usual kind."""
    seeds = [
        b"\0\x03" + call(),
        b"\0\x11" + call(Via=b"a,\r\n b", User_Agent=b"\xff\xc3\xa9\xf0\x9f\x98\x80", X_OIP=b"[::1]:5"),
        b"\0\x0d" + call(b"SIP/2.0 200 O\\K", Server=b"x\t\0'", Diversion=b"<sip:a@b>, c"),
        b"\1\0" + b"1:a\\:b:2.5:c\\n\n2:::\n3",
        b"\1\1" + b"a(int) b(str,null)\n1:x\n",
        b"\1\2" + b'{"pending": {"t": 60}, "written": {}}',
        b"\2\0" + b"a\\\\\\::\\0\\r",
    ]
    for number, seed in enumerate(seeds):
        (folder / f"seed-{number}").write_bytes(seed)


if __name__ == "__main__":
    fuzz_with(one_input, write_seeds)
