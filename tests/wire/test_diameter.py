"""Diameter to JSON: recorded messages against tshark, every type of AVP, every cut, random octets."""

import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepcat.wire.diameter import (
    MAX_DEPTH,
    diameter_correlation,
    diameter_mask,
    diameter_to_json,
)
from hepcat.wire.diameter_names import AVPS, VENDOR_3GPP
from tests.support import SHARED
from tests.wire.make_batch import Datagram, make_batch, octets_in, read_json


def avp(code: int, value: bytes, vendor: int = 0, flags: int = 0x40, length: int | None = None) -> bytes:
    """An AVP (RFC 6733 section 4.1), padded."""
    head = struct.pack("!I", vendor) if vendor else b""
    size = 8 + len(head) + len(value) if length is None else length
    flags |= 0x80 if vendor else 0
    return struct.pack("!IB", code, flags) + size.to_bytes(3, "big") + head + value + bytes(-len(value) % 4)


def message(
    *avps: bytes, code: int = 272, application: int = 4, flags: int = 0xC0, length: int | None = None
) -> bytes:
    """A message (RFC 6733 section 3)."""
    body = b"".join(avps)
    size = 20 + len(body) if length is None else length
    head = b"\x01" + size.to_bytes(3, "big") + bytes([flags]) + code.to_bytes(3, "big")
    return head + struct.pack("!III", application, 0x1234, 0x5678) + body


SESSION = b"host;1;2;3"


def to_json(*messages: bytes) -> list[tuple[dict[str, Any] | None, bytes | None, int]]:
    """JSON, correlation id and mask of each."""
    batch = make_batch(*(Datagram(m, src_port=3868, proto=6) for m in messages))
    rows, mask = np.arange(batch.n), np.full(batch.n, 9, dtype=np.uint8)
    diameter_mask(batch, mask)
    found = [read_json(octets) for octets in octets_in(diameter_to_json(batch, rows), batch.n)]
    ids = octets_in(diameter_correlation(batch, rows), batch.n)
    return list(zip(found, ids, mask.tolist(), strict=True))


def told(octets: bytes) -> dict[str, Any]:
    value, _, mask = to_json(octets)[0]
    assert value is not None
    assert mask == 1
    return value


def test_the_header() -> None:
    ((value, correlation, mask),) = to_json(message(avp(263, SESSION)))
    assert value == {
        "diameter_info": {
            "class": "Credit Control",
            "type": "Request",
            "command": "CC",
            "app-ID": 4,
            "command_code": 272,
            "command_name": "Credit-Control",
            "application": "Credit Control",
            "flags": "RP",
            "hop_by_hop": 0x1234,
            "end_to_end": 0x5678,
        },
        "avps": [{"code": 263, "name": "Session-Id", "flags": "M", "value": "host;1;2;3"}],
    }
    assert correlation == SESSION
    assert mask == 1


@pytest.mark.parametrize(
    ("code", "application", "expected"),
    [
        (257, 0, ["Diameter", "CE", "Capabilities-Exchange"]),
        (303, 16777216, ["3GPP", "MA", "Multimedia-Auth"]),
        (286, 6, ["SIP", "MA", "Multimedia-Auth"]),
        (999, 16777217, ["3GPP", "Unknown", "command 999"]),
        (999, 999, ["Unknown", "Unknown", "command 999"]),
    ],
)
def test_commands(code: int, application: int, expected: list[str]) -> None:
    info = told(message(code=code, application=application, flags=0x20))["diameter_info"]
    assert [info[k] for k in ("class", "command", "command_name")] == expected
    assert (info["type"], info["flags"], info["app-ID"]) == ("Answer", "E", application)


#: code, vendor, octets, value
VALUES: list[tuple[int, int, bytes, Any]] = [
    (268, 0, struct.pack("!I", 2001), 2001),
    (429, 0, struct.pack("!i", -2), -2),
    (447, 0, struct.pack("!q", -12345678901), -12345678901),
    (421, 0, struct.pack("!Q", 2**63), 2**63),
    (268, 0, b"\0\1", "0001"),  # not of its type's length
    (264, 0, "räksmörgås".encode(), "räksmörgås"),
    (264, 0, b"caf\xe9", "café"),
    (257, 0, b"\0\1\xc0\0\2\1", "192.0.2.1"),
    (257, 0, b"\0\2" + bytes(15) + b"\1", "::1"),
    (257, 0, b"\0\1\xc0", "0001c0"),
    (8, 0, b"\xc0\0\2\1", "192.0.2.1"),
    (55, 0, struct.pack("!I", 2_208_988_800 + 1_700_000_000), 1_700_000_000),
    (55, 0, struct.pack("!I", 0), 2**32 - 2_208_988_800),
    (25, 0, b"\x00\xff", "00ff"),
    (25, 0, b"text", "text"),
    (701, VENDOR_3GPP, bytes.fromhex("4971325476f8"), "94172345678"),
    (601, VENDOR_3GPP, b"sip:alice@example.com", "sip:alice@example.com"),
    (601, 1, b"\x01", "01"),
]


