"""Results for people: aligned columns and bars, in colour on a terminal.

In: Arrow tables. Out: lines of text. Whatever came off the network is shown without control
characters: a header may hold escape sequences. Times are local, with the offset in the heading, or in
the cell where it changes.
"""

import unicodedata
from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import Any, Final

import pyarrow as pa

from hepcat.search.columns import HEADING
from hepcat.search.times import SECOND, moment_of

RESET: Final = "\x1b[0m"
BOLD: Final = "\x1b[1m"
DIM: Final = "\x1b[2m"
GREEN: Final = "\x1b[32m"
YELLOW: Final = "\x1b[33m"
RED: Final = "\x1b[31m"
CYAN: Final = "\x1b[36m"

STATE_COLOR: Final[dict[str, str]] = {
    "completed": GREEN, "registered": GREEN, "succeeded": GREEN, "unregistered": GREEN,
    "in call": CYAN, "ringing": CYAN, "trying": CYAN,
    "failed": RED, "rejected": RED, "no reply": RED,
    "busy": YELLOW, "cancelled": YELLOW, "no answer": YELLOW, "redirected": YELLOW, "auth required": YELLOW,
}  # fmt: skip
CLASS_COLOR: Final[dict[str, str]] = {
    "request": DIM, "1xx": CYAN, "2xx": GREEN, "3xx": YELLOW, "4xx": YELLOW, "5xx": RED, "6xx": RED,
}  # fmt: skip

#: Left out one after the other where a terminal is too narrow and no --fields were given.
SPARE: Final = (
    "phrase", "ring_time", "destination", "post_dial_delay", "source", "messages", "talk_time",
    "reason_phrase", "dst_port", "src_port",
)  # fmt: skip
#: Cut with an ellipsis before anything else is.
_NARROWEST: Final = 10
#: Room for columns of a stream, whose values are not known beforehand.
STREAM_WIDTH: Final[dict[str, int]] = {
    "start": 23, "ts": 23, "end": 23, "from": 28, "to": 28, "method": 8, "status": 6, "phrase": 16,
    "reason_phrase": 16, "state": 13, "source": 21, "destination": 21, "src_ip": 15, "dst_ip": 15,
    "src_port": 8, "dst_port": 8,
    "from_user": 14, "to_user": 14, "messages": 4, "post_dial_delay": 7, "ring_time": 7, "talk_time": 8,
}  # fmt: skip


def clean(text: str) -> str:
    """Return text without what a terminal would obey."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "·" for c in text)


def width_of(text: str) -> int:
    """Return how many cells of a terminal text takes."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) != 0 for c in text)


def fit(text: str, width: int, right: bool = False) -> str:
    """Return text padded to a width, or cut with an ellipsis."""
    while width_of(text) > width:
        text = text[: max(width - 1, 0)].rstrip("…") + "…" if len(text) > width else text[:-2] + "…"
    padding = " " * (width - width_of(text))
    return padding + text if right else text + padding


def local_time(us: int, zone: tzinfo | None = None, offset: bool = False) -> str:
    """Return a time in milliseconds, in the zone (None: the machine's)."""
    moment = moment_of(us, zone)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d}" + (f"{moment:%z}" if offset else "")


def _microseconds(column: pa.ChunkedArray) -> list[int | None]:
    values: list[int | None] = column.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_pylist()
    return values


