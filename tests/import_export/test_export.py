"""Export: tshark and hepcat itself read what is written, and agree with what is stored."""

import io
import json
import struct
import subprocess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepcat.batch.schema import NO_VLAN
from hepcat.config.lake import LakeSettings
from hepcat.pipeline.importing import import_capture
from hepcat.search import api
from hepcat.search.export import export
from hepcat.search.pages import even_windows
from hepcat.sinks.pcap_writer import COLUMNS, FORMATS, Message, PcapWriter, messages_of_table, write_pcap
from hepcat.sinks.text_writer import printable, text_of
from hepcat.sources.pcap_file import read_batches
from hepcat.wire.packet_encode import PacketEncoder, checksum, crc32c, internet_sum
from tests.import_export.support import CAPTURES, Row, address, command, rows_of, tshark
from tests.support import need
from tests.wire import make_capture as make

T = 1_700_000_000_123_456
V4A, V4B, V6A, V6B = "192.0.2.1", "198.51.100.2", "2001:db8::1", "2001:db8::2"


def request(call_id: str, size: int = 0) -> bytes:
    return make.message("INVITE", call_id, b"x" * size)


def response(call_id: str) -> bytes:
    return request(call_id).replace(b"INVITE sip:bob@example.com SIP/2.0", b"SIP/2.0 486 Busy Here")


#: One of everything: transports, families, VLAN, more than a segment, an odd length.
MESSAGES: list[Message] = [
    (T + 0, "udp", V4A, 5060, V4B, 5060, NO_VLAN, request("u4", 3)),
    (T + 1, "udp", V6A, 5060, V6B, 5061, 7, response("u6")),
    (T + 2, "tcp", V4A, 40000, V4B, 5060, 4094, request("t1", 11)),
    (T + 3, "tcp", V4B, 5060, V4A, 40000, NO_VLAN, response("t1")),
    (T + 4, "tcp", V4A, 40000, V4B, 5060, NO_VLAN, request("t3", 70_000)),
    (T + 5, "tcp", V4A, 40000, V4B, 5060, NO_VLAN, request("t4", 1)),
    (T + 6, "tcp", V6A, 40000, V6B, 5060, NO_VLAN, request("t6", 2)),
    (T + 7, "sctp", V4A, 5060, V4B, 5060, NO_VLAN, request("s1", 10)),
    (T + 8, "sctp", V4A, 5060, V4B, 5060, NO_VLAN, request("s2", 70_000)),
    (T + 9, "sctp", V6A, 5060, V6B, 5060, 9, response("s6")),
    (T + 10, "udp", V4A, 5062, V4B, 5060, NO_VLAN, request("u5", 60_000)),
    (T + 1_000_000, "udp", "10.0.0.1", 5060, V6B, 5060, NO_VLAN, request("mixed")),
]


def rows_of_messages(messages: list[Message]) -> list[Row]:
    rows = []
    for ts, _, src, sport, dst, dport, _, payload in messages:
        busy = payload.startswith(b"SIP/2.0")
        call_id = payload.split(b"Call-ID: ")[1].split(b"\r\n")[0].decode()
        mixed = (":" in (src or "")) != (":" in (dst or ""))
        rows.append(
            Row(
                ts,
                address(f"::ffff:{src}" if mixed else src or ""),
                sport,
                dst or "",
                dport,
                "INVITE",
                486 if busy else 0,
                call_id,
            )
        )
    return rows


def written(messages: list[Message], format: Any = "pcap") -> bytes:
    out = io.BytesIO()
    PcapWriter(out, format).write(messages)
    return out.getvalue()


@pytest.mark.peer
@pytest.mark.parametrize("format", FORMATS)
def test_tshark_shows_the_same_messages(tmp_path: Path, format: str) -> None:
    path = tmp_path / f"a.{format}"
    path.write_bytes(written(MESSAGES, format))
    assert list(tshark(path, "sip")) == rows_of_messages(MESSAGES)


@pytest.mark.peer
def test_tshark_finds_every_checksum_right_and_nothing_odd(tmp_path: Path) -> None:
    need("tshark")
    path = tmp_path / "a.pcap"
    path.write_bytes(written(MESSAGES))
    switches = [
        "ip.check_checksum:TRUE",
        "udp.check_checksum:TRUE",
        "tcp.check_checksum:TRUE",
        "sctp.checksum:CRC 32c",
    ]
    fields = [
        "ip.checksum.status",
        "udp.checksum.status",
        "tcp.checksum.status",
        "sctp.checksum.status",
        "vlan.id",
    ]
    command = ["tshark", "-n", "-r", str(path), "-T", "fields", *(p for s in switches for p in ("-o", s))]
    command += [
        part
        for field in [*fields, "_ws.malformed", "tcp.analysis.flags", "_ws.expert.message"]
        for part in ("-e", field)
    ]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    table = [line.split("\t") for line in lines]
    assert len(table) == len(MESSAGES) + 2  # two of them need two packets
    assert all(row[0] in ("1", "") and row.count("1") >= 1 for row in table)
    assert [sum(row[i] == "1" for row in table) for i in (1, 2, 3)] == [4, 6, 4]
    assert [row[4] for row in table if row[4]] == ["7", "4094", "9"]
    assert all(row[5:7] == ["", ""] for row in table)