@pytest.mark.parametrize(("code", "vendor", "octets", "value"), VALUES)
def test_values(code: int, vendor: int, octets: bytes, value: Any) -> None:
    (found,) = told(message(avp(code, octets, vendor)))["avps"]
    assert found["value"] == value
    assert found.get("vendor", 0) == vendor
    assert found["flags"] == ("VM" if vendor else "M")


def test_a_password_is_not_told() -> None:
    (found,) = told(message(avp(2, b"secret")))["avps"]
    assert "value" not in found


def test_grouped_avps() -> None:
    unit = avp(437, avp(413, avp(445, avp(447, struct.pack("!q", 2))) + avp(425, struct.pack("!I", 356))))
    found = told(message(avp(263, SESSION), unit))["avps"][1]
    assert found["name"] == "Requested-Service-Unit"
    money = found["value"][0]
    assert [a["name"] for a in money["value"]] == ["Unit-Value", "Currency-Code"]
    assert money["value"][0]["value"][0]["value"] == 2


def test_nesting_is_bounded() -> None:
    inner = avp(268, b"\0\0\7\xd1")
    for _ in range(100):
        inner = avp(279, inner)
    (value,) = told(message(inner))["avps"]
    depth = 0
    while isinstance(value["value"], list):
        (value,) = value["value"]
        depth += 1
    assert depth == MAX_DEPTH


@pytest.mark.parametrize("cut", range(20, 50))
def test_cuts(cut: int) -> None:
    whole = message(avp(268, b"\0\0\7\xd1"), avp(263, SESSION))
    value, correlation, mask = to_json(whole[:cut])[0]
    assert value is not None
    assert mask == 0
    assert value["truncated"] is True
    assert correlation is None


@pytest.mark.parametrize(
    ("octets", "mask", "is_told"),
    [
        (b"", 0, False),
        (message()[:19], 0, False),
        (message(length=19), 0, False),
        (message(length=24), 0, True),
        (b"\x02" + message()[1:], 0, False),
        (message(flags=0xC1), 0, True),
        (message(flags=0xA0), 0, True),
        (message() + b"next", 1, True),
    ],
)
def test_what_is_diameter(octets: bytes, mask: int, is_told: bool) -> None:
    ((value, _, found),) = to_json(octets)
    assert found == mask
    assert (value is not None) == is_told


def test_long_session_ids_are_no_correlation_ids() -> None:
    ((value, correlation, _),) = to_json(message(avp(263, b"x" * 5000)))
    assert value is not None
    assert correlation is None


def test_the_longest_messages_stay_within_their_bound() -> None:
    many = told(message(*[avp(268, b"\0\0\7\xd1")] * 5000))
    assert many["truncated"] is True
    assert 500 < len(many["avps"]) <= 2000
    long = told(message(*[avp(25, b"\xff" * 5000)] * 12))
    assert long["truncated"] is True
    assert len(long["avps"]) == 3
    one = to_json(message(avp(25, b"\xff" * 60000)))[0][0]
    assert one is not None
    assert one["avps"] == []


AVP = st.one_of(
    st.builds(
        avp,
        st.one_of(st.sampled_from([code for _, code in AVPS]), st.integers(0, 2**32 - 1)),
        st.binary(max_size=40),
        st.sampled_from([0, VENDOR_3GPP, 7]),
        st.integers(0, 127),
        st.one_of(st.none(), st.integers(0, 60)),
    ),
    st.binary(max_size=30),
)


@given(
    st.lists(
        st.one_of(st.lists(AVP, max_size=5).map(lambda a: message(*a)), st.binary(max_size=60)), max_size=4
    )
)
@settings(max_examples=300, deadline=None)
def test_random_octets(messages: list[bytes]) -> None:
    to_json(*messages)


def recorded() -> list[bytes]:
    """The TCP payloads of the recorded messages, one a segment (Ethernet, IPv4, TCP)."""
    file = (SHARED / "captures" / "ndpi-diameter.pcap").read_bytes()
    at, out = 24, []
    while at < len(file):
        size = struct.unpack_from("<I", file, at + 8)[0]
        ip = file[at + 16 + 14 : at + 16 + size]
        tcp = ip[(ip[0] & 15) * 4 : struct.unpack_from("!H", ip, 2)[0]]
        out.append(tcp[(tcp[12] >> 4) * 4 :])
        at += 16 + size
    return out


