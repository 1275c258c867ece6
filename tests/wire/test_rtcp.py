"""RTCP to JSON: each packet type, every cut, real captures against tshark, random octets."""

import re
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepcat.batch.schema import MALFORMED
from hepcat.sources.pcap_file import read_batches
from hepcat.wire import rtcp_pieces
from hepcat.wire.rtcp import rtcp_mask, rtcp_to_json, rtp_or_rtcp_mask
from tests.support import SHARED
from tests.wire import make_rtcp as make
from tests.wire.make_batch import make_batch, octets_in, read_json
from tests.wire.make_capture import ethernet, ipv4, make_pcap, udp

CAPTURES = SHARED / "captures"
BLOCK = make.block(0x1234, 7, -5, 48834, 17, 3245362529, 263452)
BLOCK_JSON = {
    "source_ssrc": 0x1234,
    "highest_seq_no": 48834,
    "fraction_lost": 7,
    "ia_jitter": 17,
    "packets_lost": -5,
    "lsr": 3245362529,
    "dlsr": 263452,
}
VALUES = (1, 2, 3, 4, 500, 600, 70, 80, -10, 200, 90, 16, 93, 127, 41, 40, 0xB2, 0, 60, 120, 240)
METRICS = make.voip_metrics(0xABCD, VALUES)
METRICS_JSON = {
    "type": 7,
    "id": 0xABCD,
    "fraction_lost": 1,
    "fraction_discard": 2,
    "burst_density": 3,
    "gap_density": 4,
    "burst_duration": 500,
    "gap_duration": 600,
    "round_trip_delay": 70,
    "end_system_delay": 80,
    "signal_level": -10,
    "noise_level": -56,
    "rerl": 90,
    "gmin": 16,
    "r_factor": 93,
    "ext_r_factor": 127,
    "mos_lq": 41,
    "mos_cq": 40,
    "rx_config": 0xB2,
    "jb_nominal": 60,
    "jb_maximum": 120,
    "jb_abs_max": 240,
}
SENDER_JSON = {
    "ntp_timestamp_sec": 3711615344,
    "ntp_timestamp_usec": 1298222584,
    "octets": 32000,
    "rtp_timestamp": 4294967295,
    "packets": 200,
}
SR = make.sr(1, 3711615344 << 32 | 1298222584, 4294967295, 200, 32000, BLOCK)
RR = make.rr(2, BLOCK, BLOCK)
SDES = make.sdes((1, [(1, b"alice@host"), (7, b'a "note" \\')]))
BYE = make.bye(1, 5, reason=b"hung up")
ZEROS = dict.fromkeys(SENDER_JSON, 0)
NO_BLOCKS: dict[str, Any] = {"report_blocks": [], "report_count": 0}
SR_JSON = {
    "sender_information": SENDER_JSON,
    "ssrc": 1,
    "type": 200,
    "report_blocks": [BLOCK_JSON],
    "report_count": 1,
}
SDES_JSON = {
    "sdes_ssrc": 1,
    "sdes_report_count": 1,
    "sdes_information": [{"type": 1, "text": "alice@host"}, {"type": 7, "text": 'a "note" \\'}],
}
SRTCP_JSON = {"ssrc": 2, "type": 201, "encrypted": True}
RR_JSON = {"ssrc": 2, "type": 201, "report_blocks": [BLOCK_JSON] * 2, "report_count": 2}
BYE_JSON = {"bye_ssrc": [1, 5], "bye_reason": "hung up"}

