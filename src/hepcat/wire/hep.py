"""HEP 1, 2 and 3 (EEP) datagrams in, records of a batch out. No I/O, no clock, no log.

In: a buffer of datagrams, or of messages that hep_stream framed, by offset and length. Out: rows
appended to a Batch. What can go wrong: every datagram that is not appended adds one to `drops`
under the reason that it failed by; hostile octets can do nothing else. An IndexError is a bug of ours.

Choices that the format leaves open:
- The total length of HEP3 governs: octets behind it are ignored, fewer are Drop.HEP_LENGTH.
- A chunk that is repeated: the last one counts; 0x000f and 0x0010 count as the same chunk here.
- Only vendor 0 is read; a chunk of another vendor, or of an unknown type, is skipped by its length.
- A chunk of fixed size that we read must have that size (Drop.HEP_CHUNK). Those that have no column
  (MAC, keep-alive, MOS, jitter and their like) are skipped whatever their size.
- Addresses of both families, or not of the family that chunk 0x0001 names, are Drop.HEP_FAMILY.
- Without 0x0009 the time of reception stands in; without 0x0002 the protocol is 0 (unknown), without
  0x000b the type is 0 (reserved), without 0x0007 or 0x0008 the port is 0.
- HEP2's seconds, microseconds and id are in the sender's byte order: that order is taken in which
  the microseconds are below a million, and where both are, the one nearer to the time of reception.
- The header length of HEP 1 and 2 must fit version and family; HEP2 may leave out its time part
  there (16 for 28, as real senders do; also 16 or 40 for 52).
"""

import zlib
from typing import Any

import cython
import numpy as np

from hepcat.batch.drops import Drop
from hepcat.batch.layout import Batch
from hepcat.batch.schema import FIELD_INDEX, MAX_RECORD
from hepcat.wire.hep_keys import AuthKeys

__all__ = ["AuthKeys", "Decoder", "copy_octets", "decode_hep", "view"]

HEP_SHORT = cython.declare(cython.int, int(Drop.HEP_SHORT))
HEP_MAGIC = cython.declare(cython.int, int(Drop.HEP_MAGIC))
HEP_LENGTH = cython.declare(cython.int, int(Drop.HEP_LENGTH))
HEP_CHUNK = cython.declare(cython.int, int(Drop.HEP_CHUNK))
HEP_FAMILY = cython.declare(cython.int, int(Drop.HEP_FAMILY))
HEP_MISSING = cython.declare(cython.int, int(Drop.HEP_MISSING))
HEP_PAYLOAD = cython.declare(cython.int, int(Drop.HEP_PAYLOAD))
HEP_INFLATE = cython.declare(cython.int, int(Drop.HEP_INFLATE))
HEP_INFLATE_BOUND = cython.declare(cython.int, int(Drop.HEP_INFLATE_BOUND))
AUTH = cython.declare(cython.int, int(Drop.AUTH))
OVERSIZE = cython.declare(cython.int, int(Drop.OVERSIZE))

#: What the parsers return beside drop reasons.
OK = cython.declare(cython.int, 1000)  # the message is in the batch, or ready to be appended
FULL = cython.declare(cython.int, 1001)  # no room: the caller takes the batch first

LONGEST = cython.declare(cython.Py_ssize_t, MAX_RECORD)
TAGS = cython.declare(cython.Py_ssize_t, FIELD_INDEX["tags"])

#: IPv4-mapped IPv6 prefix, RFC 4291 section 2.5.5.2.
MAPPED_PREFIX = np.array([0] * 10 + [0xFF, 0xFF] + [0] * 4, dtype=np.uint8)

#: Columns that decode_hep leaves without a value, and that value (an earlier use may have left others).
_UNSET = (
    ("status", 0),
    ("contact_port", 0),
    ("expires", 0xFFFFFFFF),
    ("malformed", 0),
    ("flags", 0),
)


def view(array: Any) -> memoryview:
    """Give an array as a memoryview: uncompiled, its items are then Python ints, which cannot wrap."""
    return memoryview(array)


def copy_octets(
    dst: Any, d: cython.Py_ssize_t, src: Any, s: cython.Py_ssize_t, n: cython.Py_ssize_t
) -> cython.int:
    """Copy src[s:s+n] to dst[d:d+n]; the one place of unchecked access, so it checks both ranges."""
    if n <= 0:
        return 0
    if d < 0 or s < 0 or n > len(dst) - d or n > len(src) - s:
        with cython.gil:
            raise IndexError("copy_octets: out of range")
    if cython.compiled:
        # hep.pxd imports memcpy
        memcpy(cython.address(dst[d]), cython.address(src[s]), n)  # type: ignore[name-defined]  # noqa: F821
    else:
        dst[d : d + n] = src[s : s + n]
    return 0


