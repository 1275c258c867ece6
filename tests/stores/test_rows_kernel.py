"""Rows of hostile messages against a slow and plain reference: widths, character sets, escapes, sizes."""

import random
import re
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepcat.batch import schema as batch_schema
from hepcat.batch.layout import Batch
from hepcat.stores.classic import rows as kernel
from hepcat.stores.classic.plan import (
    BULK,
    COPY,
    DBTEXT,
    LOAD_DATA,
    PLAIN,
    VALUES,
    Cell,
    Charset,
    RowMaker,
    original_cells,
)
from hepcat.stores.classic.schema import LOGS_CAPTURE, SIP_CAPTURE, Column, Source, Table

from .rows_support import (
    HEADERS,
    SETTINGS,
    Datagram,
    call,
    database,
    every,
    messages,
    octets_at,
    read_rows,
    unescape,
)

PIECES = (
    b"a", b"bob", b"\\", b"'", b'"', b"\t", b":", b"@", b";", b"\x00", b"\x01", b"\x7f", b"\x80", b"\xff",
    b"%", b" ", b"\xc3\xa9", b"\xe2\x82\xac", b"\xf0\x9f\x98\x80", b"\xc3", b"\xed\xa0\x80", b"\xf0\x9f",
    b"\r\n ", b"\r\n\t x", b"\\.", b"\\N", b"0123456789", b"sip:x@[2001:db8::1]:5060", b"<sip:q@w>;tag=\\'",
)  # fmt: skip


def hostile(seed: int) -> Batch:
    """Messages of odd octets, with folded lines, and values on both sides of every width."""
    dice = random.Random(seed)

    def value() -> bytes:
        return b"".join(dice.choices(PIECES, k=dice.choice((0, 1, 3, 9, 40, 200))))

    found: list[Datagram | bytes] = []
    for _ in range(40):
        names = dice.sample(
            ["Via", "From", "To", "Call-ID", "CSeq", "Contact", "User-Agent", "Server", "Diversion", "Reason",
             "X-CID", "X-OIP", "Mac", "IP", "Port", "P-RTP-Stat", "Content-Type", "Proxy-Authorization"],
            k=dice.randrange(12),
        )  # fmt: skip
        first = dice.choice((b"INVITE sip:" + value() + b" SIP/2.0", b"SIP/2.0 486 " + value(), value()))
        octets = call(first, **{name: value() for name in names}) + value()
        source, port = dice.choice(("192.0.2.1", "2001:db8::1:0:0:7", "::")), dice.randrange(65_536)
        found.append(
            Datagram(octets[:65_000], source, port, source, 5060, dice.randrange(256), dice.randrange(2**52))
        )
    batch = messages(*found)
    batch.node_id[:] = [dice.choice((0, 7, 2**32 - 2, 2**32 - 1)) for _ in range(batch.n)]
    batch.family[::7] = 0
    batch.hep_type[::11] = 100
    return batch


# ---- the reference


def characters(value: bytes, charset: Charset) -> Iterator[tuple[bytes, bool]]:
    """Split a value into the characters of a set; False is what it does not hold."""
    at = 0
    while at < len(value):
        size = 1
        if charset in (Charset.OCTETS, Charset.LATIN1, Charset.BYTEA):
            good = True
        else:
            good = False
            for length in (1, 2, 3, 4):
                try:
                    value[at : at + length].decode()
                except UnicodeDecodeError:
                    continue
                good, size = len(value[at : at + length]) == length, length
                break
            if good and size == 4 and charset is Charset.UTF8MB3:
                good = False
            if value[at] == 0 and charset is Charset.NO_NUL:
                good = False
        yield value[at : at + size], good
        at += size


def fitted(value: bytes, cell: Cell) -> tuple[bytes, bool, bool]:
    """Return what a column holds of a value, whether it was cut, whether anything was replaced."""
    every_one = list(characters(value, cell.charset))
    kept = every_one if cell.width is None else every_one[: cell.width]
    text = b"".join(octets if good else b"?" for octets, good in kept)
    return text, len(kept) < len(every_one), not all(good for _, good in kept)