def test_hepcat_reads_back_what_it_wrote_as_udp(tmp_path: Path) -> None:
    udp = [m for m in MESSAGES if m[1] == "udp"]
    for format in FORMATS:
        path = tmp_path / "a"
        path.write_bytes(written(udp, format))
        batches = list(read_batches(path))
        assert rows_of(batches) == rows_of_messages(udp)
        assert [b.text(i, "payload") for b in batches for i in range(b.n)] == [m[-1] for m in udp]
        assert [int(v) for b in batches for v in b.vlan] == [m[-2] for m in udp]


def test_a_datagram_longer_than_udp_can_carry_is_cut_and_counted() -> None:
    for source, target, longest in ((V4A, V4B, 65_507), (V6A, V6B, 65_527)):
        encoder = PacketEncoder()
        (frame,) = encoder.encode_message("udp", source, 1, target, 2, NO_VLAN, b"x" * 65_535)
        assert frame.count(b"x") == longest
        assert encoder.cut == 1
        encoder.encode_message("udp", source, 1, target, 2, NO_VLAN, b"x" * longest)
        assert encoder.cut == 1


def test_tcp_numbers_go_on_in_both_directions_and_wrap() -> None:
    encoder = PacketEncoder()

    def segment(a: str, b: str, payload: bytes) -> tuple[int, int]:
        (frame,) = encoder.encode_message("tcp", a, 1, b, 1, NO_VLAN, payload)
        sequence, acknowledged = struct.unpack_from("!II", frame, 14 + 20 + 4)
        return int(sequence), int(acknowledged)

    assert segment(V4A, V4B, b"12345") == (1, 1)
    assert segment(V4B, V4A, b"123") == (1, 6)
    assert segment(V4A, V4B, b"1") == (6, 4)
    for flow in encoder._flows.values():
        flow.next = 2**32 - 2
    assert segment(V4A, V4B, b"1234") == (2**32 - 2, 2**32 - 2)
    assert segment(V4A, V4B, b"1") == (2, 2**32 - 2)


def test_sums_of_the_standards() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C
    header = bytes.fromhex("45000073000040004011b861c0a80001c0a800c7")  # a valid header sums up to 0
    assert internet_sum(header) % 0xFFFF == 0
    assert checksum(internet_sum(header[:10] + header[12:])) == 0xB861
    assert checksum(0) == checksum(0xFFFF) == 0xFFFF, "0 would mean: no checksum"


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=64))
def test_internet_sum_is_the_sum_of_words(octets: bytes) -> None:
    words = struct.unpack(f"!{(len(octets) + 1) // 2}H", octets + b"\0" * (len(octets) % 2))
    assert internet_sum(octets) % 0xFFFF == sum(words) % 0xFFFF


def test_odd_addresses_and_transports_are_written_all_the_same() -> None:
    odd: list[Message] = [
        (T, "99", None, 0, "no address", 0, NO_VLAN, request("odd")),
        (-5, "udp", "", 0, V6A, 0, 0, b""),
    ]
    for format in FORMATS:
        assert len(written(odd, format)) > 200


