"""What decoding HEP3 and indexing SIP cost: an INVITE of 630 octets, every column, one core."""

import statistics
import struct
import time
from typing import Final

import numpy as np
import numpy.typing as npt

from hepcat.batch.drops import Drop
from hepcat.batch.layout import Batch
from hepcat.bench.measure import Context, Row
from hepcat.bench.traffic import Traffic
from hepcat.wire.hep import decode_hep
from hepcat.wire.sip import index_sip

NAME = "HEP3 decode and SIP index"

_BATCH: Final = 1024
#: Best figure that a peer publishes for the same work.
_PEER: Final = 1.7

_HEAD: Final = (
    "INVITE sip:+493012345678@sip.example.com SIP/2.0\r\n"
    "Via: SIP/2.0/UDP 10.20.30.40:5060;branch=z9hG4bK%s;rport\r\n"
    "Max-Forwards: 70\r\n"
    'From: "Alice" <sip:alice@sip.example.com>;tag=%s\r\n'
    "To: <sip:+493012345678@sip.example.com>\r\n"
    "Call-ID: %s@10.20.30.40\r\n"
    "CSeq: 102 INVITE\r\n"
    "Contact: <sip:alice@10.20.30.40:5060>\r\n"
    "User-Agent: Deskline T46/108.86.0.20\r\n"
    "Content-Type: application/sdp\r\n"
    "Content-Length: %d\r\n\r\n"
)
_SDP: Final = (
    "v=0\r\no=- 1817849785 1817849785 IN IP4 10.20.30.40\r\ns=-\r\nc=IN IP4 10.20.30.40\r\nt=0 0\r\n"
    "m=audio 24576 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\n"
)


def invite(i: int) -> bytes:
    """Return an INVITE of exactly 630 octets with an identity of its own."""
    mark = f"{(i * 0x9E3779B97F4A7C15) % 2**64:016x}"
    length = 630 - len(_HEAD % (mark, mark[:8], mark, 100))
    body = _SDP[:length].ljust(length, " ")
    return (_HEAD % (mark, mark[:8], mark, len(body)) + body).encode()


def _hep3(payload: bytes) -> bytes:
    """Wrap it as an agent does."""
    chunks = [(1, b"\x02"), (2, b"\x11"), (3, bytes((10, 0, 0, 1))), (4, bytes((10, 0, 0, 2)))]
    chunks += [(7, b"\x13\xc4"), (8, b"\x13\xc4"), (9, struct.pack("!I", 1_750_000_000))]
    chunks += [(10, struct.pack("!I", 123_456)), (11, b"\x01"), (12, struct.pack("!I", 2001)), (15, payload)]
    body = b"".join(struct.pack("!HHH", 0, number, len(value) + 6) + value for number, value in chunks)
    return b"HEP3" + struct.pack("!H", len(body) + 6) + body


def _time(data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], seconds: float) -> list[float]:
    """Decode and index the same batch again and again; return microseconds a message, each time."""
    count = len(offsets) - 1
    sizes = np.diff(offsets).astype(np.int32)
    batch = Batch.empty(count, len(data) + 64 * count)
    drops = np.zeros(len(Drop), dtype=np.int64)
    spent: list[float] = []
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline or len(spent) < 5:
        batch.n = 0
        begin = time.perf_counter()
        decode_hep(data, offsets[:-1], sizes, count, 1_750_000_000_000_000, batch, drops)
        index_sip(batch, 0)
        spent.append((time.perf_counter() - begin) / count * 1e6)
    if batch.n != count or batch.malformed[:count].any() or drops.any():
        raise RuntimeError("the measured messages were not read well")
    return spent


def measure(context: Context) -> list[Row]:
    """Batches of 1,024, the fastest and the median of many."""
    seconds = 1.0 if context.quick else 5.0
    datagrams = [_hep3(invite(i)) for i in range(_BATCH)]
    offsets = np.concatenate([[0], np.cumsum([len(d) for d in datagrams])]).astype(np.int64)
    same = _time(np.frombuffer(b"".join(datagrams), dtype=np.uint8).copy(), offsets, seconds)
    block = Traffic().block(1_750_000_000_000_000 + np.arange(_BATCH) * 100)
    mixed = _time(block.buffer, block.offsets, seconds)
    best, median = min(same), statistics.median(same)
    return [
        Row(
            "HEP3 decode + SIP index, every column, INVITE of 630 octets, one core, bounds checks on",
            f"{best:.2f} us a message (median {median:.2f})",
            "at most 1.0 us",
            f"{_PEER / best:.1f} times as fast as the best published by a peer ({_PEER} us)",
            best <= 1.0,
            best,
            {"median": median, "repeats": len(same)},
        ),
        Row(
            "the same on the generator's mix",
            f"{min(mixed):.2f} us a message (median {statistics.median(mixed):.2f})",
            value=min(mixed),
        ),
    ]