def unfolded(batch: Batch, row: int, name: str) -> bytes:
    value = octets_at(batch, row, name)
    if name in ("payload", "correlation_id") or not int(batch.flags[row]) & batch_schema.FLAG_FOLDED:
        return value
    return re.sub(rb"[\t\r\n ]*[\r\n][\t\r\n ]*", b" ", value)


def whole_line(batch: Batch, row: int, name: str) -> bytes:
    """A value and the rest of its header."""
    value, payload = octets_at(batch, row, name), octets_at(batch, row, "payload")
    if not value:
        return b""
    index = batch_schema.FIELD_INDEX
    at = int(batch.fields[row, index[name], 0]) - int(batch.fields[row, index["payload"], 0])
    line = re.match(rb"(?:(?:\r\n|\r|\n)[\t ]|[^\r\n])*", payload[at:], re.DOTALL)
    assert line is not None
    body = line[0].rstrip(b"\t\r\n ")
    return re.sub(rb"[\t\r\n ]*[\r\n][\t\r\n ]*", b" ", body if len(body) > 0 else line[0][:1])


def reference(batch: Batch, row: int, cell: Cell, table: Table) -> tuple[bytes | None, bool, bool]:
    """One value, made slowly."""
    column, flags, hep_type = cell.column, int(batch.flags[row]), int(batch.hep_type[row])
    field = batch_schema.FIELDS[column.field] if column.field is not None else ""
    is_reply = bool(flags & batch_schema.FLAG_RESPONSE)
    ts = int(batch.ts[row])

    def plain(text: object) -> tuple[bytes, bool, bool]:
        return str(text).encode(), False, False

    match column.source:
        case Source.EMPTY:
            return plain("")
        case Source.SLICE:
            return fitted(unfolded(batch, row, field), cell)
        case Source.LINE:
            return fitted(whole_line(batch, row, field), cell)
        case Source.HEADER:
            header = {"1": "Mac", "2": "IP", "3": "Port"}[column.header[-1]]
            return fitted(unfolded(batch, row, header), cell)
        case Source.DATE:
            second = min(max(ts // 10**6, 86_400), 2_147_397_247)
            return plain(time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second)))
        case Source.MICRO_TS:
            return plain(ts)
        case Source.METHOD if is_reply and int(batch.status[row]):
            return plain(int(batch.status[row]))
        case Source.METHOD:
            return fitted(unfolded(batch, row, "method"), cell)
        case Source.CORRELATION:
            own = unfolded(batch, row, "correlation_id")
            return fitted(own or (unfolded(batch, row, "call_id") if table is SIP_CAPTURE else b""), cell)
        case Source.USER_AGENT:
            at = int(batch.start[row]) + int(batch.fields[row, batch_schema.FIELD_INDEX["user_agent"], 0])
            before = batch.buffer[int(batch.start[row]) : at].tobytes()
            server = re.search(rb"(?i)server[ \t]*:[ \t\r\n]*$", before)
            return fitted(b"" if server else unfolded(batch, row, "user_agent"), cell)
        case Source.SOURCE_IP | Source.DESTINATION_IP:
            which = "src_ip" if column.source is Source.SOURCE_IP else "dst_ip"
            return plain(batch.address(row, which) if int(batch.family[row]) else "")
        case Source.ORIGINATOR_IP:
            return fitted(originator(octets_at(batch, row, "X-OIP"))[0], cell)
        case Source.ORIGINATOR_PORT:
            return plain(originator(octets_at(batch, row, "X-OIP"))[1])
        case Source.NODE:
            node = int(batch.node_id[row])
            return fitted(b"homer01" + (b"" if node == batch_schema.NO_NODE else b":%d" % node), cell)
        case Source.SOURCE_PORT | Source.DESTINATION_PORT | Source.CONTACT_PORT:
            name = {"source_port": "src_port", "destination_port": "dst_port"}.get(column.name, column.name)
            return plain(int(getattr(batch, name)[row]))
        case Source.PROTO:
            return plain({17: 1, 6: 2, 22: 3, 132: 4}.get(int(batch.ip_proto[row]), 0))
        case Source.FAMILY:
            return plain(int(batch.family[row])) if int(batch.family[row]) else (None, False, False)
        case Source.TYPE:
            return plain({5: 3, 32: 2, 99: 4, 100: 5}.get(hep_type, 2 if is_reply else flags & 1))
    raise AssertionError(column)


