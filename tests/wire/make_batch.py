"""Make batches for tests out of payloads, SIP indexed where it is SIP; read what comes out of them."""

import ipaddress
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from hepcat.batch.edits import Patch
from hepcat.batch.layout import Batch
from hepcat.batch.schema import FIELD_INDEX, HEP_SIP
from hepcat.wire.json_text import MAX_JSON
from hepcat.wire.sip import index_sip, sip_mask


@dataclass(frozen=True)
class Datagram:
    """One payload and where it goes from and to; hep_type is found out where it is None."""

    payload: bytes
    src: str = "192.0.2.1"
    src_port: int = 5060
    dst: str = "198.51.100.2"
    dst_port: int = 5060
    proto: int = 17
    ts: int = 0


def octets_of(address: str) -> bytes:
    """An address as 16 octets, IPv4 mapped."""
    ip = ipaddress.ip_address(address)
    return bytes(10) + b"\xff\xff" + ip.packed if ip.version == 4 else ip.packed


def make_batch(*datagrams: Datagram | bytes, before: int = 3) -> Batch:
    """A batch of these; `before` octets of other data stand in front of the first."""
    rows = [d if isinstance(d, Datagram) else Datagram(d) for d in datagrams]
    batch = Batch.empty(len(rows), before + sum(len(r.payload) for r in rows) + 16)
    batch.buffer[:] = 0xEE
    at = before
    batch.start[0] = at
    for i, row in enumerate(rows):
        batch.buffer[at : at + len(row.payload)] = np.frombuffer(row.payload, dtype=np.uint8)
        at += len(row.payload)
        batch.start[i + 1] = at
        batch.ts[i], batch.ip_proto[i] = row.ts, row.proto
        batch.family[i] = 10 if ":" in row.src else 2
        batch.src_ip[i] = np.frombuffer(octets_of(row.src), dtype=np.uint8)
        batch.dst_ip[i] = np.frombuffer(octets_of(row.dst), dtype=np.uint8)
        batch.src_port[i], batch.dst_port[i] = row.src_port, row.dst_port
        batch.fields[i, FIELD_INDEX["payload"], 1] = len(row.payload)
    mask = np.zeros(len(rows), dtype=np.uint8)
    if rows:
        sip_mask(batch.buffer, batch.start[:-1], np.diff(batch.start), mask)
    batch.hep_type[:] = mask * np.uint8(HEP_SIP)
    batch.n = len(rows)
    index_sip(batch, 0)
    return batch


def octets_in(patch: Patch, rows: int) -> list[bytes | None]:
    """What a patch says of each row; None where it says nothing. Checks that its slices lie within it."""
    assert len(patch.offset) == len(patch.length) == rows
    out: list[bytes | None] = []
    for offset, length in zip(patch.offset.tolist(), patch.length.tolist(), strict=True):
        assert offset == -1 or (offset >= 0 and length >= 0 and offset + length <= len(patch.data))
        out.append(None if offset < 0 else patch.data[offset : offset + length].tobytes())
    return out


def read_json(octets: bytes | None) -> dict[str, Any] | None:
    """Read a JSON object strictly: UTF-8, no key twice, within the bound. None for None."""

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(items)) == len(items), items
        return dict(items)

    if octets is None:
        return None
    assert len(octets) <= MAX_JSON
    value = json.loads(octets.decode("utf-8"), object_pairs_hook=pairs)
    assert isinstance(value, dict)
    return value