#: name: octets, JSON (None: no RTCP that can be read)
VECTORS: dict[str, tuple[bytes, dict[str, Any] | None]] = {
    "sr": (SR, SR_JSON),
    "sr without blocks": (make.sr(1, 0, 0, 0, 0), {**SR_JSON, **NO_BLOCKS, "sender_information": ZEROS}),
    "rr": (RR, RR_JSON),
    "compound": (SR + SDES + BYE, {**SR_JSON, **SDES_JSON, **BYE_JSON}),
    "metrics": (SR + SDES + make.xr(1, METRICS), {**SR_JSON, **SDES_JSON, "report_blocks_xr": METRICS_JSON}),
    "two metrics": (
        make.xr(1, METRICS, METRICS) + make.xr(1, METRICS),
        {
            "ssrc": 1,
            "type": 207,
            **NO_BLOCKS,
            "report_blocks_xr": METRICS_JSON,
            "report_blocks_xr_more": [METRICS_JSON] * 2,
        },
    ),
    "other xr blocks": (
        make.xr(1, struct.pack("!BBHII", 4, 0, 2, 1, 2), struct.pack("!BBH", 7, 0, 0), METRICS),
        {"ssrc": 1, "type": 207, **NO_BLOCKS, "report_blocks_xr": METRICS_JSON},
    ),
    "sdes of two": (
        make.sdes((1, [(1, b"abc")]), (2, [(1, b"a"), (2, b"")])),
        {
            "ssrc": 1,
            "type": 202,
            **NO_BLOCKS,
            "sdes_ssrc": 1,
            "sdes_report_count": 2,
            "sdes_information": [
                {"type": 1, "text": "abc"},
                {"type": 1, "ssrc": 2, "text": "a"},
                {"type": 2, "ssrc": 2, "text": ""},
            ],
        },
    ),
    "sdes before sr": (SDES + SR, {**SR_JSON, **SDES_JSON}),
    "bye": (BYE, {"ssrc": 1, "type": 203, **NO_BLOCKS, **BYE_JSON}),
    "bye without reason": (make.bye(1), {"ssrc": 1, "type": 203, **NO_BLOCKS, "bye_ssrc": [1]}),
    "rr and empty bye": (RR + make.bye(), {**RR_JSON, "bye_ssrc": []}),
    "app": (
        make.app(1, b'P"CT', 3, bytes(8)),
        {"ssrc": 1, "type": 204, **NO_BLOCKS, "app_ssrc": 1, "app_name": 'P"CT', "app_subtype": 3},
    ),
    "feedback": (make.packet(205, 15, bytes(16)), {"ssrc": 0, "type": 205, **NO_BLOCKS}),
    "cut within a block": (SR[:-4], {**SR_JSON, **NO_BLOCKS}),
    "cut within sdes": (
        SR + SDES[:-7],
        {**SR_JSON, **SDES_JSON, "sdes_information": [{"type": 1, "text": "alice@host"}]},
    ),
    "srtcp": (
        SR[:8] + bytes(range(44)) + b"\x80\0\0\x01" + bytes(10),
        {"ssrc": 1, "type": 200, "encrypted": True},
    ),
    "srtcp, short tag": (RR[:8] + bytes(48) + b"\x80\0\0\x01" + bytes(4), SRTCP_JSON),
    "srtcp, gcm": (RR[:8] + bytes(48) + bytes(16) + b"\x80\0\0\x01", SRTCP_JSON),
    "srtcp in clear": (RR + b"\0\0\0\x01" + bytes(10), RR_JSON),
    "srtcp in clear, random tag": (RR + b"\0\0\0\x01" + b"\xff" * 10, RR_JSON),
    "srtcp in clear, short tag": (RR + b"\0\0\0\x01" + b"\xff" * 4, RR_JSON),
    "srtcp of one packet": (RR + b"\x80\0\0\x01" + bytes(10), SRTCP_JSON),
    "a word behind it": (RR + b"\xff" * 4, RR_JSON),
    "rtp": (b"\x80\x00" + bytes(10), None),
    "version 1": (b"\x40\xc8" + SR[2:], None),
    "seven octets": (SR[:7], None),
    "nothing": (b"", None),
}


def to_json(*payloads: bytes) -> list[dict[str, Any] | None]:
    """What comes out for each of several payloads in one batch."""
    batch = make_batch(*payloads)
    found = octets_in(rtcp_to_json(batch, np.arange(batch.n)), batch.n)
    return [read_json(octets) for octets in found]


@pytest.mark.parametrize("name", VECTORS)
def test_vectors(name: str) -> None:
    octets, expected = VECTORS[name]
    assert to_json(octets) == [expected]


def test_all_vectors_in_one_batch() -> None:
    assert to_json(*(octets for octets, _ in VECTORS.values())) == [e for _, e in VECTORS.values()]


def test_only_the_rows_asked_for() -> None:
    batch = make_batch(SR, RR, BYE)
    found = octets_in(rtcp_to_json(batch, np.array([2, 0])), 3)
    assert found[1] is None
    assert [(read_json(found[i]) or {})["type"] for i in (0, 2)] == [200, 203]
    assert octets_in(rtcp_to_json(batch, np.arange(0)), 3) == [None] * 3


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        ("žluťoučký 🐈".encode(), "žluťoučký 🐈"),
        (b"caf\xe9", "caf\u00e9"),
        (b"\x00\x1f\x7f\n", "\x00\x1f\x7f\n"),
        (b"\xed\xa0\x80", "\u00ed\u00a0\u0080"),  # a surrogate
        (b"\xc0\xaf\xf5\x80", "\u00c0\u00af\u00f5\u0080"),  # overlong, beyond Unicode
        (b"\xe2\x82", "\u00e2\u0082"),  # cut
        (b"\xf0\x8f\xbf\xbf\xf4\x90\x80\x80", "\u00f0\u008f\u00bf\u00bf\u00f4\u0090\u0080\u0080"),
        (b"\xe0\x9f\xbf \xe0\xa0\x80", "\u00e0\u009f\u00bf \u0800"),
    ],
)
def test_text(octets: bytes, text: str) -> None:
    (found,) = to_json(make.sdes((1, [(1, octets)])))
    assert found is not None
    assert found["sdes_information"] == [{"type": 1, "text": text}]