def originator(value: bytes) -> tuple[bytes, int]:
    host, colon, port = value.rpartition(b":")
    if not colon or b"]" in port or b":" in host.rpartition(b"]")[2]:
        return value, 0
    digits = re.match(rb"0*([0-9]*)", port)
    assert digits is not None
    number = int(digits[1] or 0) if len(digits[1]) < 6 else 65_536
    return host, number if number <= 65_535 else 0


def column(name: str) -> Column:
    found = SIP_CAPTURE.column(name)
    assert found is not None
    return found


# ---- the tests


def test_the_kernel_has_the_same_numbers() -> None:
    """cells.pxd and values.pxd repeat the numbers of schema.py, plan.py and batch/schema.py."""
    text = "".join(Path(kernel.__file__).with_name(f"{name}.pxd").read_text() for name in ("cells", "values"))
    numbers = {
        name: int(value) for name, value in re.findall(r"^    ([A-Z_0-9]+) = (\d+)$", text, re.MULTILINE)
    }
    for enum in (Source, Charset):
        for member in enum:
            assert numbers.pop(member.name) == member, member
    assert numbers.pop("IS_REQUEST") == batch_schema.FLAG_REQUEST
    assert numbers.pop("IS_RESPONSE") == batch_schema.FLAG_RESPONSE
    assert numbers.pop("IS_FOLDED") == batch_schema.FLAG_FOLDED
    for ours, its in (("FIRST_SIP", "method"), ("BODY", "body"), ("TAGS", "tags")):
        assert numbers.pop(ours) == batch_schema.FIELD_INDEX[its]
    assert numbers == {"CELL": 64, "QUOTE": 39, "BACKSLASH": 92, "MARK": 63, "COLON": 58}


@pytest.mark.parametrize("charset", list(Charset), ids=lambda c: c.name)
@pytest.mark.parametrize("seed", range(2))
def test_as_the_reference(charset: Charset, seed: int) -> None:
    batch = hostile(seed)
    for table in (SIP_CAPTURE, LOGS_CAPTURE):
        for width in (None, 0, 1, 7, "original")[seed::2]:
            cells = [
                Cell(column, column.width if width == "original" else width, charset)
                for column in table.columns
            ]
            made = RowMaker(cells, LOAD_DATA, SETTINGS, table).octets(batch, every(batch))
            want = [[reference(batch, row, cell, table) for cell in cells] for row in range(batch.n)]
            got = read_rows(made.data.tobytes())
            for row in range(batch.n):
                for i, cell in enumerate(cells):
                    assert got[row][i] == want[row][i][0], (cell, row)
            assert made.cut == sum(cut for values in want for _, cut, _ in values)
            assert made.replaced == sum(replaced for values in want for _, _, replaced in values)


