r"""The file format of Kamailio's dbtext: a line of column definitions, then a line a row.

    id(int,auto) date(int) callid(string,null) msg(blob,null)
    1:1795355205:1-31396@127.0.0.1:INVITE sip\:bob@example.org SIP/2.0\r\n...

In: lines of a file, or columns. Out: columns, values, lines. What can go wrong: `Malformed`, which says
what is wrong with a line; a file comes from anywhere.

Values stand between colons. In text, line feed, carriage return, tab, backslash, colon and NUL are escaped
with a backslash; any other escape makes the module refuse the whole table. An empty value is null. A type is
known by its first letter: int, double, string (or str), blob, time (an int). An int has 32 bits in the
module, and a double is null to whoever asks through sqlops: so `micro_ts` is text, of digits, and `parse_row`
gives it as the number that it is. The module reads no value longer than its `file_buffer_size` (16,384 octets
unless set) and refuses the table that has one.
"""

import re
from dataclasses import dataclass
from typing import Final

from hepcat.stores.classic.schema import Column, Source, Table

#: Longest value that the module reads unless its parameter file_buffer_size says otherwise.
LONGEST: Final = 16_383
#: Longest line that is read here; what is longer is no table.
LONGEST_LINE: Final = 16 * 2**20

_COLUMN: Final = re.compile(
    rb" *([^ (\n]{1,255}) *\( *([sidbtSIDBT])([^,()\n]*)(?:, *([nNaA])[^)\n]*)?\) *", re.ASCII
)
_TYPES: Final = {"s": "string", "i": "int", "d": "double", "b": "blob", "t": "time"}
_VALUE: Final = re.compile(rb"([^:\\]*(?:\\.[^:\\]*)*)(:|\Z)", re.DOTALL)
#: What a backslash and a letter stand for, besides two backslashes.
_ESCAPES: Final = ((b"\\:", b":"), (b"\\r", b"\r"), (b"\\n", b"\n"), (b"\\t", b"\t"), (b"\\0", b"\0"))
_INT: Final = re.compile(rb"-?[0-9]{1,20}")
_DOUBLE: Final = re.compile(rb"-?[0-9]{1,20}(?:\.[0-9]{0,20})?")

Value = str | int | float | None


class Malformed(ValueError):
    """A line is not of this format; the message says why."""


@dataclass(frozen=True, slots=True)
class TextColumn:
    """A column of a file."""

    name: str
    type: str
    nullable: bool = False
    auto: bool = False

    @property
    def is_text(self) -> bool:
        """Whether its values are text; else they are numbers."""
        return self.type in ("string", "blob")


def parse_header(line: bytes) -> list[TextColumn]:
    """Read the first line of a file. Raises Malformed."""
    columns: list[TextColumn] = []
    at, end = 0, len(line.rstrip(b"\n"))
    while at < end:
        match = _COLUMN.match(line, at, end)
        if match is None:
            raise Malformed(f"column {len(columns) + 1} is not name(type), name(type,null) or name(int,auto)")
        flag = (match[4] or b"").lower()
        column = TextColumn(
            match[1].decode("latin-1"), _TYPES[match[2].decode().lower()], flag == b"n", flag == b"a"
        )
        if column.name in (other.name for other in columns):
            raise Malformed(f'column "{column.name}" stands there twice')
        columns.append(column)
        at = match.end()
    if not columns:
        raise Malformed("there are no columns in its first line")
    return columns


def make_header(columns: list[TextColumn]) -> bytes:
    """Return the first line of a file."""
    flags = {(False, False): "", (True, False): ",null", (False, True): ",auto"}
    words = [f"{c.name}({c.type}{flags[c.nullable, c.auto]})" for c in columns]
    return " ".join(words).encode("latin-1") + b" \n"


def parse_row(line: bytes, columns: list[TextColumn]) -> dict[str, Value]:
    """Read a row, without its line feed. Raises Malformed.

    Text that is no UTF-8 keeps its octets as surrogates (`encode("utf-8", "surrogateescape")`).
    """
    values: list[bytes] = []
    at = 0
    while True:
        match = _VALUE.match(line, at)
        if match is None:
            raise Malformed("it ends with a backslash")
        values.append(match[1])
        at = match.end()
        if not match[2]:
            break
        if len(values) > len(columns):
            break
    if len(values) != len(columns):
        raise Malformed(f"it has not {len(columns)} values")
    return {column.name: _value(value, column) for column, value in zip(columns, values, strict=True)}


def _value(octets: bytes, column: TextColumn) -> Value:
    if not octets:
        return None
    if column.is_text:
        if column.name == "micro_ts" and _INT.fullmatch(octets):
            return int(octets)
        return _unescape(octets).decode("utf-8", "surrogateescape")
    if column.type == "double":
        if _DOUBLE.fullmatch(octets):
            return float(octets) if b"." in octets else int(octets)
    elif _INT.fullmatch(octets):
        return int(octets)
    raise Malformed(f'"{column.name}" is not a number')


def _unescape(octets: bytes) -> bytes:
    """Undo the escapes; what two backslashes part is looked at alone."""
    if b"\\" not in octets:
        return octets
    parts = octets.split(b"\\\\")
    for i, part in enumerate(parts):
        for escape, octet in _ESCAPES:
            part = part.replace(escape, octet)
        if b"\\" in part:
            raise Malformed("it has an escape that is none")
        parts[i] = part
    return b"\\".join(parts)


def make_columns(table: Table) -> list[TextColumn]:
    """Return the columns of the file that hepcat makes for a classic table."""
    return [TextColumn("id", "int", auto=True), *map(_column_of, table.columns)]


def _column_of(column: Column) -> TextColumn:
    if column.kind == "octets":
        return TextColumn(column.name, "blob", nullable=True)
    if column.kind == "text":  # an empty text is null in a file, and refused in a column that is not
        return TextColumn(column.name, "string", nullable=True)
    return TextColumn(column.name, "string" if column.kind == "bigint" else "int", nullable=column.nullable)


def fill_column(actual: TextColumn, table: Table) -> Column:
    """Return what a file's column is filled from: as in the classic table, else null or 0."""
    known = table.column(actual.name)
    if actual.name.lower() == "id" and not actual.is_text:
        return Column(actual.name, "int", Source.SEQUENCE)
    if known is not None and known.source is Source.DATE and not actual.is_text:
        return Column(actual.name, "int", Source.SECONDS)
    is_number = known is not None and known.kind in ("int", "bigint")
    if known is not None and (actual.is_text or is_number):
        return known
    if actual.is_text or actual.nullable:
        return Column(actual.name, "text", Source.EMPTY)
    return Column(actual.name, "int", Source.ORIGINATOR_PORT)  # of a header that is never there: 0
