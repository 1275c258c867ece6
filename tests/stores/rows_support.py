"""What the tests of rows share: batches out of recordings and messages, and rows read back."""

from pathlib import Path
from typing import Any

import numpy as np

from hepcat.batch.layout import Array, Batch
from hepcat.batch.schema import FIELD_COUNT, FIELD_INDEX
from hepcat.config.databases import DatabaseSettings
from hepcat.stores.classic.schema import extra_headers
from hepcat.wire.sip import index_sip
from tests.wire.make_batch import Datagram, make_batch
from tests.wire.test_hep_recorded import decode, read


def database(**values: Any) -> DatabaseSettings:
    """Settings of a database that nobody connects to."""
    return DatabaseSettings(**({"name": "test", "url": "sqlite:///nowhere.db"} | values))


SETTINGS = database()
HEADERS = extra_headers(SETTINGS)


def with_headers(batch: Batch, names: tuple[str, ...] = HEADERS) -> Batch:
    """The same batch, indexed again with extra headers."""
    fields = np.zeros((batch.capacity, FIELD_COUNT + len(names), 2), dtype=np.uint16)
    fields[:, :FIELD_COUNT] = batch.fields[:, :FIELD_COUNT]
    batch.fields, batch.extra = fields, names
    index_sip(batch, 0)
    return batch


def recorded(path: Path) -> Batch:
    """A recording of HEP as the server would index it."""
    batch, drops = decode(read(path))
    assert not drops.any()
    return with_headers(batch)


def messages(*payloads: Datagram | bytes) -> Batch:
    """A batch of SIP messages, whatever they look like, with the extra headers of the classic table."""
    batch = make_batch(*payloads)
    batch.hep_type[:] = 1
    return with_headers(batch)


def every(batch: Batch) -> Array:
    return np.arange(batch.n)


def call(first: bytes = b"INVITE sip:bob@example.org SIP/2.0", **headers: bytes) -> bytes:
    """A message with these headers in front of the usual ones; `_` in a name is `-`."""
    usual = {
        "Via": b"SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1",
        "From": b"<sip:alice@example.com>;tag=1",
        "To": b"<sip:bob@example.org>",
        "Call-ID": b"a@example.com",
        "CSeq": b"1 " + (b"INVITE" if first.startswith(b"SIP/") else first.partition(b" ")[0]),
    }
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [first, *(name.encode() + b": " + value for name, value in (given | _less(usual, given)).items())]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _less(usual: dict[str, bytes], given: dict[str, bytes]) -> dict[str, bytes]:
    return {name: value for name, value in usual.items() if name not in given}


_LETTERS = {ord("t"): 9, ord("n"): 10, ord("r"): 13, ord("0"): 0}


def unescape(value: bytes) -> bytes | None:
    r"""Read a value as LOAD DATA and COPY do; None for \N."""
    if value == rb"\N":
        return None
    out, i = bytearray(), 0
    while i < len(value):
        if value[i] == 0x5C:
            i += 1
            out.append(_LETTERS.get(value[i], value[i]))
        else:
            out.append(value[i])
        i += 1
    return bytes(out)


def read_rows(octets: bytes) -> list[list[bytes | None]]:
    """Read the octets of LOAD DATA or COPY, as simply as can be."""
    if not octets:
        return []
    assert octets.endswith(b"\n")
    return [[unescape(value) for value in line.split(b"\t")] for line in octets[:-1].split(b"\n")]


def octets_at(batch: Batch, row: int, name: str) -> bytes:
    """One slice, as it stands, empty where there is none."""
    index = FIELD_INDEX[name] if name in FIELD_INDEX else FIELD_COUNT + batch.extra.index(name)
    at, size = (int(v) for v in batch.fields[row, index])
    base = int(batch.start[row]) + at
    return batch.buffer[base : base + size].tobytes()
