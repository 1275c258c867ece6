"""Bloom filters of Parquet files, asked one value at a time: 32 octets are read instead of the filter.

In: a file's footer, a column's name, values. Out: whether the file can hold one of them. "Yes" may be
wrong (about one time in a thousand for each row group), "no" never is. What can go wrong: OSError.
A filter that is absent, or is not of the one kind that the format knows, counts as "yes".

The format (parquet-format's BloomFilter.md): a filter is a run of blocks of eight 32-bit words; the upper
half of a value's 64-bit hash chooses the block, the lower half one bit of each word. The hash is
XXH64 with seed 0 (the xxHash specification) of the value's octets.
"""

import os
import struct
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import pyarrow.parquet as pq

from hepcat.stores.lake.footer import read_struct

_WORD: Final = 0xFFFF_FFFF
_LONG: Final = 0xFFFF_FFFF_FFFF_FFFF
_BLOCK: Final = 32
#: One odd multiplier a word of a block.
_SALT: Final = (
    0x47B6137B, 0x44974D91, 0x8824AD5B, 0xA2B7289D, 0x705495C7, 0x2DF1424B, 0x9EFC4947, 0x5C6BFB31,
)  # fmt: skip
_PRIME_1: Final = 0x9E3779B185EBCA87
_PRIME_2: Final = 0xC2B2AE3D27D4EB4F
_PRIME_3: Final = 0x165667B19E3779F9
_PRIME_4: Final = 0x85EBCA77C2B2AE63
_PRIME_5: Final = 0x27D4EB2F165667C5
#: More than a header of a filter needs.
_HEADER_AT_MOST: Final = 64
#: BloomFilterHeader: numBytes, and the fields that say BLOCK, XXHASH and UNCOMPRESSED (each the first).
_NUM_BYTES, _KINDS = 1, (2, 3, 4)


class Filter(NamedTuple):
    """Where a row group's filter lies: its first block's offset in the file, and how many blocks."""

    start: int
    blocks: int


def xxh64(data: bytes) -> int:
    """Return XXH64 with seed 0."""
    at, size = 0, len(data)
    if size >= 32:
        lanes = [(_PRIME_1 + _PRIME_2) & _LONG, _PRIME_2, 0, -_PRIME_1 & _LONG]
        while at + 32 <= size:
            words = struct.unpack_from("<4Q", data, at)
            lanes = [_round(lane, word) for lane, word in zip(lanes, words, strict=True)]
            at += 32
        a, b, c, d = lanes
        h = (_rotate(a, 1) + _rotate(b, 7) + _rotate(c, 12) + _rotate(d, 18)) & _LONG
        for lane in lanes:
            h = ((h ^ _round(0, lane)) * _PRIME_1 + _PRIME_4) & _LONG
    else:
        h = _PRIME_5
    h = (h + size) & _LONG
    while at + 8 <= size:
        h ^= _round(0, int.from_bytes(data[at : at + 8], "little"))
        h = (_rotate(h, 27) * _PRIME_1 + _PRIME_4) & _LONG
        at += 8
    if at + 4 <= size:
        h ^= int.from_bytes(data[at : at + 4], "little") * _PRIME_1 & _LONG
        h = (_rotate(h, 23) * _PRIME_2 + _PRIME_3) & _LONG
        at += 4
    for octet in data[at:]:
        h = _rotate(h ^ (octet * _PRIME_5 & _LONG), 11) * _PRIME_1 & _LONG
    h = (h ^ h >> 33) * _PRIME_2 & _LONG
    h = (h ^ h >> 29) * _PRIME_3 & _LONG
    return h ^ h >> 32


def _rotate(value: int, by: int) -> int:
    return (value << by | value >> (64 - by)) & _LONG


def _round(lane: int, word: int) -> int:
    return _rotate((lane + word * _PRIME_2) & _LONG, 31) * _PRIME_1 & _LONG


class Wanted:
    """A value to look for: its hash, and the bits that it sets in a block."""

    def __init__(self, value: bytes) -> None:
        """Hash it once for all filters."""
        value_hash = xxh64(value)
        self._high = value_hash >> 32
        low = value_hash & _WORD
        self._bits = int.from_bytes(
            b"".join((1 << ((low * salt & _WORD) >> 27)).to_bytes(4, "little") for salt in _SALT), "little"
        )

    def is_in(self, fd: int, found: Filter) -> bool:
        """Tell whether the filter of an open file has all of the value's bits."""
        block = self._high * found.blocks >> 32
        octets = os.pread(fd, _BLOCK, found.start + block * _BLOCK)
        # A file that ends early is for its reader to complain about.
        return len(octets) < _BLOCK or int.from_bytes(octets, "little") & self._bits == self._bits


def filters(path: str, metadata: pq.FileMetaData, column: str) -> tuple[Filter, ...] | None:
    """Return the filters of a column, one a row group; None where one of them is missing or unknown."""
    index = metadata.schema.names.index(column) if column in metadata.schema.names else -1
    if index < 0:
        return None
    found = []
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for group in range(metadata.num_row_groups):
            chunk: Any = metadata.row_group(group).column(index)
            if chunk.path_in_schema != column or chunk.bloom_filter_offset is None:
                return None
            one = _filter(os.pread(fd, _HEADER_AT_MOST, chunk.bloom_filter_offset))
            if one is None:
                return None
            found.append(Filter(chunk.bloom_filter_offset + one.start, one.blocks))
    finally:
        os.close(fd)
    return tuple(found)


def _filter(octets: bytes) -> Filter | None:
    """Read a filter's header; `start` is then the header's length."""
    try:
        header, size = read_struct(octets)
    except (ValueError, IndexError):
        return None
    length = header.get(_NUM_BYTES, (0, 0))[1]
    if not isinstance(length, int) or length < _BLOCK or length % _BLOCK:
        return None
    for kind in _KINDS:
        union = header.get(kind, (0, None))[1]
        if not isinstance(union, dict) or list(union) != [1]:
            return None
    return Filter(size, length // _BLOCK)


def can_hold(path: str, groups: Iterable[Filter], values: Iterable[Wanted]) -> bool:
    """Tell whether one of the row groups can hold one of the values."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        wanted = list(values)
        return any(value.is_in(fd, group) for group in groups for value in wanted)
    finally:
        os.close(fd)