def flatten(avps: list[dict[str, Any]]) -> dict[str, list[str]]:
    out: dict[str, list[str]] = {}
    for item in avps:
        if isinstance(item["value"], list):
            for name, values in flatten(item["value"]).items():
                out.setdefault(name, []).extend(values)
        else:
            out.setdefault(item["name"], []).append(str(item["value"]))
    return out


@pytest.mark.peer
def test_recorded_messages_against_tshark() -> None:
    path = SHARED / "captures" / "ndpi-diameter.pcap"
    if not path.exists() or shutil.which("tshark") is None:
        pytest.skip("needs tshark and the shared captures")
    names = ["Session-Id", "Origin-Host", "Origin-Realm", "Destination-Realm", "Auth-Application-Id"]
    names += ["CC-Request-Type", "CC-Request-Number", "Subscription-Id-Data", "Currency-Code", "Result-Code"]
    names += ["Value-Digits", "Service-Context-Id", "Service-Identifier"]
    heads = ["cmd.code", "applicationId", "hopbyhopid", "endtoendid"]
    columns = [argument for name in heads + names for argument in ("-e", f"diameter.{name}")]
    said = subprocess.run(
        ["tshark", "-r", str(path), "-T", "fields", "-E", "aggregator=|", *columns],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    found = to_json(*recorded())
    assert len(found) == len(said) == 6
    seen = set()
    for (value, correlation, mask), line in zip(found, said, strict=True):
        assert value is not None
        assert mask == 1
        assert "truncated" not in value
        theirs = line.split("\t")
        info = value["diameter_info"]
        ours = [info["command_code"], info["app-ID"], info["hop_by_hop"], info["end_to_end"]]
        assert [int(text, 0) for text in theirs[:4]] == ours
        flat = flatten(value["avps"])
        for name, text in zip(names, theirs[4:], strict=True):
            assert flat.get(name, []) == [t for t in text.split("|") if t], name
            seen |= {name} if text else set()
        assert correlation == flat["Session-Id"][0].encode()
    assert len(seen) >= 8


def test_names_and_types_against_the_dictionary_of_tshark() -> None:
    """Where Wireshark's dictionary knows an AVP of ours, it calls and types it the same."""
    folder = Path("/usr/share/wireshark/diameter")
    if not folder.exists():
        pytest.skip("needs the dictionary of Wireshark")
    kinds = {"Unsigned32": "u", "Unsigned64": "q", "Integer32": "i", "Integer64": "l", "Enumerated": "i"}
    kinds |= {
        "OctetString": "O",
        "Time": "T",
        "IPAddress": "AO",
        "Float32": "F",
        "AppId": "u",
        "VendorId": "u",
    }
    kinds |= {
        "UTF8String": "U",
        "DiameterIdentity": "U",
        "DiameterURI": "U",
        "IPFilterRule": "U",
        "Address": "A",
    }
    compared, differs = 0, set()
    for file in folder.glob("*.xml"):
        text = "\n".join(line for line in file.read_text().split("\n") if "&" not in line or "&amp;" in line)
        try:
            root = ElementTree.fromstring(text)
        except ElementTree.ParseError:
            continue
        for node in root.iter("avp"):
            vendor = {"": 0, "None": 0, "TGPP": VENDOR_3GPP}.get(node.get("vendor-id", ""))
            ours = None if vendor is None else AVPS.get((vendor, int(node.get("code", "0"))))
            if ours is None:
                continue
            compared += 1
            kind = node.find("type")
            theirs = "G" if kind is None else kinds.get(kind.get("type-name", ""), "?")
            if node.get("name") != ours[0] or ours[1] not in theirs:
                differs.add((vendor, node.get("name")))
    assert compared > 150
    # Wireshark takes Unsigned32 with named values for Enumerated, and has names of its own.
    assert differs == {
        (0, "Accounting-Multi-Session-Id"),
        (0, "Result-Code"),
        (0, "Session-Binding"),
        (0, "Authorization-Lifetime"),
        (0, "Experimental-Result-Code"),
        (0, "Inband-Security-Id"),
        (VENDOR_3GPP, "3GPP-SIP-Method"),
        (VENDOR_3GPP, "User-Session-ID"),
        (VENDOR_3GPP, "Charging-Rule-Name"),
    }