def test_the_largest_datagrams_stay_within_a_record() -> None:
    worst = [(2, b"\x80" * 255)] * 60
    empty = make.packet(202, 1, struct.pack("!I", 1) + b"\x01\0" * 32000)
    blocks = make.rr(1, *[make.block(4294967295, 255, -1, *[4294967295] * 4)] * 31)
    many = (blocks * 100)[:65000]
    metrics = (make.xr(1, *[METRICS] * 100) * 18)[:65000]
    found = to_json(make.sdes((1, worst)) * 4, empty, many, metrics, (SDES * 2000)[:65000])
    assert all(f is not None for f in found)
    assert len((found[1] or {})["sdes_information"]) > 2000
    assert (found[2] or {})["report_count"] == len((found[2] or {})["report_blocks"]) > 200


def masks(*payloads: bytes) -> tuple[list[int], list[int]]:
    batch = make_batch(*payloads)
    out = np.full((2, batch.n), 9, dtype=np.uint8)
    rtcp_mask(batch, out[0])
    rtp_or_rtcp_mask(batch, out[1])
    return out[0].tolist(), out[1].tolist()


RTP = b"\x80\x08" + bytes(10)


@pytest.mark.parametrize(
    ("octets", "is_rtcp", "is_either"),
    [
        (SR, 1, 1),
        (SR[:-4], 0, 0),
        (SR + b"trailing", 1, 1),
        (BYE, 1, 1),
        (make.xr(1, METRICS), 0, 1),
        (make.packet(200, 1, bytes(24)), 0, 0),  # a count that its length contradicts
        (make.packet(203, 3, bytes(8)), 0, 0),
        (RTP, 0, 1),
        (RTP[:11], 0, 0),
        (b"\x82" + RTP[1:], 0, 0),  # two CSRCs that are not there
        (b"\x82" + RTP[1:] + bytes(8), 0, 1),
        (b"\x90" + RTP[1:] + b"\xbe\xde\0\x01" + bytes(4), 0, 1),
        (b"\x90" + RTP[1:] + b"\xbe\xde\0\x02" + bytes(4), 0, 0),
        (b"\x90" + RTP[1:] + b"\xbe\xde", 0, 0),
        (b"OPTIONS sip:a SIP/2.0\r\n", 0, 0),
        (b"", 0, 0),
    ],
)
def test_masks(octets: bytes, is_rtcp: int, is_either: int) -> None:
    assert masks(octets) == ([is_rtcp], [is_either])


def test_a_mask_of_other_types() -> None:
    batch = make_batch(SR, SDES, make.xr(1, METRICS))
    out = np.zeros(3, dtype=np.uint8)
    rtcp_mask(batch, out, 200, 202)
    assert out.tolist() == [1, 1, 0]
    rtcp_mask(batch, out, 202, 207)
    assert out.tolist() == [0, 1, 1]
    with pytest.raises(IndexError):
        rtcp_mask(batch, out[:2])


def test_a_packet_that_the_capture_cut_counts() -> None:
    batch = make_batch(SR[:40])
    out = np.zeros(1, dtype=np.uint8)
    rtcp_mask(batch, out)
    assert out.tolist() == [0]
    batch.malformed[0] = MALFORMED.index("truncated")
    rtcp_mask(batch, out)
    assert out.tolist() == [1]


def test_the_codes_of_the_pieces_are_those_of_the_extension() -> None:
    text = Path(rtcp_pieces.__file__).with_name("rtcp.pxd").read_text()
    codes = {name: int(code) for name, code in re.findall(r"^    (P_\w+) = (\d+)$", text, re.MULTILINE)}
    assert codes == {name: code for name, code in vars(rtcp_pieces).items() if name.startswith("P_")}
    assert len(codes) == len(rtcp_pieces.PIECES)


PACKETS = st.one_of(
    st.sampled_from([SR, RR, SDES, BYE, make.xr(1, METRICS), make.app(1, b"abcd", 1), b"\x80\xca\0\0"]),
    st.builds(
        lambda count, kind, words, body: struct.pack("!BBH", 0x80 | count, kind, words) + body,
        st.integers(0, 63),
        st.integers(198, 209),
        st.one_of(st.integers(0, 20), st.integers(0, 65535)),
        st.binary(max_size=80),
    ),
    st.binary(max_size=40),
)


