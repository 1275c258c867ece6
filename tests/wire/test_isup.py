"""ISUP to JSON: a recorded call against tshark, each carrier, every cut, random octets."""

import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepcat.wire.isup import isup_mask, isup_to_json
from hepcat.wire.isup_names import MESSAGES
from hepcat.wire.m3ua import read_mtp3
from tests.support import SHARED
from tests.wire.make_batch import Datagram, make_batch, octets_in, read_json
from tests.wire.make_capture import ethernet, ipv4, make_pcap


def parameter(tag: int, value: bytes) -> bytes:
    """A parameter of M2UA or M3UA, padded."""
    return struct.pack("!HH", tag, 4 + len(value)) + value + bytes(-len(value) % 4)


def common(major: int, minor: int, body: bytes) -> bytes:
    """The common header of the user adaptation layers."""
    return struct.pack("!BBBBI", 1, 0, major, minor, 8 + len(body)) + body


def label(opc: int, dpc: int, sls: int, si: int = 5, ni: int = 2) -> bytes:
    """Service information octet and routing label of ITU-T Q.704."""
    return bytes([ni << 6 | si]) + struct.pack("<I", sls << 28 | opc << 14 | dpc)


def m3ua(isup: bytes, opc: int = 11522, dpc: int = 12163, si: int = 5, extra: bytes = b"") -> bytes:
    """M3UA DATA with a routing context before it."""
    data = struct.pack("!IIBBBB", opc, dpc, si, 3, 0, 5) + isup
    return common(1, 1, extra + parameter(0x0006, b"\0\0\0\1") + parameter(0x0210, data))


def m2pa(isup: bytes) -> bytes:
    """M2PA user data: two sequence numbers of 24 bits, then the priority octet."""
    return common(11, 1, struct.pack("!II", 1, 2) + b"\0" + label(11522, 12163, 5, ni=3) + isup)


#: The six messages of a recorded call (tcpdump-isup), from the circuit code on, and what they say.
CIC = b"\xd5\0"
CALLING = b"\x0a\x07\x03\x17\x93\x33\x93\x79\x80"
CALLED = b"\x05\x81\x90\x84\x19\x0f"
IAM = CIC + b"\x01\x00\xa0\x01\x0a\x02\x02\x07" + CALLED + CALLING + b"\x1d\x03\x88\x90\xa6\x3d\x01\x1f\0"
REL = CIC + b"\x0c\x02\x00\x02\x80\x90"
RLC = CIC + b"\x10\x00"


def to_json(*messages: bytes) -> list[tuple[dict[str, Any] | None, bytes | None]]:
    batch = make_batch(*(Datagram(m, src_port=2905, dst_port=2905, proto=132) for m in messages))
    rows = np.arange(batch.n)
    payload, correlation = isup_to_json(batch, rows, True)
    assert correlation is not None
    assert isup_to_json(batch, rows, False)[1] is None
    found = [read_json(octets) for octets in octets_in(payload, batch.n)]
    mask = np.full(batch.n, 9, dtype=np.uint8)
    isup_mask(batch, mask)
    ids = octets_in(correlation, batch.n)
    assert [f is not None for f in found] == [i is not None for i in ids]
    assert all(m for m, f in zip(mask.tolist(), found, strict=True) if f is not None)
    return list(zip(found, ids, strict=True))


def told(message: bytes) -> dict[str, Any]:
    value = to_json(message)[0][0]
    assert value is not None
    return value


CARRIERS = {
    "m3ua": m3ua,
    "m3ua draft": lambda isup: common(1, 1, parameter(2, label(11522, 12163, 5, ni=3) + isup)),
    "m2ua": lambda isup: common(
        6, 1, parameter(1, b"\0\0\0\1") + parameter(0x300, label(11522, 12163, 5, ni=3) + isup)
    ),
    "m2pa": m2pa,
}


@pytest.mark.parametrize("carrier", CARRIERS)
def test_carriers(carrier: str) -> None:
    ((value, correlation),) = to_json(CARRIERS[carrier](IAM))
    assert correlation == b"11522:12163:213"
    assert value is not None
    assert [value[k] for k in ("opc", "dpc", "si", "ni", "sls", "cic")] == [11522, 12163, 5, 3, 5, 213]


