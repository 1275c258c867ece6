"""Octets of a HEP stream (TCP, TLS) in, the bounds of its messages out. No I/O, no state.

In: the octets of one connection that have come and are not done with. Out: offset and length of each
complete HEP3 or EEP1 message, for decode_hep. What can go wrong: octets that belong to no message
are skipped and counted in runs under Drop.STREAM_GARBAGE; HEP 1 and 2 have no length, so that a
stream of them is garbage throughout.

A message begins where all of this holds, so far as the octets have come; the rule is the same after
a message and after garbage, so that the way a stream was cut into segments changes nothing:
- the magic, "HEP3" or "EEP1";
- a total length of 6 (no chunk), or of 12 and more (room for a chunk header);
- in the second case a first chunk whose length is at least 6 and does not pass the total length.
What is wrong further inside is the decoder's to count.
"""

from typing import Any

import cython
import numpy as np

from hepcat.batch.drops import Drop

#: The longest message, and so the most that a connection's buffer has to hold.
MAX_MESSAGE = 65_535

#: What _candidate answers beside a total length.
NO = cython.declare(cython.int, 0)  # no message begins here
MORE = cython.declare(cython.int, 1)  # one may begin here; more octets will tell


def _candidate(data: Any, pos: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.int:
    """Tell what begins at pos: the total length of a message, NO, or MORE."""
    left: cython.Py_ssize_t = end - pos
    hep: cython.bint = data[pos] == 0x48  # "H" of HEP3
    if not hep and data[pos] != 0x45:  # "E" of EEP1
        return NO
    if left > 1 and data[pos + 1] != 0x45:  # "E"
        return NO
    if left > 2 and data[pos + 2] != 0x50:  # "P"
        return NO
    if left > 3 and data[pos + 3] != (0x33 if hep else 0x31):  # "3" or "1"
        return NO
    if left < 6:
        return MORE
    total: cython.int = (data[pos + 4] << 8) | data[pos + 5]
    if total == 6:
        return total
    if total < 12:
        return NO
    if left < 12:
        return MORE
    chunk: cython.int = (data[pos + 10] << 8) | data[pos + 11]
    if chunk < 6 or chunk > total - 6:
        return NO
    return total


def _next(data: Any, pos: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.Py_ssize_t:
    """Find the first place from pos on where a message begins or may begin; end where there is none."""
    while pos < end:
        if (data[pos] == 0x48 or data[pos] == 0x45) and _candidate(data, pos, end) != NO:
            return pos
        pos += 1
    return end


class Framer:
    """One pass over a stretch of a stream."""

    def __init__(self, data: Any, offsets: Any, lengths: Any) -> None:
        self.data = data
        self.offsets = offsets
        self.lengths = lengths
        self.garbage = 0
        self.consumed = 0

    def run(self, start: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Frame data[start:end]; return the number of messages, set `consumed` and `garbage`."""
        count: cython.Py_ssize_t = 0
        room: cython.Py_ssize_t = min(len(self.offsets), len(self.lengths))
        pos: cython.Py_ssize_t = start
        total: cython.int
        with cython.nogil:
            while pos < end:
                total = _candidate(self.data, pos, end)
                if total == NO:
                    self.garbage += 1
                    pos = _next(self.data, pos + 1, end)
                    continue
                if total == MORE or total > end - pos or count >= room:
                    break
                self.offsets[count] = pos
                self.lengths[count] = total
                count += 1
                pos += total
        self.consumed = pos - start
        return count


def frame_hep(data: Any, start: int, end: int, offsets: Any, lengths: Any, counts: Any) -> tuple[int, int]:
    """Find the complete HEP3 messages in data[start:end]; return (count, consumed).

    data: uint8 buffer of a connection. offsets: int64; lengths: int64 or int32; filled with
    `count` messages, at most as many as the shorter of them has room for (call again with
    start + consumed to get the rest). counts: int64 indexed by Drop; STREAM_GARBAGE grows by one for each
    run of octets that belong to no message (a run that is seen in several calls counts in each).

    consumed: octets from start that are done with. What is left is the beginning of a message, at
    most 65,534 octets unless the room ran out; of garbage at most 3 octets are left, so that a stream of
    nothing else does not pile up.

    Raises IndexError where start and end do not lie within data: a bug of the caller.
    """
    octets = memoryview(data)
    if not 0 <= start <= end <= len(octets):
        raise IndexError("frame_hep: start and end must lie within data")
    wide: Any = lengths if lengths.dtype == np.int64 else np.empty(len(lengths), dtype=np.int64)
    framer = Framer(octets, memoryview(offsets), memoryview(wide))
    count = int(framer.run(start, end))
    if wide is not lengths:
        lengths[:count] = wide[:count]
    counts[Drop.STREAM_GARBAGE] += framer.garbage
    return count, int(framer.consumed)