@given(st.lists(st.lists(PACKETS, max_size=6).map(b"".join), max_size=4), st.integers(0, 10))
@settings(max_examples=400, deadline=None)
def test_random_octets(payloads: list[bytes], cut: int) -> None:
    payloads = [payload[: len(payload) - cut] for payload in payloads]
    batch = make_batch(*payloads)
    found = octets_in(rtcp_to_json(batch, np.arange(batch.n)), batch.n)
    masks(*payloads)
    for octets, payload in zip(found, payloads, strict=True):
        if octets is not None:
            assert (read_json(octets) or {})["ssrc"] <= 0xFFFFFFFF
        else:
            assert len(payload) < 8 or payload[0] >> 6 != 2 or not 192 <= payload[1] <= 223


FIELDS = {
    "rtcp.senderssrc": "ssrc",
    "rtcp.timestamp.ntp.msw": "ntp_timestamp_sec",
    "rtcp.timestamp.ntp.lsw": "ntp_timestamp_usec",
    "rtcp.timestamp.rtp": "rtp_timestamp",
    "rtcp.sender.packetcount": "packets",
    "rtcp.sender.octetcount": "octets",
    "rtcp.ssrc.fraction": "fraction_lost",
    "rtcp.ssrc.cum_nr": "packets_lost",
    "rtcp.ssrc.ext_high": "highest_seq_no",
    "rtcp.ssrc.jitter": "ia_jitter",
    "rtcp.ssrc.lsr": "lsr",
    "rtcp.ssrc.dlsr": "dlsr",
    "rtcp.sdes.text": "text",
}


@pytest.mark.peer
def test_a_recorded_stream_against_tshark() -> None:
    path = CAPTURES / "ndpi-rtcp_multiple_pkts_in_the_same_datagram.pcap"
    if not path.exists() or shutil.which("tshark") is None:
        pytest.skip("needs tshark and the shared captures")
    columns = [argument for name in FIELDS for argument in ("-e", name)]
    said = subprocess.run(
        ["tshark", "-r", str(path), "-Y", "rtcp", "-T", "fields", *columns],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    ours: list[dict[str, Any]] = []
    for batch in read_batches(path, only_sip=False):
        mask = np.zeros(batch.n, dtype=np.uint8)
        rtcp_mask(batch, mask)
        rows = np.flatnonzero(mask)
        found = octets_in(rtcp_to_json(batch, rows), batch.n)
        ours += [read_json(found[row]) or {} for row in rows]
    assert len(ours) == len(said) == 5
    for row, line in zip(ours, said, strict=True):
        theirs = dict(zip(FIELDS.values(), line.split("\t"), strict=True))
        flat = {**row, **row.get("sender_information", {}), **row["report_blocks"][0]}
        flat["text"] = ",".join(item["text"] for item in row["sdes_information"])
        for name, value in theirs.items():
            if value:
                expected = str(int(value, 16)) if value.startswith("0x") else value
                assert str(flat[name]) == expected, name


#: The fields of a VoIP metrics block that Wireshark shows as the numbers they are.
XR_FIELDS = {
    "burstdensity": "burst_density",
    "gapdensity": "gap_density",
    "burstduration": "burst_duration",
    "gapduration": "gap_duration",
    "rtdelay": "round_trip_delay",
    "esdelay": "end_system_delay",
    "signallevel": "signal_level",
    "noiselevel": "noise_level",
    "rerl": "rerl",
    "gmin": "gmin",
    "rfactor": "r_factor",
    "jbnominal": "jb_nominal",
    "jbmax": "jb_maximum",
    "jbabsmax": "jb_abs_max",
}


@pytest.mark.peer
def test_an_extended_report_against_tshark(tmp_path: Path) -> None:
    """What make_rtcp writes is what Wireshark reads, so the vectors are no private agreement."""
    if shutil.which("tshark") is None:
        pytest.skip("needs tshark")
    octets = SR + SDES + make.xr(1, METRICS) + BYE
    path = tmp_path / "xr.pcap"
    frame = ethernet(0x0800, ipv4(udp(octets, 4001, 5005)))
    path.write_bytes(make_pcap([(1_700_000_000, 0, frame, None)]))
    names = [f"rtcp.xr.voipmetrics.{name}" for name in XR_FIELDS]
    columns = [
        argument for name in (*names, "rtcp.sdes.text", "rtcp.length_check") for argument in ("-e", name)
    ]
    said = subprocess.run(
        ["tshark", "-r", str(path), "-d", "udp.port==5005,rtcp", "-T", "fields", *columns],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.rstrip("\n")
    (value,) = to_json(octets)
    assert value is not None
    *numbers, text, length_ok = said.split("\t")
    ours = [value["report_blocks_xr"][name] for name in XR_FIELDS.values()]
    assert [int(number) for number in numbers] == ours
    assert "alice@host" in text
    assert length_ok in ("1", "True")