def test_both_directions_have_one_correlation_id() -> None:
    there, back = to_json(m3ua(IAM), m3ua(RLC, opc=12163, dpc=11522))
    assert there[1] == back[1] == b"11522:12163:213"


def test_an_initial_address_message() -> None:
    value = told(m3ua(IAM))
    assert list(value)[:3] == ["cic", "msg_type", "msg_name"]
    assert (value["msg_type"], value["msg_name"]) == (1, "IAM")
    assert value["nature_of_connnection"]["satellite_name"] == "no satellite circuit in the connection"
    forward = value["forward_call"]
    assert [forward[k] for k in ("isup", "isup_preference", "isdn_access", "sccp_method")] == [1, 2, 1, 0]
    assert forward["isup_preference_name"] == "ISDN user part required all the way"
    assert value["calling_party"] == {"num": 10, "name": "ordinary calling subscriber"}
    assert value["transmission_medium"] == {"num": 2, "name": "64 kbit/s unrestricted"}
    assert value["called_number"]["num"] == "4891F"
    assert (value["called_number"]["inn"], value["called_number"]["ton"]) == (1, 1)
    calling = value["calling_number"]
    assert (calling["num"], calling["restrict"], calling["screened"]) == ("3933399708", 1, 3)
    assert calling["screened_name"] == "network provided"
    assert value["user_information"]["layer1_protocol_name"] == "H.223 and H.245"
    assert value["hop_counter"] == 31


def test_a_release() -> None:
    cause = told(m3ua(REL))["cause"]
    assert cause["itu_cause_num"] == 16
    assert cause["itu_cause_name"] == "Normal call clearing"
    assert (cause["standard_name"], cause["location_num"]) == ("ITU-T", 0)


def test_what_has_no_form_of_its_own_is_told_in_digits() -> None:
    value = told(m3ua(CIC + b"\x06\x16\x14\x01\xf4\x02\xab\xcd\x31\x02\0\x64\x0a\x01\x03\0"))
    assert value["backward_call"]["called_party_status_name"] == "subscriber free"
    assert value["parameters"] == [
        {"type": 244, "name": "parameter 244", "hex": "abcd"},
        {"type": 49, "name": "propagation_delay_counter", "hex": "0064"},
        {"type": 10, "name": "calling_number", "hex": "03"},  # too short for a number
    ]
    assert told(m3ua(CIC + b"\xfe\x01\x02"))["msg_name"] == "Unknown"


@pytest.mark.parametrize("cut", range(len(IAM)))
def test_cuts(cut: int) -> None:
    value = to_json(m3ua(IAM[:cut]))[0][0]
    if cut < 3:
        assert value is None
    else:
        assert value is not None
        assert value["truncated"] is True


@pytest.mark.parametrize(
    "message",
    [
        b"",
        m3ua(IAM)[:-1],
        m3ua(IAM, si=3),
        b"\x02" + m3ua(IAM)[1:],
        common(1, 1, parameter(6, b"\0\0\0\1")),
        common(1, 1, struct.pack("!HH", 0x0210, 3)),
        common(1, 1, struct.pack("!HH", 0x0210, 400) + IAM),
        common(3, 1, b""),
        common(11, 2, IAM),
        m2pa(b""),
    ],
)
def test_what_is_none(message: bytes) -> None:
    assert to_json(message) == [(None, None)]


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=60).map(m3ua),
            st.builds(
                lambda kind, body: m3ua(CIC + bytes([kind]) + body),
                st.sampled_from(sorted(MESSAGES)),
                st.binary(max_size=200),
            ),
            st.binary(max_size=60).map(m2pa),
            st.binary(max_size=40).map(lambda body: common(1, 1, body)),
            st.binary(max_size=40),
        ),
        max_size=5,
    )
)
@settings(max_examples=300, deadline=None)
def test_random_octets(messages: list[bytes]) -> None:
    to_json(*messages)


def test_the_longest_message_stays_within_its_bound() -> None:
    value = told(m3ua(RLC[:3] + b"\x01" + b"\xf4\0" * 31000 + b"\0"))
    assert value["truncated"] is True
    assert len(value["parameters"]) > 500