class Decoder:
    """One run over a buffer of datagrams. The parse functions return OK, FULL or a drop reason."""

    def __init__(
        self,
        data: Any,
        offsets: Any,
        lengths: Any,
        received: int,
        batch: Batch,
        drops: Any,
        keys: AuthKeys | None,
        inflate_bound: int,
    ) -> None:
        self.data = data
        self.offsets = offsets
        self.lengths = lengths
        self.received = received
        self.key_count = -1  # no check
        self.inflate_bound = inflate_bound
        self.name_octets = memoryview(b"")
        if keys is not None:
            self.key_octets = view(keys.key_octets)
            self.key_starts = view(keys.key_starts)
            self.name_octets = view(keys.name_octets)
            self.name_starts = view(keys.name_starts)
            self.key_count = len(keys)
        self.buffer = view(batch.buffer)
        self.start = view(batch.start)
        self.ts = view(batch.ts)
        self.family = view(batch.family)
        self.ip_proto = view(batch.ip_proto)
        self.src_ip = view(batch.src_ip).cast("B")
        self.dst_ip = view(batch.dst_ip).cast("B")
        self.src_port = view(batch.src_port)
        self.dst_port = view(batch.dst_port)
        self.vlan = view(batch.vlan)
        self.hep_type = view(batch.hep_type)
        self.node_id = view(batch.node_id)
        self.fields = view(batch.fields).cast("B").cast("H")
        self.drops = view(drops)
        self.capacity = batch.capacity
        self.slots = batch.fields.shape[1] * 2
        self.row = batch.n
        self.inflated = memoryview(b"")

    def _be16(self, pos: cython.Py_ssize_t) -> cython.int:
        return (self.data[pos] << 8) | self.data[pos + 1]

    def _be32(self, pos: cython.Py_ssize_t) -> int:
        high: cython.longlong = self._be16(pos)
        return (high << 16) | self._be16(pos + 2)  # type: ignore[no-any-return]

    def _le32(self, pos: cython.Py_ssize_t) -> int:
        high: cython.longlong = (self.data[pos + 3] << 8) | self.data[pos + 2]
        return (high << 16) | (self.data[pos + 1] << 8) | self.data[pos]  # type: ignore[no-any-return]

    def _reset(self) -> None:
        """Forget the message before; -1 stands for a chunk that has not come."""
        self.compressed = False
        self.key_at = self.agent = self.payload_at = -1
        self.key_len = self.payload_len = self.corr_len = self.name_len = self.tags_len = 0
        self.corr_at = self.name_at = self.tags_at = 0
        self.msg_family = self.src4_at = self.dst4_at = self.src6_at = self.dst6_at = -1
        self.msg_proto = self.msg_src_port = self.msg_dst_port = self.msg_type = 0
        self.msg_vlan = 0xFFFF
        self.msg_node = 0xFFFFFFFF
        self.msg_sec = -1
        self.msg_usec = 0

    def _parse(self, pos: cython.Py_ssize_t, length: cython.Py_ssize_t) -> cython.int:
        """Read one datagram into this object's scratch fields."""
        self._reset()
        if length == 0:
            return HEP_SHORT
        first: cython.int = self.data[pos]
        if first == 1 or first == 2:
            return self._parse_hep12(pos, length)
        if length < 4:
            return HEP_SHORT
        magic: cython.longlong = self._be32(pos)
        if magic == 0x48455033 or magic == 0x45455031:  # "HEP3", "EEP1"
            return self._parse_hep3(pos, length)
        return HEP_MAGIC

    def _parse_hep12(self, pos: cython.Py_ssize_t, length: cython.Py_ssize_t) -> cython.int:
        if length < 8:
            return HEP_SHORT
        version: cython.int = self.data[pos]
        said: cython.int = self.data[pos + 1]
        family: cython.int = self.data[pos + 2]
        if said != 16 and said != 28 and said != 40 and said != 52:
            return HEP_MAGIC  # no sender writes this: not a HEP header
        if family != 2 and family != 10:
            return HEP_FAMILY
        size: cython.int = 4 if family == 2 else 16
        header: cython.int = 8 + 2 * size  # without time
        if said != header and not (version == 2 and (said == header + 12 or said == 16)):
            return HEP_LENGTH
        if version == 2:
            header += 12
        if length < header:
            return HEP_SHORT
        self.msg_family = family
        self.msg_proto = self.data[pos + 3]
        self.msg_src_port = self._be16(pos + 4)
        self.msg_dst_port = self._be16(pos + 6)
        if family == 2:
            self.src4_at = pos + 8
            self.dst4_at = pos + 8 + size
        else:
            self.src6_at = pos + 8
            self.dst6_at = pos + 8 + size
        if version == 2:
            self._parse_hep2_time(pos + header - 12)
        self.msg_type = 1  # SIP; these versions carry nothing else
        self.payload_at = pos + header
        self.payload_len = length - header
        return OK

    def _parse_hep2_time(self, pos: cython.Py_ssize_t) -> cython.int:
        """Seconds, microseconds and id, in the byte order that makes sense (see the module's text)."""
        big_sec: cython.longlong = self._be32(pos)
        big_usec: cython.longlong = self._be32(pos + 4)
        little_sec: cython.longlong = self._le32(pos)
        little_usec: cython.longlong = self._le32(pos + 4)
        little: cython.bint = little_usec < 1_000_000
        if little == (big_usec < 1_000_000):
            now: cython.longlong = self.received // 1_000_000
            off_big: cython.longlong = big_sec - now if big_sec > now else now - big_sec
            off_little: cython.longlong = little_sec - now if little_sec > now else now - little_sec
            little = off_little <= off_big  # alike: little, which is what is out there
        if little:
            self.msg_sec = little_sec
            self.msg_usec = little_usec
            self.msg_node = (self.data[pos + 9] << 8) | self.data[pos + 8]
        else:
            self.msg_sec = big_sec
            self.msg_usec = big_usec
            self.msg_node = self._be16(pos + 8)
        return 0

    def _parse_hep3(self, pos: cython.Py_ssize_t, length: cython.Py_ssize_t) -> cython.int:
        if length < 6:
            return HEP_SHORT
        total: cython.int = self._be16(pos + 4)
        if total < 6 or total > length:
            return HEP_LENGTH
        end: cython.Py_ssize_t = pos + total
        size: cython.int
        status: cython.int
        pos += 6
        while pos < end:
            if end - pos < 6:
                return HEP_CHUNK
            size = self._be16(pos + 4)
            if size < 6 or size > end - pos:
                return HEP_CHUNK
            if self.data[pos] == 0 and self.data[pos + 1] == 0:  # vendor 0: the generic chunks
                status = self._chunk(self._be16(pos + 2), pos + 6, size - 6)
                if status != OK:
                    return status
            pos += size
        return OK

    def _chunk(self, kind: cython.int, pos: cython.Py_ssize_t, n: cython.Py_ssize_t) -> cython.int:
        """Take one generic chunk of n octets at pos."""
        if kind == 0x000F:  # captured payload
            self.payload_at = pos
            self.payload_len = n
            self.compressed = False
        elif kind == 0x0010:  # captured payload, compressed
            self.payload_at = pos
            self.payload_len = n
            self.compressed = True
        elif kind == 0x0011:  # internal correlation id
            self.corr_at = pos
            self.corr_len = n
        elif kind == 0x0013:  # node name
            self.name_at = pos
            self.name_len = n
        elif kind == 0x000E:  # authentication key
            self.key_at = pos
            self.key_len = n
        elif kind == 0x0001 or kind == 0x0002 or kind == 0x000B:
            if n != 1:
                return HEP_CHUNK
            if kind == 0x0001:  # IP family
                self.msg_family = self.data[pos]
            elif kind == 0x0002:  # IP protocol
                self.msg_proto = self.data[pos]
            else:  # protocol type
                self.msg_type = self.data[pos]
        elif kind == 0x0007 or kind == 0x0008 or kind == 0x0012:
            if n != 2:
                return HEP_CHUNK
            if kind == 0x0007:  # source port
                self.msg_src_port = self._be16(pos)
            elif kind == 0x0008:  # destination port
                self.msg_dst_port = self._be16(pos)
            else:  # VLAN id
                self.msg_vlan = self._be16(pos)
        elif kind == 0x0003 or kind == 0x0004:
            if n != 4:
                return HEP_CHUNK
            if kind == 0x0003:  # IPv4 source
                self.src4_at = pos
            else:  # IPv4 destination
                self.dst4_at = pos
        elif kind == 0x0009 or kind == 0x000A or kind == 0x000C:
            if n != 4:
                return HEP_CHUNK
            if kind == 0x0009:  # seconds
                self.msg_sec = self._be32(pos)
            elif kind == 0x000A:  # microseconds
                self.msg_usec = self._be32(pos)
            else:  # capture agent id
                self.msg_node = self._be32(pos)
        elif kind == 0x0005 or kind == 0x0006:
            if n != 16:
                return HEP_CHUNK
            if kind == 0x0005:  # IPv6 source
                self.src6_at = pos
            else:  # IPv6 destination
                self.dst6_at = pos
        elif kind == 0x0026:  # tags' values
            self.tags_at = pos
            self.tags_len = n
        return OK

    def _check_addresses(self) -> cython.int:
        """Family, source and destination must be there and agree."""
        has4: cython.bint = self.src4_at >= 0 or self.dst4_at >= 0
        has6: cython.bint = self.src6_at >= 0 or self.dst6_at >= 0
        if self.msg_family < 0:
            return HEP_MISSING
        if self.msg_family == 2:
            if has6:
                return HEP_FAMILY
            return OK if self.src4_at >= 0 and self.dst4_at >= 0 else HEP_MISSING
        if self.msg_family == 10:
            if has4:
                return HEP_FAMILY
            return OK if self.src6_at >= 0 and self.dst6_at >= 0 else HEP_MISSING
        return HEP_FAMILY

    def _match_key(self) -> cython.int:
        """Compare with every key of the same length, to the last octet; set `agent` to the match."""
        if self.key_at < 0:
            return AUTH
        i: cython.Py_ssize_t
        j: cython.Py_ssize_t
        at: cython.Py_ssize_t
        differ: cython.int
        for i in range(self.key_count):
            at = self.key_starts[i]
            if self.key_starts[i + 1] - at != self.key_len:
                continue
            differ = 0
            for j in range(self.key_len):
                differ |= self.key_octets[at + j] ^ self.data[self.key_at + j]
            if differ == 0:
                self.agent = i
        return OK if self.agent >= 0 else AUTH

    def _inflate(self) -> cython.int:
        """Inflate the payload (zlib or gzip) into `inflated`, at most inflate_bound octets of it."""
        packed = bytes(self.data[self.payload_at : self.payload_at + self.payload_len])
        inflater = zlib.decompressobj(wbits=47)  # 32 + 15: zlib or gzip, told apart by the header
        try:
            plain = inflater.decompress(packed, self.inflate_bound + 1)
        except zlib.error:
            return HEP_INFLATE
        if len(plain) > self.inflate_bound:
            return HEP_INFLATE_BOUND
        if not inflater.eof:
            return HEP_INFLATE
        self.inflated = memoryview(plain)
        self.payload_at = 0
        self.payload_len = len(plain)
        return OK

    def _append(self) -> cython.int:
        """Write the message to the next row, unless it or the batch has no room for it."""
        if self.payload_len == 0:
            return HEP_PAYLOAD
        own_name: cython.bint = self.name_len > 0
        if not own_name and self.agent >= 0:
            self.name_at = self.name_starts[self.agent]
            self.name_len = self.name_starts[self.agent + 1] - self.name_at
        size: cython.Py_ssize_t = self.payload_len + self.corr_len + self.name_len + self.tags_len
        if size > LONGEST or size > len(self.buffer):  # would not even fit into an empty batch
            return OVERSIZE
        row: cython.Py_ssize_t = self.row
        base: cython.Py_ssize_t = self.start[row]
        if size > len(self.buffer) - base:
            return FULL
        at: cython.Py_ssize_t = base
        if self.compressed:
            copy_octets(self.buffer, at, self.inflated, self.payload_at, self.payload_len)
        else:
            copy_octets(self.buffer, at, self.data, self.payload_at, self.payload_len)
        at += self.payload_len
        copy_octets(self.buffer, at, self.data, self.corr_at, self.corr_len)
        at += self.corr_len
        if own_name:
            copy_octets(self.buffer, at, self.data, self.name_at, self.name_len)
        else:
            copy_octets(self.buffer, at, self.name_octets, self.name_at, self.name_len)
        at += self.name_len
        slot: cython.Py_ssize_t = row * self.slots
        self.fields[slot] = 0
        self.fields[slot + 1] = self.payload_len
        # A slice without a value is (0, 0).
        self.fields[slot + 2] = self.payload_len if self.corr_len else 0
        self.fields[slot + 3] = self.corr_len
        self.fields[slot + 4] = self.payload_len + self.corr_len if self.name_len else 0
        self.fields[slot + 5] = self.name_len
        if self.tags_len:
            copy_octets(self.buffer, at, self.data, self.tags_at, self.tags_len)
            self.fields[slot + 2 * TAGS] = at - base
            self.fields[slot + 2 * TAGS + 1] = self.tags_len
            at += self.tags_len
        self.start[row + 1] = at
        self.ts[row] = self.received if self.msg_sec < 0 else self.msg_sec * 1_000_000 + self.msg_usec
        self.family[row] = self.msg_family
        self.ip_proto[row] = self.msg_proto
        self._address(self.src_ip, self.src4_at, self.src6_at)
        self._address(self.dst_ip, self.dst4_at, self.dst6_at)
        self.src_port[row] = self.msg_src_port
        self.dst_port[row] = self.msg_dst_port
        self.vlan[row] = self.msg_vlan
        self.hep_type[row] = self.msg_type
        self.node_id[row] = self.msg_node
        self.row = row + 1
        return OK

    def _address(self, out: Any, pos4: cython.Py_ssize_t, pos6: cython.Py_ssize_t) -> cython.int:
        """Write one address of the row; the IPv4-mapped prefix stands there already."""
        if pos4 >= 0:
            return copy_octets(out, self.row * 16 + 12, self.data, pos4, 4)
        return copy_octets(out, self.row * 16, self.data, pos6, 16)

    def run(self, count: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Decode datagrams until all are done or the batch is full; return how many were consumed."""
        i: cython.Py_ssize_t = 0
        status: cython.int
        at: cython.Py_ssize_t
        length: cython.Py_ssize_t
        with cython.nogil:
            while i < count and self.row < self.capacity:
                at = self.offsets[i]
                length = self.lengths[i]
                if at < 0 or length < 0 or length > len(self.data) - at:
                    with cython.gil:
                        raise IndexError("decode_hep: a datagram lies outside of data")
                status = self._parse(at, length)
                if status == OK and self.key_count >= 0:
                    status = self._match_key()
                if status == OK:
                    status = self._check_addresses()
                if status == OK and (self.payload_at < 0 or self.payload_len == 0):
                    status = HEP_PAYLOAD
                if status == OK and self.compressed:
                    with cython.gil:
                        status = self._inflate()
                if status == OK:
                    status = self._append()
                if status == FULL:
                    break
                if status != OK:
                    self.drops[status] += 1
                i += 1
        return i


def decode_hep(
    data: Any,
    offsets: Any,
    lengths: Any,
    count: int,
    received: int,
    batch: Batch,
    drops: Any,
    keys: AuthKeys | None = None,
    inflate_bound: int = 65_535,
) -> int:
    """Append the records of `count` HEP datagrams to `batch`; return how many were consumed.

    data: uint8 buffer; datagram i is data[offsets[i]:offsets[i] + lengths[i]] (integers, >= count of
    each). received: microseconds since the epoch, UTC; stands in for a time that is not sent, and
    tells HEP2's byte order. Records are appended from row batch.n on and batch.n is set.
    drops: int64, indexed by Drop, added to. keys: None checks nothing; else chunk 0x000e must equal
    one of them (Drop.AUTH; HEP 1 and 2 have no key), and its agent's name stands in for chunk 0x0013.
    inflate_bound: octets that a compressed payload may have.

    A record is payload, correlation id, node name, tags; the key is not copied. Consumed = appended +
    dropped, exactly; fewer than count when the batch is out of rows or octets: hand it on and call
    again with the rest. A record over 65,535 octets, or longer than the whole of batch.buffer, is
    Drop.OVERSIZE, so that every call with an empty batch makes progress.

    Raises IndexError where offsets and lengths point outside of data, ValueError for a negative
    bound: bugs of the caller, not of the sender.
    """
    if inflate_bound < 0:
        raise ValueError("decode_hep: inflate_bound must not be negative")
    first = batch.n
    last = min(batch.capacity, first + count)
    if count <= 0 or last <= first:
        return 0
    batch.fields[first:last] = 0
    batch.src_ip[first:last] = MAPPED_PREFIX
    batch.dst_ip[first:last] = MAPPED_PREFIX
    for name, value in _UNSET:
        getattr(batch, name)[first:last] = value
    decoder = Decoder(
        view(data),
        view(np.ascontiguousarray(offsets[:count], dtype=np.int64)),
        view(np.ascontiguousarray(lengths[:count], dtype=np.int64)),
        received,
        batch,
        drops,
        keys,
        inflate_bound,
    )
    consumed = int(decoder.run(count))
    batch.n = int(decoder.row)
    return consumed
