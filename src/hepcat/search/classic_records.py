"""Rows of the classic tables as records of the lake: the message's octets are indexed again.

In: rows of `COLUMNS` as a driver gives them. Out: Arrow tables with the lake's columns. What can go wrong:
nothing that stands in a table; what is no address, number or text becomes what the lake shows for none.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, Final

import numpy as np
import pyarrow as pa

from hepcat.batch.layout import Array, Batch
from hepcat.batch.schema import (
    FAMILY_IPV4,
    FAMILY_IPV6,
    FIELD_INDEX,
    HEP_LOG,
    HEP_RTCP,
    HEP_SIP,
    MAX_RECORD,
    NO_NODE,
)
from hepcat.stores.lake.arrow import arrow_schema, to_arrow
from hepcat.wire.sip import index_sip

#: What is read of a row, in this order.
COLUMNS: Final[tuple[str, ...]] = (
    "micro_ts", "source_ip", "source_port", "destination_ip", "destination_port", "proto", "node",
    "correlation_id", "msg",
)  # fmt: skip
#: `proto` -> IP protocol: siptrace sends TLS as protocol 22.
_IP_PROTO: Final = {1: 17, 2: 6, 3: 22, 4: 132}
#: Table -> HEP type of its records. Of `other` the classic table does not say it; it is shown as none.
_HEP_TYPE: Final = {"sip": HEP_SIP, "rtcp": HEP_RTCP, "log": HEP_LOG, "other": 0}
_PAYLOAD, _CORRELATION, _NODE = (FIELD_INDEX[n] for n in ("payload", "correlation_id", "node_name"))
_NO_ADDRESS: Final = (0, bytes(16))


def records_of(rows: Sequence[Sequence[Any]], table: str) -> pa.Table:
    """Return rows as records, in their order."""
    if not rows:
        return arrow_schema(table).empty_table()
    at, src, sport, dst, dport, proto, node, correlation, msg = zip(*rows, strict=True)
    nodes = [node_of(octets_of(value)) for value in node]
    sides = [octets_of(value) for value in correlation], [name for name, _ in nodes]
    batch = _batch([octets_of(value) for value in msg], *sides)
    batch.ts[:] = [_whole(value, -(2**63), 2**63 - 1) for value in at]
    batch.ip_proto[:] = [_IP_PROTO.get(_whole(value, 0, 255), 0) for value in proto]
    batch.src_port[:] = [_whole(value, 0, 65_535) for value in sport]
    batch.dst_port[:] = [_whole(value, 0, 65_535) for value in dport]
    batch.node_id[:] = [number for _, number in nodes]
    batch.hep_type[:] = _HEP_TYPE[table]
    _addresses(batch, src, dst)
    index_sip(batch)
    found = pa.Table.from_batches([to_arrow(batch, table, np.arange(batch.n, dtype=np.int64))])
    if table == "other":
        place = found.schema.get_field_index("hep_type")
        found = found.set_column(place, found.schema.field(place), pa.nulls(len(found), pa.uint8()))
    return found.cast(arrow_schema(table))


def _batch(payloads: list[bytes], correlations: list[bytes], names: list[bytes]) -> Batch:
    """Make a batch whose records are a payload, a correlation id and a node's name each."""
    n = len(payloads)
    correlations = [value[:4096] for value in correlations]
    names = [value[:4096] for value in names]
    payloads = [
        payload[: MAX_RECORD - len(correlation) - len(name)]
        for payload, correlation, name in zip(payloads, correlations, names, strict=True)
    ]
    lengths = [_lengths(values) for values in (payloads, correlations, names)]
    octets = b"".join(chain.from_iterable(zip(payloads, correlations, names, strict=True)))
    batch = Batch.empty(n, len(octets))
    batch.buffer[:] = np.frombuffer(octets, dtype=np.uint8)
    np.cumsum(sum(lengths), out=batch.start[1:])
    batch.n = n
    offset = np.zeros(n, dtype=np.int64)
    for field, length in zip((_PAYLOAD, _CORRELATION, _NODE), lengths, strict=True):
        batch.fields[:, field, 0] = np.where(length > 0, offset, 0)
        batch.fields[:, field, 1] = length
        offset = offset + length
    return batch


def _lengths(values: Iterable[bytes]) -> Array:
    return np.fromiter(map(len, values), dtype=np.int64)


def _addresses(batch: Batch, src: Sequence[Any], dst: Sequence[Any]) -> None:
    """Fill both addresses. A record has one family: IPv6 where one of its addresses is IPv6."""
    known: dict[Any, tuple[int, bytes]] = {}
    for text in chain(src, dst):
        if text not in known:
            known[text] = _address(text)
    sources, targets = [known[text] for text in src], [known[text] for text in dst]
    batch.src_ip[:] = np.frombuffer(b"".join(o for _, o in sources), np.uint8).reshape(-1, 16)
    batch.dst_ip[:] = np.frombuffer(b"".join(o for _, o in targets), np.uint8).reshape(-1, 16)
    batch.family[:] = [max(a, b) for (a, _), (b, _) in zip(sources, targets, strict=True)]


def _address(value: Any) -> tuple[int, bytes]:
    """Return (family, 16 octets) of an address as text; family 0 where it is none."""
    text = octets_of(value).decode("latin-1").strip("[] ")
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return _NO_ADDRESS
    if isinstance(parsed, ipaddress.IPv4Address):
        return FAMILY_IPV4, bytes(10) + b"\xff\xff" + parsed.packed
    return FAMILY_IPV6, parsed.packed


def node_of(node: bytes) -> tuple[bytes, int]:
    """Return (name, agent id) of NAME:ID; NO_NODE where there is no id."""
    name, colon, digits = node.rpartition(b":")
    if colon and digits.isdigit() and int(digits) < NO_NODE:
        return name, int(digits)
    return node, NO_NODE


def octets_of(value: Any) -> bytes:
    """Return a value as octets, whatever the driver makes of it."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    return b"" if value is None else bytes(value)


def _whole(value: Any, low: int, high: int) -> int:
    """Return a whole number within bounds, 0 where it is none."""
    try:
        return min(max(int(value), low), high)
    except (TypeError, ValueError, OverflowError):
        return 0