FIELDS = {
    "isup.cic": "cic",
    "isup.message_type": "msg_type",
    "mtp3.opc": "opc",
    "mtp3.dpc": "dpc",
    "mtp3.sls": "sls",
    "mtp3.network_indicator": "ni",
    "isup.called": "called",
    "isup.calling": "calling",
    "q931.cause_value": "cause",
    "isup.calling_partys_category": "category",
    "isup.transmission_medium_requirement": "medium",
}


def recorded() -> list[bytes]:
    """The payloads of a recorded call's DATA chunks (Ethernet, IPv4, SCTP, one chunk a packet)."""
    file = (SHARED / "captures" / "tcpdump-isup.pcap").read_bytes()
    order = "<" if file[:4] == b"\xd4\xc3\xb2\xa1" else ">"
    at, out = 24, []
    while at < len(file):
        size = struct.unpack_from(order + "I", file, at + 8)[0]
        chunk = file[at + 16 + 14 + 20 + 12 : at + 16 + size]
        out.append(chunk[16 : struct.unpack_from("!H", chunk, 2)[0]])
        at += 16 + size
    return out


@pytest.mark.peer
def test_a_recorded_call_against_tshark() -> None:
    path = SHARED / "captures" / "tcpdump-isup.pcap"
    if not path.exists() or shutil.which("tshark") is None:
        pytest.skip("needs tshark and the shared captures")
    columns = [argument for name in FIELDS for argument in ("-e", name)]
    said = subprocess.run(
        ["tshark", "-r", str(path), "-o", "m3ua.version:draft-6", "-T", "fields", *columns],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    found = to_json(*recorded())
    assert len(found) == len(said) == 6
    assert {correlation for _, correlation in found} == {b"11522:12163:213"}
    for (value, _), line in zip(found, said, strict=True):
        assert value is not None
        assert "truncated" not in value
        flat = {
            **value,
            "called": value.get("called_number", {}).get("num"),
            "calling": value.get("calling_number", {}).get("num"),
            "cause": value.get("cause", {}).get("itu_cause_num"),
            "category": value.get("calling_party", {}).get("num"),
            "medium": value.get("transmission_medium", {}).get("num"),
        }
        for name, text in zip(FIELDS.values(), line.split("\t"), strict=True):
            if text:
                assert str(flat[name]) == str(int(text, 16) if text.startswith("0x") else text), name


def test_a_message_without_a_carrier() -> None:
    assert read_mtp3(IAM) is None


@pytest.mark.peer
@pytest.mark.parametrize(("carrier", "identifier"), [("m3ua", 3), ("m2ua", 2), ("m2pa", 5)])
def test_carriers_against_tshark(carrier: str, identifier: int, tmp_path: Path) -> None:
    """What the tests write as M3UA, M2UA and M2PA is what Wireshark reads."""
    if shutil.which("tshark") is None:
        pytest.skip("needs tshark")
    octets = CARRIERS[carrier](IAM)
    data = struct.pack("!BBHIHHI", 0, 3, 16 + len(octets), 1, 0, 0, identifier) + octets
    sctp = struct.pack("!HHII", 2905, 2905, 1, 0) + data + bytes(-len(data) % 4)
    path = tmp_path / "isup.pcap"
    path.write_bytes(make_pcap([(1_700_000_000, 0, ethernet(0x0800, ipv4(sctp, protocol=132)), None)]))
    opc, dpc = (f"{'m3ua.protocol_data' if carrier == 'm3ua' else 'mtp3'}_{end}" for end in ("opc", "dpc"))
    names = [
        opc.replace("mtp3_", "mtp3."),
        dpc.replace("mtp3_", "mtp3."),
        "isup.cic",
        "isup.called",
        "isup.calling",
    ]
    columns = [argument for name in names for argument in ("-e", name)]
    said = subprocess.run(
        ["tshark", "-r", str(path), "-T", "fields", *columns], capture_output=True, text=True, check=True
    ).stdout.strip()
    value = told(octets)
    ours = [
        value["opc"],
        value["dpc"],
        value["cic"],
        value["called_number"]["num"],
        value["calling_number"]["num"],
    ]
    assert said.split("\t") == [str(v) for v in ours]
