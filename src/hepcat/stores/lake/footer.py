"""Parquet files put end to end without decoding them: the column chunks are copied, the footers joined.

In: paths of files with one schema. Out: one file with all their row groups. Decoding and compressing
again costs 2 us a record; this costs the copy of some 100 octets inside the kernel. What can go
wrong: `DifferentSchemas`, OSError, ValueError for a footer that is not one.

A footer is a struct in Thrift's compact protocol. It is read without its definition: a struct is a
dict from field number to (type, value), a list is (type, values). Only what holds an offset into the
file is changed (field numbers as in parquet.thrift of the Parquet format).
"""

import os
from collections.abc import Sequence
from typing import Any, Final

_MAGIC: Final = b"PAR1"
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12

Struct = dict[int, tuple[int, Any]]

# FileMetaData
_SCHEMA, _NUM_ROWS, _ROW_GROUPS = 2, 3, 4
# RowGroup
_COLUMNS, _GROUP_OFFSET, _ORDINAL = 1, 5, 7
# ColumnChunk: file_offset, offset_index_offset, column_index_offset; and meta_data
_CHUNK_OFFSETS: Final = (2, 4, 6)
_META: Final = 3
# ColumnMetaData: data page, index page, dictionary page, bloom filter
_META_OFFSETS: Final = (9, 10, 11, 14)


class DifferentSchemas(ValueError):
    """The files do not have the same columns; they cannot be joined without decoding."""


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def varint(self) -> int:
        value = shift = 0
        while True:
            octet = self.data[self.at]
            self.at += 1
            value |= (octet & 0x7F) << shift
            if octet < 0x80:
                return value
            shift += 7

    def zigzag(self) -> int:
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def take(self, size: int) -> bytes:
        if size < 0 or self.at + size > len(self.data):
            raise ValueError("Parquet footer ends early")
        self.at += size
        return self.data[self.at - size : self.at]

    def struct(self) -> Struct:
        fields: Struct = {}
        number = 0
        while True:
            head = self.take(1)[0]
            if head == 0:
                return fields
            number = number + (head >> 4) if head >> 4 else self.zigzag()
            kind = head & 15
            fields[number] = (kind, kind == _TRUE if kind <= _FALSE else self.value(kind))

    def value(self, kind: int) -> Any:
        if kind == _STRUCT:
            return self.struct()
        if kind == _BINARY:
            return self.take(self.varint())
        if kind in (_LIST, _SET):
            head = self.take(1)[0]
            size = head >> 4 if head >> 4 != 15 else self.varint()
            return (head & 15, [self.value(head & 15) for _ in range(size)])
        if kind in (_TRUE, _FALSE, _BYTE):  # in a list, a boolean is one octet
            return self.take(1)
        if kind == _DOUBLE:
            return self.take(8)
        if kind == _MAP:
            raise ValueError("Parquet footer with a map")  # the format has none
        return self.zigzag()


class _Writer:
    def __init__(self) -> None:
        self.out = bytearray()

    def varint(self, value: int) -> None:
        while value >= 0x80:
            self.out.append(value & 0x7F | 0x80)
            value >>= 7
        self.out.append(value)

    def zigzag(self, value: int) -> None:
        self.varint(value << 1 if value >= 0 else (-value << 1) - 1)

    def struct(self, fields: Struct) -> None:
        before = 0
        for number, (kind, value) in sorted(fields.items()):
            if kind <= _FALSE:
                kind = _TRUE if value else _FALSE
            if 0 < number - before < 16:
                self.out.append((number - before) << 4 | kind)
            else:
                self.out.append(kind)
                self.zigzag(number)
            if kind > _FALSE:
                self.value(kind, value)
            before = number
        self.out.append(0)

    def value(self, kind: int, value: Any) -> None:
        if kind == _STRUCT:
            self.struct(value)
        elif kind == _BINARY:
            self.varint(len(value))
            self.out += value
        elif kind in (_LIST, _SET):
            inner, values = value
            if len(values) < 15:
                self.out.append(len(values) << 4 | inner)
            else:
                self.out.append(0xF0 | inner)
                self.varint(len(values))
            for one in values:
                self.value(inner, one)
        elif kind in (_TRUE, _FALSE, _BYTE, _DOUBLE):
            self.out += value
        else:
            self.zigzag(value)


def read_footer(fd: int) -> tuple[Struct, int]:
    """Return a file's footer and where its row groups and bloom filters end."""
    size = os.fstat(fd).st_size
    tail = os.pread(fd, 8, max(size - 8, 0))
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != _MAGIC or length + 12 > size:
        raise ValueError("not a Parquet file")
    try:
        return _Reader(os.pread(fd, length, size - 8 - length)).struct(), size - 8 - length
    except IndexError as error:
        raise ValueError("Parquet footer ends early") from error


def read_struct(octets: bytes) -> tuple[Struct, int]:
    """Return the struct at the beginning of octets, and its length. Raises ValueError, IndexError."""
    reader = _Reader(octets)
    return reader.struct(), reader.at


def _shift(fields: Struct, numbers: Sequence[int], by: int) -> None:
    for number in numbers:
        if number in fields and fields[number][1] > 0:
            fields[number] = (fields[number][0], fields[number][1] + by)


def _moved(footer: Struct, by: int) -> list[Struct]:
    """Return a footer's row groups with every offset moved by that many octets."""
    groups: list[Struct] = footer[_ROW_GROUPS][1][1]
    for group in groups:
        _shift(group, (_GROUP_OFFSET,), by)
        for chunk in group[_COLUMNS][1][1]:
            _shift(chunk, _CHUNK_OFFSETS, by)
            if _META in chunk:
                _shift(chunk[_META][1], _META_OFFSETS, by)
    return groups


def _copy(source: int, target: int, end: int) -> None:
    at = len(_MAGIC)
    while at < end:
        done = os.sendfile(target, source, at, end - at)
        if done == 0:
            raise ValueError("Parquet file ends early")
        at += done


def join_files(paths: Sequence[str], target: int) -> int:
    """Write the files' row groups one after the other to the open file `target`; return the rows."""
    whole: Struct = {}
    groups: list[Struct] = []
    rows = 0
    os.write(target, _MAGIC)
    at = len(_MAGIC)
    for path in paths:
        source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            footer, end = read_footer(source)
            whole = whole or footer
            if footer[_SCHEMA] != whole[_SCHEMA]:
                raise DifferentSchemas(path)
            _copy(source, target, end)
        finally:
            os.close(source)
        groups += _moved(footer, at - len(_MAGIC))
        rows += footer[_NUM_ROWS][1]
        at += end - len(_MAGIC)
    for i, group in enumerate(groups):
        if _ORDINAL in group:
            group[_ORDINAL] = (group[_ORDINAL][0], i)
    writer = _Writer()
    kind = whole[_ROW_GROUPS][0]
    writer.struct({**whole, _NUM_ROWS: (6, rows), _ROW_GROUPS: (kind, (_STRUCT, groups))})
    tail = memoryview(bytes(writer.out) + len(writer.out).to_bytes(4, "little") + _MAGIC)
    while tail:
        tail = tail[os.write(target, tail) :]
    return rows