# ---- out of the lake


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of three calls of four messages each, and one message without a Call-ID."""
    folder = tmp_path_factory.mktemp("lake")
    records: list[make.Record] = []
    for i in range(12):
        payload = response(f"call{i % 3}") if i >= 6 else request(f"call{i % 3}")
        records.append((1_700_000_000 + i, 7, make.ethernet(0x0800, make.ipv4(make.udp(payload))), None))
    stray = request("x").replace(b"Call-ID: x\r\n", b"")
    records.append((1_700_000_020, 0, make.ethernet(0x0800, make.ipv4(make.udp(stray)), (0x8100, 5)), None))
    (folder / "a.pcap").write_bytes(make.make_pcap(records))
    import_capture(folder / "a.pcap", folder / "data", LakeSettings())
    return folder / "data"


def exported(lake: Path, query: str, format: Any = "pcap", **options: Any) -> bytes:
    out = io.BytesIO()
    with api.open(lake) as data:
        export(data, query, out, format, **options)
    return out.getvalue()


def reread(octets: bytes, tmp_path: Path) -> list[Row]:
    (tmp_path / "out").write_bytes(octets)
    return rows_of(read_batches(tmp_path / "out"))


@pytest.mark.parametrize("format", FORMATS)
def test_everything_comes_out_as_it_went_in(lake: Path, tmp_path: Path, format: str) -> None:
    assert reread(exported(lake, "", format), tmp_path) == rows_of(read_batches(lake.parent / "a.pcap"))


def test_whole_calls_or_only_what_matches(lake: Path, tmp_path: Path) -> None:
    whole = reread(exported(lake, "status:486 call_id:call1"), tmp_path)
    assert [(row.call_id, row.status) for row in whole] == [
        ("call1", 0),
        ("call1", 0),
        ("call1", 486),
        ("call1", 486),
    ]
    only = reread(exported(lake, "status:486 call_id:call1", messages=True), tmp_path)
    assert [row.status for row in only] == [486, 486]
    assert reread(exported(lake, "call_id:nonesuch"), tmp_path) == []


def test_time_and_limit(lake: Path, tmp_path: Path) -> None:
    until = 1_700_000_002_000_000
    assert {row.call_id for row in reread(exported(lake, "", until=until), tmp_path)} == {"call0", "call1"}
    assert len(reread(exported(lake, "", until=until, messages=True), tmp_path)) == 2
    newest = reread(exported(lake, "", messages=True, limit=2), tmp_path)
    assert [row.ts for row in newest] == [1_700_000_011_000_007, 1_700_000_020_000_000]
    assert {row.call_id for row in reread(exported(lake, "", limit=1), tmp_path)} == {"call2"}


@pytest.mark.parametrize("messages", [False, True])
def test_slices_make_no_difference(
    lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, messages: bool
) -> None:
    whole = exported(lake, "", messages=messages)
    for size in (1, 2, 5):
        monkeypatch.setattr(even_windows, "__defaults__", (size,))
        assert exported(lake, "", messages=messages) == whole


def test_text_and_json(lake: Path) -> None:
    text = exported(lake, "call_id:call0", "text").decode()
    assert text.startswith("2023-11-14T22:13:20.000007Z udp 192.0.2.1:5060 -> 198.51.100.2:5062 (")
    assert text.count("\nCSeq: 1 INVITE\n") == 4
    rows = json.loads(exported(lake, "", "json"))
    assert len(rows) == 13
    assert rows[-1]["call_id"] is None
    assert rows[-1]["vlan"] == 5
    assert rows[0]["ts"] == "2023-11-14T22:13:20.000007Z"
    assert rows[0]["payload"] == request("call0").decode()
    assert json.loads(exported(lake, "call_id:nonesuch", "json")) == []


def test_text_does_no_harm_to_a_terminal() -> None:
    assert printable(b"a\x1b[31m\x07\xff\xc2\x9b\r\nb\tc\r\n\r\n") == "a\\x1b[31m\\x07\\xff\\x9b\nb\tc"
    head = text_of((0, "tcp", V6A, 1, None, 2, 3, b"x"))
    assert head == "1970-01-01T00:00:00.000000Z tcp [2001:db8::1]:1 -> ?:2 vlan 3 (1 octets)\nx\n\n"


def test_table_with_nulls_and_out_of_order() -> None:
    table = pa.table(
        {
            "ts": pa.array([2, 1], pa.timestamp("us", "UTC")),
            "transport": ["udp", None],
            "src_ip": [V4A, None],
            "src_port": pa.array([1, None], pa.uint16()),
            "dst_ip": [V4B, None],
            "dst_port": pa.array([2, None], pa.uint16()),
            "vlan": pa.array([None, 3], pa.uint16()),
            "payload": pa.array([b"x", None], pa.binary()),
            "further": [1, 2],
        }
    )
    assert list(messages_of_table(table)) == [
        (1, "udp", None, 0, None, 0, 3, b""),
        (2, "udp", V4A, 1, V4B, 2, NO_VLAN, b"x"),
    ]
    assert write_pcap(table, io.BytesIO(), "pcapng").messages == 2
    with pytest.raises(KeyError, match="payload"):
        write_pcap(table.drop_columns(["payload"]), io.BytesIO())
    assert set(COLUMNS) <= set(table.column_names)


@pytest.mark.peer
@pytest.mark.skipif(not CAPTURES, reason="no recorded captures beside the checkout")
def test_recorded_calls_come_out_as_tshark_saw_them_go_in(tmp_path: Path) -> None:
    path = next(p for p in CAPTURES if p.name == "zeek-wireshark.pcap")
    import_capture(path, tmp_path / "data", LakeSettings())
    (tmp_path / "out.pcap").write_bytes(exported(tmp_path / "data", ""))
    assert tshark(tmp_path / "out.pcap", "sip") == tshark(path)


def test_the_command(
    lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.pcapng"
    common = ("export", "--data", str(lake))
    assert command(monkeypatch, *common, "call_id:call0", "-o", str(out)) == 0
    assert "4 messages of 1 call to" in capfd.readouterr().err
    assert out.read_bytes()[:4] == b"\x0a\x0d\x0d\x0a", "the format is that of the name"
    assert [p.name for p in tmp_path.iterdir()] == ["out.pcapng"]
    assert (
        command(
            monkeypatch, *common, "call_id:call0", "-status:486", "--messages", "--format", "text", "-o", "-"
        )
        == 0
    )
    assert capfd.readouterr().out.count("Call-ID: call0") == 2
    assert command(monkeypatch, *common, "-o", str(tmp_path / "none" / "a.pcap")) == 1
    assert "cannot write" in capfd.readouterr().err
    assert command(monkeypatch, *common, "--format", "doc") == 2
    assert "'doc' is not one of" in capfd.readouterr().err
    assert command(monkeypatch, *common, "--last", "soon", "-o", str(out)) == 1
    assert "hepcat: last:" in capfd.readouterr().err
