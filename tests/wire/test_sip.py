"""The SIP index: each vector whole and cut at every octet, what a row keeps, other rows' peace."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from hepcat.batch.layout import Batch
from hepcat.batch.schema import FIELD_INDEX, FIELDS, FLAG_FOLDED, HEP_RTCP, HEP_SIP, MALFORMED, NO_EXPIRES
from hepcat.wire.sip import BRIEF_LEAVES_OUT, index_sip, sip_mask
from tests.wire.vectors_sip import HEAD, INVITE, VECTORS, basic, message

#: A slice that no message gives: shows what index_sip does not write.
JUNK = (3, 4)
TAGS = FIELD_INDEX["tags"]  # no SIP field: the index leaves it as it is
SIP_FIELDS = FIELDS[3:TAGS]


def batch_of(messages: Sequence[bytes], extra: tuple[str, ...] = (), lead: bytes = b"") -> Batch:
    """Make a batch of SIP rows; `lead` stands before each payload in its record. All outputs are dirty."""
    octets = b"".join(lead + m for m in messages)
    batch = Batch.empty(len(messages), len(octets), extra)
    batch.buffer[:] = np.frombuffer(octets, dtype=np.uint8)
    batch.n = len(messages)
    batch.start[1:] = np.cumsum([len(lead) + len(m) for m in messages], dtype=np.int64)
    batch.hep_type[:] = HEP_SIP
    batch.fields[:, 1:] = JUNK
    batch.fields[:, 0, 0] = len(lead)
    batch.fields[:, 0, 1] = [len(m) for m in messages]
    for name in ("status", "contact_port", "expires", "flags"):
        getattr(batch, name)[:] = 77
    batch.malformed[:] = 5
    return batch


def columns(batch: Batch, row: int) -> dict[str, Any]:
    """Return what a row holds, without what is null."""
    found: dict[str, Any] = {name: batch.text(row, name) for name in (*SIP_FIELDS, *batch.extra)}
    found |= {name: int(getattr(batch, name)[row]) or None for name in ("status", "contact_port", "flags")}
    expires = int(batch.expires[row])
    found["expires"] = None if expires == NO_EXPIRES else expires
    found["malformed"] = MALFORMED[int(batch.malformed[row])]
    return {name: value for name, value in found.items() if value is not None}


def index(payload: bytes, extra: tuple[str, ...] = (), **options: Any) -> dict[str, Any]:
    """Index one message."""
    batch = batch_of([payload], extra)
    index_sip(batch, **options)
    return columns(batch, 0)


def check_slices(batch: Batch) -> None:
    """All slices lie within the record's payload."""
    lo = batch.fields[: batch.n, 0, 0].astype(int)[:, None]
    hi = lo + batch.fields[: batch.n, 0, 1].astype(int)[:, None]
    fields = np.delete(batch.fields[: batch.n], [0, 1, 2, TAGS], axis=1).astype(int)
    starts, sizes = fields[:, :, 0], fields[:, :, 1]
    inside = (starts >= lo) & (starts + sizes <= hi)
    assert bool((inside | (sizes == 0)).all())
    assert bool((starts[sizes == 0] == 0).all())


@pytest.mark.parametrize(("payload", "expected"), [v[1:] for v in VECTORS], ids=[v[0] for v in VECTORS])
def test_vector(payload: bytes, expected: dict[str, Any]) -> None:
    assert index(payload) == expected


def test_vectors_in_one_batch() -> None:
    """The same, behind other octets of the record: offsets are the record's, not the payload's."""
    batch = batch_of([payload for _, payload, _ in VECTORS], lead=b"correlation")
    index_sip(batch)
    for row, (name, _, expected) in enumerate(VECTORS):
        assert columns(batch, row) == expected, name
    assert bool((batch.fields[:, (1, 2, TAGS)] == JUNK).all())
    check_slices(batch)


def test_vectors_cut_at_every_octet() -> None:
    """A cut message gives slices within it, and none of the columns it gives is longer than in the whole."""
    for _, payload, _ in VECTORS:
        if len(payload) > 1200:
            continue
        batch = batch_of([payload[:size] for size in range(len(payload))])
        index_sip(batch)
        check_slices(batch)


def test_each_octet_replaced() -> None:
    """Octets that matter, put anywhere: no exception, slices inside."""
    for octet in b'\0\r\n\t ",:;<>@[]\\=\xff':
        batch = batch_of([INVITE[:at] + bytes([octet]) + INVITE[at + 1 :] for at in range(0, len(INVITE), 7)])
        index_sip(batch)
        check_slices(batch)


def test_extra_headers() -> None:
    payload = message("s: hello", "X-Trace: 1", "X-Trace: 2", "User-Agent: U")
    extra = ("Subject", "x-trace", "User-Agent", "Via", "Absent", "not a token")
    found = index(payload, extra)
    expected = basic(user_agent=b"U")
    expected |= {"Subject": b"hello", "x-trace": b"1", "User-Agent": b"U", "Via": HEAD[0][5:].encode()}
    assert found == expected