@pytest.mark.parametrize("charset", list(Charset), ids=lambda c: c.name)
def test_flavours_say_the_same(charset: Charset) -> None:
    """COPY, BULK, VALUES, dbtext and tuples are read back to what LOAD DATA says."""
    cells = original_cells(SIP_CAPTURE, charset)
    for seed in range(4):
        batch = hostile(seed)
        batch.ts[:] = batch.ts % (2**31 * 10**6)  # PostgreSQL holds later dates
        batch.ts[:] += 86_400 * 10**6
        batch.ts[:] = np.minimum(batch.ts, 2_147_000_000 * 10**6)
        want = read_rows(RowMaker(cells, LOAD_DATA, SETTINGS).octets(batch, every(batch)).data.tobytes())
        copied = read_rows(RowMaker(cells, COPY, SETTINGS).octets(batch, every(batch)).data.tobytes())
        if charset is Charset.BYTEA:
            texts = [i for i, cell in enumerate(cells) if cell.column.kind in ("text", "octets")]
            for values in copied:
                for i in texts:
                    values[i] = read_bytea(values[i] or b"")
        assert copied == want
        executed = RowMaker(cells, BULK, SETTINGS).octets(batch, every(batch)).data.tobytes()
        assert list(read_bulk(executed, len(cells))) == want
        inserted = RowMaker(cells, VALUES, SETTINGS).octets(batch, every(batch)).data.tobytes()
        assert list(read_values(inserted)) == want
        text = RowMaker(cells, DBTEXT, SETTINGS).octets(batch, every(batch)).data.tobytes()
        lines = [split(line) for line in text.splitlines()]
        assert [[unescape(value) for value in line] for line in lines] == [
            [value or b"" for value in values] for values in want
        ]
        values = RowMaker(cells, LOAD_DATA, SETTINGS).tuples(batch, every(batch)).values
        flat = [
            [None if v is None else v if isinstance(v, bytes) else str(v).encode() for v in r] for r in values
        ]
        assert flat == want


def split(line: bytes) -> list[bytes]:
    """Split a line of dbtext at its colons."""
    return [bytes(part) for part in re.findall(rb"((?:\\.|[^:\\])*)(?::|$)", line)][: line_columns(line)]


def line_columns(line: bytes) -> int:
    return len(re.findall(rb":", re.sub(rb"\\.", b"", line))) + 1


def read_bytea(text: bytes) -> bytes:
    r"""Read bytea's escape format: \\ and \ooo."""
    return re.sub(
        rb"\\(\\|[0-7]{3})",
        lambda m: b"\\" if m[1] == b"\\" else bytes([int(m[1], 8)]),
        text,
        flags=re.DOTALL,
    )


def read_bulk(octets: bytes, columns: int) -> Iterator[list[bytes | None]]:
    """Read the rows of COM_STMT_BULK_EXECUTE: an indicator, 1 for NULL, a length of 0xFC and two octets."""
    at, values = 0, list[bytes | None]()
    while at < len(octets):
        if octets[at] == 1:
            values.append(None)
            at += 1
        else:
            assert octets[at : at + 2] == b"\x00\xfc"
            end = at + 4 + int.from_bytes(octets[at + 2 : at + 4], "little")
            values.append(octets[at + 4 : end])
            at = end
        if len(values) == columns:
            yield values
            values = []
    assert values == []


def read_values(octets: bytes) -> Iterator[list[bytes | None]]:
    """Read the rows of INSERT ... VALUES."""
    token = re.compile(rb"(?:_binary)?'((?:\\.|[^'\\])*)'|(NULL)|(\d+)", re.DOTALL)
    at = 0
    while at < len(octets):
        assert octets[at : at + 1] == b"("
        values: list[bytes | None] = []
        while octets[at : at + 1] in (b"(", b","):
            match = token.match(octets, at + 1)
            assert match is not None, octets[at : at + 60]
            text = match[1]
            values.append(unescape(b"x" + text)[1:] if text is not None else None if match[2] else match[3])  # type: ignore[index]
            at = match.end()
        assert octets[at : at + 2] == b"),"
        at += 2
        yield values


def test_chosen_rows_and_order() -> None:
    batch = hostile(5)
    cells = original_cells(SIP_CAPTURE, Charset.UTF8MB4)
    maker = RowMaker(cells, LOAD_DATA, SETTINGS)
    lines = maker.octets(batch, every(batch)).data.tobytes().split(b"\n")
    some = np.array([3, 1, 1, 39, 0])
    assert maker.octets(batch, some).data.tobytes().split(b"\n")[:-1] == [lines[i] for i in some]
    assert maker.octets(batch, some[:0]).data.tobytes() == b""
    assert maker.tuples(batch, some[:0]).values == []
    for bad in (-1, batch.n):
        with pytest.raises(IndexError):
            maker.octets(batch, np.array([bad]))


