"""Templates of messages: text with {fields}, made into the rows of operations that the kernel runs.

In: text, the meaning of its fields, tables of values. Out: `Program`, the arrays of
hepcat.bench.fill.fill_messages. A field is one operation or several; nothing here runs per message.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from hepcat.bench.fill import ALPHABETS, OPS

Op = tuple[int, int, int, int]
#: What stands for a field: an operation, a run of them, or octets that never change.
Value = Op | bytes | list[Op | bytes]

_FIELD: Final = re.compile(r"\{(\w+)\}")


def random(key: int, length: int, alphabet: str = "hex") -> Op:
    """Characters of an alphabet (hex, token, digits, octets), the same for the same dialog and key."""
    return (OPS["random"], key, length, ALPHABETS[alphabet])


def number(key: int, size: int, added: int = 0) -> Op:
    """A decimal number in added..added + size - 1."""
    return (OPS["number"], key, size, added)


def time(microseconds: bool = False, little: bool = False) -> Op:
    """The message's time, u32."""
    return (OPS["time"], int(microseconds), int(little), 0)


def size(octets: int, added: int = 0, little: bool = False) -> Op:
    """The octets from this place to the end of the message, plus `added`."""
    return (OPS["size"], octets, int(little), added)


IP_SUM: Final[Op] = (OPS["ip_sum"], 0, 0, 0)
#: Content-Length; the body is what follows the first empty line.
BODY_LENGTH: Final[Op] = (OPS["body_length"], 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Program:
    """Every template of a kind of traffic, as the kernel takes them (see fill_messages)."""

    ops: npt.NDArray[np.int32]
    template_start: npt.NDArray[np.int32]
    pool: npt.NDArray[np.uint8]
    entries: npt.NDArray[np.int32]
    table_start: npt.NDArray[np.int32]
    octets: npt.NDArray[np.int64]  # bound on the size of each template's messages


class Builder:
    """Collects tables and templates, then builds the program."""

    def __init__(self) -> None:
        self._pool = bytearray()
        self._literals: dict[bytes, int] = {}
        self._entries: list[int] = []
        self._table_start: list[int] = [0]
        self._widest: list[int] = []
        self._ops: list[tuple[int, int, int, int, int, int]] = []
        self._template_start: list[int] = [0]

    def table(self, values: Sequence[bytes]) -> int:
        """Add a table; return its number. Tables of one size, asked with one key, agree on the entry."""
        for value in values:
            self._entries.append(len(self._pool))
            self._pool += value
        self._entries.append(len(self._pool))
        self._table_start.append(len(self._entries))
        self._widest.append(max(map(len, values)))
        return len(self._widest) - 1

    def pick(self, table: int, key: int) -> Op:
        """One entry of a table."""
        return (OPS["pick"], table, key, 0)

    def expand(self, text: str, fields: Mapping[str, Value]) -> list[Op | bytes]:
        """Return what a text with {fields} stands for, to be a field itself."""
        return _expand(text, fields)

    def template(self, frame: Sequence[Op | bytes], text: str, fields: Mapping[str, Value]) -> int:
        """Add a template, `frame` (the HEP or Ethernet headers) in front of the text; return its number.

        Raises KeyError for a field that has no value.
        """
        parts: list[Op | bytes] = list(frame)
        head, _, body = text.partition("\r\n\r\n")
        parts += _expand(head + "\r\n\r\n" if body or text.endswith("\r\n\r\n") else head, fields)
        head_rows = self._compile(parts)
        for row in head_rows:
            waits = row[2] == OPS["body_length"]
            self._ops.append((*row[:3], len(head_rows), 0, 0) if waits else row)
        self._ops += self._compile(_expand(body, fields))
        self._template_start.append(len(self._ops))
        return len(self._template_start) - 2

    def _compile(self, parts: Sequence[Op | bytes]) -> list[tuple[int, int, int, int, int, int]]:
        """Make rows of octets and the operation that follows them."""
        rows = []
        octets = b""
        for part in [*parts, None]:
            if isinstance(part, bytes):
                octets += part
            elif part is not None or octets:
                rows.append((self._literal(octets), len(octets), *(part or (OPS["nothing"], 0, 0, 0))))
                octets = b""
        return rows

    def _literal(self, octets: bytes) -> int:
        """Return where these octets stand in the pool."""
        if octets not in self._literals:
            self._literals[octets] = len(self._pool)
            self._pool += octets
        return self._literals[octets]

    def _bound(self, row: tuple[int, int, int, int, int, int]) -> int:
        """Return the most octets that a row may write."""
        _, literal, op, a, b, _ = row
        most = b if op == OPS["random"] else self._widest[a] if op == OPS["pick"] else 20
        return literal + (most if op != OPS["nothing"] else 0)

    def build(self) -> Program:
        """Return the arrays."""
        start = np.array(self._template_start, dtype=np.int32)
        bounds = np.concatenate([[0], np.cumsum([self._bound(op) for op in self._ops])])
        return Program(
            ops=np.array(self._ops, dtype=np.int32).ravel(),
            template_start=start,
            pool=np.frombuffer(bytes(self._pool), dtype=np.uint8).copy(),
            entries=np.array(self._entries, dtype=np.int32),
            table_start=np.array(self._table_start, dtype=np.int32),
            octets=(bounds[start[1:]] - bounds[start[:-1]]).astype(np.int64),
        )


def _expand(text: str, fields: Mapping[str, Value]) -> list[Op | bytes]:
    """Cut the text at its {fields} and put what they stand for in their places."""
    parts: list[Op | bytes] = []
    for i, part in enumerate(_FIELD.split(text)):
        if i % 2 == 0:
            if part:
                parts.append(part.encode())
            continue
        value = fields[part]
        parts += value if isinstance(value, list) else [value]
    return parts