class TextTable:
    """Lays out tables with the same columns; widths are chosen by the first one."""

    def __init__(
        self, width: int | None = None, color: bool = False, zone: tzinfo | None = None, spare: bool = True
    ) -> None:
        """width: of the terminal, None for as wide as needed. spare: columns may be left out."""
        self.width, self.color, self.zone, self.spare = width, color, zone, spare
        self._columns: list[tuple[str, int, bool]] = []

    def lines(self, table: pa.Table, heading: bool = True, stream: bool = False) -> list[str]:
        """Return the lines of a table. stream: more tables follow, so leave room by kind of column."""
        headings = {c.name: self._heading(table.column(i), c.name) for i, c in enumerate(table.schema)}
        cells = {c.name: self._cells(table.column(i), headings[c.name]) for i, c in enumerate(table.schema)}
        if not self._columns:
            self._columns = self._layout(table, headings, cells, stream)
        lines = [self._heading_line(headings)] if heading else []
        for row in range(len(table)):
            line = "  ".join(
                self._cell(name, fit(cells[name][row], width, right), cells[name][row])
                for name, width, right in self._columns
            )
            lines.append(line.rstrip())
        return lines

    def _heading_line(self, headings: dict[str, str]) -> str:
        line = "  ".join(fit(headings[name], width, right) for name, width, right in self._columns).rstrip()
        return f"{BOLD}{line}{RESET}" if self.color else line

    def _cell(self, name: str, padded: str, value: str) -> str:
        if not self.color:
            return padded
        color = ""
        if name == "state":
            color = STATE_COLOR.get(value, "")
        elif name == "status" and value[:1].isdigit():
            color = CLASS_COLOR.get(f"{value[0]}xx", "")
        return f"{color}{padded}{RESET}" if color else padded

    def _heading(self, column: pa.ChunkedArray, name: str) -> str:
        if not pa.types.is_timestamp(column.type):
            return clean(HEADING.get(name, name))
        offsets = {f"{moment_of(us, self.zone):%z}" for us in _microseconds(column) if us is not None}
        return f"{name} {offsets.pop()}" if len(offsets) == 1 else name

    def _cells(self, column: pa.ChunkedArray, heading: str) -> list[str]:
        if pa.types.is_timestamp(column.type):
            with_offset = heading[-5:-4] not in ("+", "-")
            return [
                "-" if us is None else local_time(us, self.zone, with_offset) for us in _microseconds(column)
            ]
        if pa.types.is_floating(column.type):
            return ["-" if v is None else f"{v:.3f}" for v in column.to_pylist()]
        return ["-" if v is None else clean(_text(v)) for v in column.to_pylist()]

    def _layout(
        self, table: pa.Table, headings: dict[str, str], cells: dict[str, list[str]], stream: bool
    ) -> list[tuple[str, int, bool]]:
        """Choose columns and widths: leave out spare ones, then cut the widest, the Call-ID last."""
        widths = {
            name: max(
                [width_of(headings[name]), *map(width_of, values), STREAM_WIDTH.get(name, 0) if stream else 0]
            )
            for name, values in cells.items()
        }
        if self.width is not None:
            self._narrow(widths, self.width)
        numeric = {
            c.name for c in table.schema if pa.types.is_floating(c.type) or pa.types.is_integer(c.type)
        }
        return [(name, width, name in numeric) for name, width in widths.items()]

    def _narrow(self, widths: dict[str, int], room: int) -> None:
        def excess() -> int:
            return sum(widths.values()) + 2 * (len(widths) - 1) - room

        def least() -> int:
            fixed = ("start", "ts", "end", "call_id")
            return sum(w if n in fixed else min(w, _NARROWEST) for n, w in widths.items()) + 2 * (
                len(widths) - 1
            )

        for name in SPARE if self.spare else ():
            if least() > room and name in widths:
                del widths[name]
        for shrinkable in (
            {n for n in widths if n not in ("start", "ts", "call_id")},
            {"call_id"} & set(widths),
        ):
            while excess() > 0 and shrinkable:
                widest = max(shrinkable, key=lambda n: widths[n])
                if widths[widest] <= _NARROWEST:
                    break
                widths[widest] -= 1


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").split("\r\n", 1)[0]
    if isinstance(value, list):
        return ", ".join(f"{k}: {v}" for k, v in value)
    return str(value)


# -- bars

_EIGHTHS: Final = " ▏▎▍▌▋▊▉"


def bar(value: int, most: int, width: int) -> str:
    """Return a bar of block characters, an eighth of a cell exact."""
    eighths = round(value * width * 8 / most) if most else 0
    if value and not eighths:
        eighths = 1
    return "█" * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")


def bucket_label(us: int, width_us: int, zone: tzinfo | None = None) -> str:
    """Return a bucket's start, as exact as its width needs."""
    moment: datetime = moment_of(us, zone)
    if width_us >= 86400 * SECOND:
        return f"{moment:%Y-%m-%d}"
    if width_us >= 60 * SECOND:
        return f"{moment:%Y-%m-%d %H:%M}"
    if width_us >= SECOND:
        return f"{moment:%Y-%m-%d %H:%M:%S}"
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond:06d}"


def width_label(width_us: int) -> str:
    """Return a length of time in words, such as 5 min."""
    for unit, us in (
        ("d", 86400 * SECOND),
        ("h", 3600 * SECOND),
        ("min", 60 * SECOND),
        ("s", SECOND),
        ("ms", 1000),
    ):
        if width_us >= us:
            return f"{width_us // us} {unit}"
    return f"{width_us} us"


def histogram_lines(
    table: pa.Table, what: str, width: int = 100, color: bool = False, zone: tzinfo | None = None
) -> list[str]:
    """Return the lines of a histogram: a bar a bucket, coloured by class of status."""
    starts = [us for us in _microseconds(table["start"]) if us is not None]
    if not starts:
        return [f"no {what}"]
    width_us = (_microseconds(table["end"])[0] or 0) - starts[0]
    totals: list[int] = table["total"].to_pylist()
    labels = [bucket_label(us, width_us, zone) for us in starts]
    digits = max(len(str(total)) for total in totals)
    room = max(width - len(labels[0]) - digits - 4, 10)
    offset = f"{moment_of(starts[0], zone):%z}"
    heading = f"{what} in {width_label(width_us)}, time {offset}: {sum(totals)} in all"
    lines = [f"{BOLD}{heading}{RESET}" if color else heading]
    rows = table.select(list(CLASS_COLOR)).to_pylist()
    for label, total, row in zip(labels, totals, rows, strict=True):
        drawn = bar(total, max(totals), room)
        if color:
            drawn = _paint(drawn, row, total)
        lines.append(f"{label}  {total:>{digits}}  {drawn}".rstrip())
    if color:
        lines.append(
            "".join(
                f"{CLASS_COLOR[name]}█ {name}{RESET}  "
                for name in CLASS_COLOR
                if sum(table[name].to_pylist())
            )
        )
    return lines


def _paint(drawn: str, row: dict[str, int], total: int) -> str:
    """Colour the parts of a bar in proportion."""
    painted, begun, counted = "", 0, 0
    for name, color in CLASS_COLOR.items():
        counted += row[name]
        end = round(len(drawn) * counted / total) if total else 0
        if end > begun:
            painted += f"{color}{drawn[begun:end]}{RESET}"
            begun = end
    return painted


def choose(names: Sequence[str], table: pa.Table) -> pa.Table:
    """Return the columns of a table that it has, in the order of `names`."""
    return table.select([name for name in names if name in table.column_names])