def test_some_columns_in_any_order() -> None:
    batch = messages(call(User_Agent=b"phone"))
    cells = [Cell(column(n), None, Charset.UTF8MB4) for n in ("MSG", "callid", "type")]
    row = read_rows(RowMaker(cells, LOAD_DATA, SETTINGS).octets(batch, every(batch)).data.tobytes())
    assert row == [[call(User_Agent=b"phone"), b"a@example.com", b"1"]]
    assert RowMaker([], LOAD_DATA, SETTINGS).tuples(batch, every(batch)).values == [()]


@pytest.mark.parametrize(
    ("headers", "want"),
    [
        ({"X_OIP": b"192.0.2.7:5080"}, {"originator_ip": b"192.0.2.7", "originator_port": b"5080"}),
        ({"X_OIP": b"192.0.2.7"}, {"originator_ip": b"192.0.2.7", "originator_port": b"0"}),
        ({"X_OIP": b"[2001:db8::1]:5060"}, {"originator_ip": b"[2001:db8::1]", "originator_port": b"5060"}),
        ({"X_OIP": b"2001:db8::1"}, {"originator_ip": b"2001:db8::1", "originator_port": b"0"}),
        ({"X_OIP": b"h:99999999999999999999"}, {"originator_ip": b"h", "originator_port": b"0"}),
        ({"Mac": b"00-11", "IP": b"i", "Port": b"p"}, {"custom_field1": b"00-11", "custom_field2": b"i"}),
        ({"Server": b"s"}, {"user_agent": b""}),
        ({"User_Agent": b"u", "Server": b"s"}, {"user_agent": b"u"}),
        ({"uSER_aGENT": b"\r\n u\r\n\t v"}, {"user_agent": b"u v"}),
        ({"Via": b"SIP/2.0/UDP a;b=1, SIP/2.0/UDP b"}, {"via_1": b"SIP/2.0/UDP a;b=1, SIP/2.0/UDP b"}),
        ({"Via": b"SIP/2.0/UDP a,\r\n  SIP/2.0/UDP b  "}, {"via_1": b"SIP/2.0/UDP a, SIP/2.0/UDP b"}),
        ({"Diversion": b"<sip:a@b>;x=1, <sip:c@d>"}, {"diversion": b"<sip:a@b>;x=1, <sip:c@d>"}),
        ({"Contact": b"*"}, {"contact_user": b"*", "contact_ip": b""}),
        ({"Subject": b"\r\n x"}, {"auth": b"", "node": b"homer01", "correlation_id": b"a@example.com"}),
    ],
)  # fmt: skip
def test_columns(headers: dict[str, bytes], want: dict[str, bytes]) -> None:
    cells = original_cells(SIP_CAPTURE, Charset.UTF8MB4)
    batch = messages(call(**headers))
    (row,) = read_rows(RowMaker(cells, LOAD_DATA, SETTINGS).octets(batch, every(batch)).data.tobytes())
    got = dict(zip((cell.column.name for cell in cells), row, strict=True))
    assert {name: got[name] for name in want} == want


def test_headers_that_were_not_asked_for_are_empty() -> None:
    batch = messages(call(Mac=b"1", X_OIP=b"h:1"))
    batch.extra = tuple(f"Other-{i}" for i in range(len(HEADERS)))
    cells = original_cells(
        SIP_CAPTURE, Charset.UTF8MB4, ["custom_field1", "originator_ip", "originator_port"]
    )
    rows = RowMaker(cells, LOAD_DATA, SETTINGS).octets(batch, every(batch))
    assert rows.data.tobytes() == b"\t0\t\n"


