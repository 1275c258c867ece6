"""HEP of a real SIP proxy, held against what that proxy's own capture module stored for it.

`vectors_hep/` holds one call of each recording; the whole recordings are read where ../shared is.
"""

import struct
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from hepcat.batch.schema import NO_NODE
from hepcat.wire.hep_encode import encode_hep
from tests.support import SHARED

from .vectors_hep import RECEIVED, Record, datagrams_of, decode, records

HERE = Path(__file__).parent / "vectors_hep"
WHOLE = SHARED / "vectors"
NAMES = ("siptrace-hep1", "siptrace-hep2", "siptrace-hep3", "siptrace-hep3-corr-auth-log")
#: Which recordings are there, with how many datagrams of SIP and of log lines.
SETS = [pytest.param(HERE, name, id=f"cut-{name}") for name in NAMES] + [
    pytest.param(
        WHOLE,
        name,
        id=f"whole-{name}",
        marks=pytest.mark.skipif(not WHOLE.is_dir(), reason=f"{WHOLE} is not there"),
    )
    for name in NAMES
]


def read(path: Path) -> list[bytes]:
    """Read a recording: u32 length, datagram, and so on."""
    octets, at, datagrams = path.read_bytes(), 0, []
    while at < len(octets):
        (size,) = struct.unpack_from(">I", octets, at)
        datagrams.append(octets[at + 4 : at + 4 + size])
        at += 4 + size
    return datagrams


def unescape(text: str) -> str:
    """Undo the escapes of the database client's batch output."""
    parts = text.split("\\\\")
    return "\\".join(p.replace("\\n", "\n").replace("\\t", "\t").replace("\\0", "\0") for p in parts)


def oracle(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    names, *lines = [line.split("\t") for line in path.read_bytes().decode("latin-1").split("\n")[:-1]]
    return [dict(zip(names, map(unescape, line), strict=True)) for line in lines]


def expected(row: dict[str, str], hep_type: int, version: int) -> Record:
    """Say as a record what the proxy's module stored; what it does not store stays at its default."""
    node = row["node"].partition(":")[2]
    assert row["proto"] == "1"  # its code of UDP
    return Record(
        ts=0 if version == 1 else int(row["micro_ts"]),
        family=int(row["family"]),
        src_ip=row["source_ip"],
        src_port=int(row["source_port"]),
        dst_ip=row["destination_ip"],
        dst_port=int(row["destination_port"]),
        hep_type=hep_type,
        node_id=int(node) if node else NO_NODE,
        payload=row["msg"].encode("latin-1"),
    )


def version_of(name: str) -> int:
    return int(name[len("siptrace-hep")])


@pytest.mark.parametrize(("folder", "name"), SETS)
def test_same_as_the_proxy_stored(folder: Path, name: str) -> None:
    datagrams = read(folder / f"{name}.bin")
    rows = oracle(folder / f"{name}.rows.tsv")
    logs = oracle(folder / f"{name}.logs.tsv")
    assert len(rows) + len(logs) == len(datagrams) > 12
    batch, drops = decode(datagrams)
    assert not drops.any()
    version = version_of(name)
    if version == 1:
        assert {r.ts for r in records(batch)} == {RECEIVED}
    got = Counter(replace(r, correlation_id=None, ts=0 if version == 1 else r.ts) for r in records(batch))
    want = Counter(expected(row, 1, version) for row in rows)
    want.update(expected(row, 100, version) for row in logs)
    assert got == want


@pytest.mark.parametrize(("folder", "name"), SETS)
def test_correlation_ids(folder: Path, name: str) -> None:
    """The module stores the Call-ID where there is no chunk 0x0011; here the two are the same text."""
    stored = {
        (row["micro_ts"], row["msg"]): row["correlation_id"].encode()
        for kind in ("rows", "logs")
        for row in oracle(folder / f"{name}.{kind}.tsv")
    }
    batch, _ = decode(read(folder / f"{name}.bin"))
    with_id = [r for r in records(batch) if r.correlation_id is not None]
    for r in with_id:
        assert r.payload is not None
        assert stored[str(r.ts), r.payload.decode("latin-1")] == r.correlation_id
    assert bool(with_id) == name.endswith("log")


@pytest.mark.parametrize(("folder", "name"), SETS)
def test_decoded_encoded_decoded(folder: Path, name: str) -> None:
    datagrams = read(folder / f"{name}.bin")
    batch, _ = decode(datagrams)
    once = records(batch)
    for options in ({}, {"compress": True}, {"key": b"secret", "magic": b"EEP1"}):
        again, drops = decode(datagrams_of(encode_hep(batch, 3, **options)))
        assert not drops.any()
        assert records(again) == once


@pytest.mark.parametrize(("folder", "name"), [s for s in SETS if "-hep3" not in str(s.values[1])])
def test_encoded_to_the_same_octets(folder: Path, name: str) -> None:
    """HEP 1 and 2 leave no choice: what comes out is what the proxy sent."""
    datagrams = read(folder / f"{name}.bin")
    batch, _ = decode(datagrams)
    assert datagrams_of(encode_hep(batch, version_of(name))) == datagrams


@pytest.mark.parametrize("name", NAMES)
def test_cut_at_every_octet(name: str) -> None:
    cuts = [d[:size] for d in read(HERE / f"{name}.bin")[:4] for size in range(len(d))]
    batch, drops = decode(cuts)
    if version_of(name) == 3:
        assert batch.n == 0
    assert batch.n + drops.sum() == len(cuts)