def test_aleg_headers_in_order() -> None:
    payload = message("X-B: b", "X-A:", "X-C: c")
    assert index(payload, aleg_headers=("X-A", "X-C", "X-B"))["call_id_aleg"] == b"c"
    assert "call_id_aleg" not in index(payload, aleg_headers=())


def test_many_extra_headers() -> None:
    """More names than slots of the hash table: they share slots, and each is still found."""
    extra = tuple(f"X-Header-{i}" for i in range(700))
    payload = message("X-Header-0: a", "X-Header-345: b", "X-Header-699: c", "X-Header-700: d")
    expected = {"X-Header-0": b"a", "X-Header-345": b"b", "X-Header-699": b"c"}
    assert index(payload, extra) == basic(**expected)


def test_other_rows_are_not_touched() -> None:
    batch = batch_of([INVITE, INVITE, INVITE])
    batch.hep_type[1] = HEP_RTCP
    index_sip(batch, first=1)
    for row in (0, 1):
        assert bool((batch.fields[row, 1:] == JUNK).all())
        assert int(batch.status[row]) == int(batch.expires[row]) == int(batch.flags[row]) == 77
    assert columns(batch, 2)["call_id"] == b"c@h"


@pytest.mark.parametrize("code", ["truncated", "oversize"])
def test_fault_of_the_capture_stays(code: str) -> None:
    batch = batch_of([message(), message(Via="")])
    batch.malformed[:] = MALFORMED.index(code)
    index_sip(batch)
    assert [MALFORMED[int(c)] for c in batch.malformed] == [code, "via_missing"]


def test_longest_record() -> None:
    payload = message(body="x" * 65535)[:65535]
    found = index(payload)
    assert len(found.pop("body")) == 65535 - len(message())
    assert found == basic()


def test_contradicting_batch_raises() -> None:
    batch = batch_of([message(), message()])
    batch.fields[0, 0, 1] += 1
    with pytest.raises(IndexError):
        index_sip(batch)
    batch = batch_of([message()])
    with pytest.raises(IndexError):
        index_sip(batch, first=2)


def test_mask() -> None:
    yes = [
        message(),
        message(start="SIP/2.0 200 OK"),
        b"sip/2.0 100 Trying\r\n",
        b"OPTIONS sip:a sip/2.0\n",
        b"\r\n\r\nOPTIONS sip:a SIP/2.0",
    ]
    no = [
        b"",
        b"\r\n\r\n",
        b"\0\0\0\0",
        b"\x80\x00" + b"SIP/2.0 200 OK",
        b"GET / HTTP/1.1\r\n\r\n",
        b"SIP/2.0200 OK",
        b"SIP/2.0",
        b"OPTIONS",
        b"OPTIONS sip:a SIP/2",
        b"OPTIONS sip:a\r\nSIP/2.0",
        b"A" * 70 + b" sip:a SIP/2.0",
    ]
    every = yes + no
    sizes = np.array([len(m) for m in every], dtype=np.uint32)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    out = np.full(len(every), 9, dtype=np.uint8)
    sip_mask(np.frombuffer(b"".join(every), dtype=np.uint8), starts, sizes, out)
    assert out.tolist() == [1] * len(yes) + [0] * len(no)
    with pytest.raises(IndexError):
        sip_mask(b"OPTIONS", np.array([1]), np.array([7]), out[:1])
    with pytest.raises(ValueError, match="one length"):
        sip_mask(b"OPTIONS", np.array([1]), np.array([6]), out)


def test_a_brief_index_leaves_out_addresses_and_nothing_else() -> None:
    """Of every vector: what the whole index has, but for BRIEF_LEAVES_OUT, expires and contact_port."""
    payloads = [payload for _, payload, _ in VECTORS]
    whole, brief = batch_of(payloads), batch_of(payloads)
    index_sip(whole)
    index_sip(brief, brief=True)
    kept = [name for name in SIP_FIELDS if name not in BRIEF_LEAVES_OUT]
    for row in range(whole.n):
        for name in kept:
            assert brief.text(row, name) == whole.text(row, name), (row, name)
        assert not any(brief.text(row, name) for name in BRIEF_LEAVES_OUT)
    assert brief.status.tolist() == whole.status.tolist()
    folded = np.uint8(255 - FLAG_FOLDED)
    assert (brief.flags & folded).tolist() == (whole.flags & folded).tolist()
    assert not brief.contact_port.any()
    left_out = [name for name in BRIEF_LEAVES_OUT if any(whole.text(row, name) for row in range(whole.n))]
    assert set(left_out) == BRIEF_LEAVES_OUT, "the vectors have every one of them"