def test_custom_fields_name_their_headers() -> None:
    named = database(custom_fields=("x-oip", "Via", ""))
    cells = original_cells(SIP_CAPTURE, Charset.UTF8MB4, ["custom_field1", "custom_field3"])
    batch = messages(call(X_OIP=b"h:1"))
    assert RowMaker(cells, LOAD_DATA, named).octets(batch, every(batch)).data.tobytes() == b"h:1\t\n"


def test_whole_message_of_any_size() -> None:
    """A message that grows five times, and many of them: what is written grows with them."""
    payload = call() + b"\xff\x00\\\n" * 16_000
    batch = messages(*[payload] * 20)
    cells = original_cells(SIP_CAPTURE, Charset.BYTEA, ["callid", "msg"])
    for index, cell in enumerate(cells):
        cells[index] = Cell(cell.column, None, cell.charset)
    made = RowMaker(cells, COPY, SETTINGS).octets(batch, every(batch))
    assert len(made.data) > 3.9 * 20 * len(payload)
    for row in read_rows(made.data.tobytes()):
        assert read_bytea(row[1] or b"") == payload


def test_node_counts_each_time() -> None:
    batch = messages(call(), call(), call())
    batch.node_id[:] = 7
    cells = [Cell(column("node"), 5, Charset.UTF8MB3)]
    named = database(capture_node="h\U0001f600:merkel")
    for flavour in (LOAD_DATA, BULK, DBTEXT, VALUES):
        made = RowMaker(cells, flavour, named).octets(batch, every(batch))
        assert (made.cut, made.replaced) == (3, 3)
    assert made.data.tobytes() == b"('h?:me')," * 3


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Kathmandu", "America/St_Johns", "UTC"])
def test_dates_are_local_time(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in the hours in which clocks are put forward and back."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    from hepcat.stores.classic import plan

    plan._local_offset.cache_clear()
    dice = random.Random(zone)
    changes = [1_774_746_000 + d for d in (-3_601, -1, 0, 1, 3_600)] + [1_792_890_000 + d for d in (-1, 0, 1)]
    seconds = [*changes, 0, 951_782_400, 4_102_444_800, *(dice.randrange(2**32) for _ in range(200))]
    batch = messages(*[Datagram(call(), ts=second * 10**6 + 999_999) for second in seconds])
    cells = [Cell(column("date"), None, Charset.OCTETS)]
    got = read_rows(RowMaker(cells, COPY, SETTINGS).octets(batch, every(batch)).data.tobytes())
    want = [time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second)).encode() for second in seconds]
    try:
        assert [row[0] for row in got] == want
        first = RowMaker(cells, COPY, SETTINGS, utc=True).tuples(batch, every(batch)).values[0][0]
        assert first.isoformat(" ") == time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds[0]))
    finally:
        monkeypatch.undo()
        time.tzset()
        plan._local_offset.cache_clear()


@given(st.lists(st.sampled_from(PIECES), max_size=30), st.sampled_from(list(Charset)), st.integers(0, 40))
@settings(max_examples=300, deadline=None)
def test_any_value_fits(parts: list[bytes], charset: Charset, width: int) -> None:
    payload = b"".join(parts)
    batch = messages(payload)
    cells = [Cell(column("msg"), width, charset)]
    want = fitted(payload, cells[0])
    made = RowMaker(cells, LOAD_DATA, SETTINGS).octets(batch, every(batch))
    assert (read_rows(made.data.tobytes()), bool(made.cut), bool(made.replaced)) == ([[want[0]]], *want[1:])
    plain = RowMaker(cells, PLAIN, SETTINGS).tuples(batch, every(batch)).values[0][0]
    assert (plain if isinstance(plain, bytes) else plain.encode()) == want[0]


def test_a_slice_outside_its_buffer_is_a_bug_of_ours() -> None:
    batch = messages(call())
    batch.fields[0, batch_schema.FIELD_INDEX["call_id"]] = (60_000, 5_000)
    maker = RowMaker(original_cells(SIP_CAPTURE, Charset.UTF8MB4), LOAD_DATA, SETTINGS)
    with pytest.raises(IndexError):
        maker.octets(batch, every(batch))
