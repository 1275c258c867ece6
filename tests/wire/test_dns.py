"""DNS to JSON: each type, every cut, loops of pointers, recorded messages against tshark, random octets."""

import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepcat.sources.pcap_file import read_batches
from hepcat.wire.dns import MAX_JUMPS, MAX_RECORDS, TYPES, dns_mask, dns_to_json
from tests.support import SHARED
from tests.wire.make_batch import Datagram, make_batch, octets_in, read_json
from tests.wire.make_capture import ethernet, ipv4, make_pcap, udp

SHORT = b"\xc0\x0c"  # a pointer to the first question


def name(text: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in text.split(".") if label) + b"\0"


def string(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


def question(text: str, kind: int = 1, of: int = 1) -> bytes:
    return name(text) + struct.pack("!HH", kind, of)


def record(
    kind: int, data: bytes, owner: bytes = SHORT, of: int = 1, ttl: int = 60, size: int | None = None
) -> bytes:
    return owner + struct.pack("!HHIH", kind, of, ttl, len(data) if size is None else size) + data


def message(
    *parts: bytes, counts: tuple[int, int, int, int] = (1, 0, 0, 0), flags: int = 0x0100, number: int = 77
) -> bytes:
    return struct.pack("!6H", number, flags, *counts) + b"".join(parts)


def to_json(*messages: bytes, port: int = 53) -> list[tuple[dict[str, Any] | None, int]]:
    batch = make_batch(*(Datagram(m, dst_port=port) for m in messages))
    mask = np.full(batch.n, 9, dtype=np.uint8)
    dns_mask(batch, mask)
    found = octets_in(dns_to_json(batch, np.arange(batch.n)), batch.n)
    return [(read_json(octets), m) for octets, m in zip(found, mask.tolist(), strict=True)]


def told(octets: bytes) -> dict[str, Any]:
    value, _ = to_json(octets)[0]
    assert value is not None
    return value


def test_a_query() -> None:
    query = message(question("_sip._udp.example.com", 33))
    assert to_json(query) == [
        (
            {
                "id": 77,
                "type": "query",
                "opcode": 0,
                "opcode_name": "QUERY",
                "rcode": 0,
                "rcode_name": "NOERROR",
                "flags": ["rd"],
                "questions": [{"name": "_sip._udp.example.com", "type": "SRV", "class": "IN"}],
            },
            1,
        )
    ]


#: type, data, what is told of it
DATA: list[tuple[int, bytes, dict[str, Any]]] = [
    (1, bytes([192, 0, 2, 1]), {"data": "192.0.2.1"}),
    (1, bytes([192, 0, 2]), {"data": "c00002"}),
    (28, bytes(15) + b"\1", {"data": "::1"}),
    (5, SHORT, {"data": "example.com"}),
    (5, b"\x03www" + SHORT, {"data": "www.example.com"}),
    (2, name(""), {"data": "."}),
    (15, struct.pack("!H", 10) + name("mx.example.net"), {"data": "10 mx.example.net"}),
    (16, string("v=spf1 -all") + string('a "b"'), {"data": '"v=spf1 -all" "a \\"b\\""'}),
    (16, b"\x05abc", {"data": "05616263"}),
    (
        33,
        struct.pack("!HHH", 10, 20, 5060) + name("sip1.example.com"),
        {
            "data": "10 20 5060 sip1.example.com",
            "srv": {"priority": 10, "weight": 20, "port": 5060, "target": "sip1.example.com"},
        },
    ),
    (33, struct.pack("!HH", 10, 20), {"data": "000a0014"}),
    (
        35,
        struct.pack("!HH", 100, 10) + string("u") + string("E2U+sip") + string("!^.*$!sip:a@b!") + name(""),
        {
            "data": '100 10 "u" "E2U+sip" "!^.*$!sip:a@b!" .',
            "naptr": {
                "order": 100,
                "preference": 10,
                "flags": "u",
                "service": "E2U+sip",
                "regexp": "!^.*$!sip:a@b!",
                "replacement": ".",
            },
        },
    ),
    (
        6,
        name("ns.example.com") + name("root.example.com") + struct.pack("!5I", 1, 2, 3, 4, 5),
        {"data": "ns.example.com root.example.com 1 2 3 4 5"},
    ),
    (65280, b"\1\2", {"data": "0102"}),
]


@pytest.mark.parametrize(("kind", "data", "expected"), DATA)
def test_data(kind: int, data: bytes, expected: dict[str, Any]) -> None:
    octets = message(question("example.com"), record(kind, data), counts=(1, 1, 0, 0), flags=0x8180)
    value = told(octets)
    assert value["flags"] == ["rd", "ra"]
    assert "truncated" not in value
    head = {"name": "example.com", "type": TYPES.get(kind, f"TYPE{kind}"), "class": "IN", "ttl": 60}
    assert value["answers"] == [{**head, **expected}]


def test_sections_and_opt() -> None:
    octets = message(
        *(question("a.example"), record(2, name("n1")), record(1, bytes(4))),
        record(41, b"\0\x0a\0\0", b"\0", 4096, 0x00008000),
        counts=(1, 0, 1, 2),
        flags=0x8403,
    )
    value = told(octets)
    assert (value["rcode_name"], value["flags"], "answers" in value) == ("NXDOMAIN", ["aa"], False)
    assert value["authorities"][0]["data"] == "n1"
    assert value["additionals"][1] == {
        "name": ".",
        "type": "OPT",
        "udp_size": 4096,
        "version": 0,
        "do": True,
        "data": "000a0000",
    }


@pytest.mark.parametrize(
    "octets",
    [
        b"\xc0\x0c",  # to itself
        b"\xc0\x20",  # forwards
        b"\x01a\xc0\x0c",  # over a label back to itself
        b"\x40",  # a label of 64 octets
        b"\x3f" + b"a" * 62,
        (b"\x3f" + b"a" * 63) * 4 + b"\0",  # 256 octets
        b"\xc0",
        b"",
    ],
)
def test_bad_names(octets: bytes) -> None:
    value = told(message(octets + b"\0\1\0\1"[: 4 if len(octets) > 2 else 0]))
    assert value["truncated"] is True
    assert value["questions"] == []


@pytest.mark.parametrize("jumps", [1, 2, 60, 64, 65, 80])
def test_a_chain_of_pointers(jumps: int) -> None:
    """A record's data holds pointers, each to the one before it; the next record's owner is the last one."""
    begin = 12 + len(question("a")) + len(record(99, b""))
    targets = [12, *range(begin, begin + 2 * (jumps - 1), 2)]
    chain = b"".join(struct.pack("!H", 0xC000 | target) for target in targets)
    octets = message(
        *(question("a"), record(65280, chain[:-2]), record(1, bytes(4), owner=chain[-2:])),
        counts=(1, 2, 0, 0),
    )
    value = told(octets)
    assert value.get("truncated", False) == (jumps > MAX_JUMPS)
    assert [r["name"] for r in value["answers"]] == (["a", "a"] if jumps <= MAX_JUMPS else ["a"])


def test_names_are_escaped() -> None:
    octets = message(b"\x05a.b\\ " + b"\x02\xc3\xa9" + b"\0" + struct.pack("!HH", 1, 1))
    assert told(octets)["questions"][0]["name"] == "a\\.b\\\\\\032.é"


@pytest.mark.parametrize("cut", range(60))
def test_cuts(cut: int) -> None:
    whole = message(
        question("example.com"), record(1, bytes(4)), record(1, bytes(4)), counts=(1, 2, 0, 0), flags=0x8180
    )
    value, mask = to_json(whole[:cut])[0]
    assert len(whole) == 61
    if cut < 12:
        assert (value, mask) == (None, 0)
    else:
        assert value is not None
        assert value["truncated"] is True
        assert cut > 38 or mask == 0


def test_masks() -> None:
    good = message(question("example.com"))
    assert [m for _, m in to_json(good, good[:11], b"", message(counts=(0, 0, 0, 0)))] == [1, 0, 0, 0]
    assert to_json(good, port=5300)[0][1] == 0
    assert to_json(message(question("a"), flags=0x7800))[0] == (None, 0)
    assert to_json(message(question("a"), counts=(1, 9, 0, 0)))[0][1] == 0
    batch = make_batch(Datagram(good, src_port=5353))
    mask = np.zeros(1, dtype=np.uint8)
    dns_mask(batch, mask, (53, 5353))
    assert mask.tolist() == [1]


def test_the_largest_messages_stay_within_their_bound() -> None:
    many = told(message(question("a"), record(1, bytes(4)) * 4000, counts=(1, 4000, 0, 0)))
    assert many["truncated"] is True
    assert 200 < len(many["answers"]) <= MAX_RECORDS
    long = told(message(question("a"), record(16, b"\xff" + b"\x80" * 255) * 200, counts=(1, 200, 0, 0)))
    assert len(long["answers"]) >= 50
    one = told(message(question("a"), record(65280, bytes(60000)), counts=(1, 1, 0, 0)))
    assert one["answers"] == []


@given(
    st.lists(
        st.one_of(
            st.builds(
                lambda parts, counts, flags: message(*parts, counts=counts, flags=flags),
                st.lists(
                    st.one_of(
                        st.binary(max_size=30),
                        st.sampled_from([question("a.b"), SHORT, b"\xc0\x0e\0\1\0\1"]),
                        st.builds(record, st.sampled_from(list(TYPES)), st.binary(max_size=30)),
                    ),
                    max_size=5,
                ),
                st.tuples(*[st.integers(0, 4)] * 4),
                st.integers(0, 65535),
            ),
            st.binary(max_size=60),
        ),
        max_size=4,
    )
)
@settings(max_examples=300, deadline=None)
def test_random_octets(messages: list[bytes]) -> None:
    to_json(*messages)


@pytest.mark.peer
def test_recorded_messages_against_tshark() -> None:
    path = SHARED / "captures" / "zeek-ipv6-fragmented-dns.pcap"
    if not path.exists() or shutil.which("tshark") is None:
        pytest.skip("needs tshark and the shared captures")
    fields = [
        "dns.id",
        "dns.flags.response",
        "dns.qry.name",
        "dns.count.answers",
        "dns.flags.rcode",
        "dns.txt",
    ]
    columns = [argument for field in fields for argument in ("-e", field)]
    said = subprocess.run(
        ["tshark", "-r", str(path), "-Y", "dns", "-T", "fields", "-E", "aggregator=|", *columns],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    theirs = list({tuple(line.split("\t")) for line in said})
    queries = responses = 0
    for batch in read_batches(path, only_sip=False):
        mask = np.zeros(batch.n, dtype=np.uint8)
        dns_mask(batch, mask)
        for octets in octets_in(dns_to_json(batch, np.flatnonzero(mask)), batch.n):
            value = read_json(octets)
            if value is None:
                continue
            (line,) = [t for t in theirs if (int(t[0], 0), t[1]) == (value["id"], str(KINDS[value["type"]]))]
            assert "truncated" not in value
            assert value["questions"][0]["name"] == line[2]
            assert len(value.get("answers", [])) == int(line[3])
            queries += value["type"] == "query"
            if value["type"] == "response":
                responses += 1
                assert value["rcode"] == int(line[4])
                assert value["answers"][0]["data"][1:-1].replace('" "', "") == line[5].replace("|", "")
    assert queries >= 1
    assert responses >= 1


KINDS = {"query": 0, "response": 1}


@pytest.mark.peer
def test_routing_records_against_tshark(tmp_path: Path) -> None:
    """SRV and NAPTR as the tests write them are what Wireshark reads."""
    if shutil.which("tshark") is None:
        pytest.skip("needs tshark")
    data = {kind: octets for kind, octets, told_of in DATA if "srv" in told_of or "naptr" in told_of}
    octets = message(
        question("example.com", 255),
        *(record(kind, value) for kind, value in data.items()),
        counts=(1, 2, 0, 0),
        flags=0x8180,
    )
    path = tmp_path / "dns.pcap"
    path.write_bytes(make_pcap([(1_700_000_000, 0, ethernet(0x0800, ipv4(udp(octets, 53, 40000))), None)]))
    names = ["srv.priority", "srv.weight", "srv.port", "srv.target"]
    names += ["naptr.order", "naptr.preference", "naptr.flags", "naptr.service", "naptr.regex"]
    columns = [argument for name in names for argument in ("-e", f"dns.{name}")]
    said = subprocess.run(
        ["tshark", "-r", str(path), "-T", "fields", *columns], capture_output=True, text=True, check=True
    ).stdout.strip()
    srv, naptr = (told(octets)["answers"][i] for i in (0, 1))
    ours = [*srv["srv"].values(), *list(naptr["naptr"].values())[:5]]
    assert said.split("\t") == [str(v) for v in ours]
