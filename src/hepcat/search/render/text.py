"""The ladder for a terminal, a pipe, a ticket.

In: a Ladder, the width in cells, whether to colour. Out: lines of text, none wider than asked (but never
narrower than MIN_WIDTH). What can go wrong: nothing; whatever a message holds is made safe first
(render.escape), before it is measured, cut and placed.

Many hosts: names that have no room are replaced by letters with a key above the picture; hosts that have
no column left share the last one.
"""

import shutil
import string
from dataclasses import dataclass
from typing import Final

from hepcat.search.ladder import Arrow, Ladder
from hepcat.search.ladder_legs import Leg
from hepcat.search.render.escape import cells, fit, fit_middle, safe_block, safe_line, split_cells
from hepcat.search.render.words import clock, day, delta, figures_of, media_of, outcome_of, people_of, zone

MIN_WIDTH: Final = 40
PIPE_WIDTH: Final = 120
#: Below this width the difference is left out to give the picture room.
_DELTA_FROM: Final = 72
_MIN_PITCH: Final = 2
_MAX_PITCH: Final = 48
#: Below this distance of lifelines, letters stand for the names.
_NAME_PITCH: Final = 12
_LETTERS: Final = string.ascii_uppercase + string.ascii_lowercase
#: The room to the right that a loop at the last host asks for.
_LOOP_ROOM: Final = 24

_DIM, _BOLD = "2", "1"
_OUTCOME: Final = {"request": "1", "provisional": "36", "success": "32", "redirect": "33", "failure": "31"}
_LEGS: Final = ("36", "35", "33", "94", "32", "95")

Spans = list[tuple[int, int, str]]


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where everything stands, in cells."""

    width: int
    number: int  # width of the column of message numbers
    delta: int  # width of the column of differences, 0 where left out
    left: int  # first cell of the picture
    column: tuple[int, ...]  # host -> number of its lifeline
    x: tuple[int, ...]  # lifeline -> cell
    pitch: int
    heads: tuple[tuple[str, ...], ...]  # what stands above each lifeline, in one or two lines
    key: tuple[str, ...]  # lines that say what the letters mean
    plain: str  # an empty row: lifelines only
    letters: tuple[str, ...]  # host -> letter or name, for arrows that share a lifeline

    def shared(self, host: int) -> bool:
        """Whether other hosts stand on the same lifeline."""
        return len(self.column) > len(self.x) and self.column[host] == len(self.x) - 1


def render_text(
    ladder: Ladder, *, width: int | None = None, color: bool = False, utc: bool = True, raw: bool = False
) -> str:
    """Return the picture; width None takes COLUMNS, the terminal's, or PIPE_WIDTH. Ends in a line end."""
    if not ladder.arrows:
        return "no messages\n"
    if width is None:
        width = terminal_width()
    layout = _lay_out(ladder, max(width, MIN_WIDTH))
    out = _Page(layout, color)
    _head(out, ladder, utc)
    today = day(ladder.arrows[0].ts, utc)
    for arrow in ladder.arrows:
        if day(arrow.ts, utc) != today:
            today = day(arrow.ts, utc)
            out.row([(0, f"{'':{layout.number}} {today}", _DIM)])
        _arrow(out, ladder, arrow, utc)
    out.row([])
    if raw:
        for arrow in ladder.arrows:
            _message(out, arrow, utc)
    return "\n".join(out.lines) + "\n"


def terminal_width() -> int:
    """Return COLUMNS, the terminal's width, or PIPE_WIDTH."""
    return shutil.get_terminal_size((PIPE_WIDTH, 24)).columns


class _Page:
    """The lines so far, and the one way to add to them."""

    def __init__(self, layout: _Layout, color: bool) -> None:
        self.layout, self.color = layout, color
        self.lines: list[str] = []

    def row(self, texts: list[tuple[int, str, str]], base: str | None = None) -> None:
        """Add a row: texts (cell, safe text, SGR code or empty) laid over the lifelines or `base`."""
        row = split_cells(self.layout.plain if base is None else base)
        spans: Spans = []
        for at, text, code in texts:
            pieces = split_cells(text)
            row[at : at + len(pieces)] = pieces
            if code:
                spans.append((at, at + len(pieces), code))
        self.lines.append(_paint(row, spans) if self.color else "".join(row).rstrip())

    def words(self, parts: list[tuple[str, str]]) -> None:
        """Add a line of its own, cut to the width: (safe text, SGR code or empty)."""
        texts, at = [], 0
        for text, code in parts:
            text = fit(text, self.layout.width - at)
            texts.append((at, text, code))
            at += cells(text)
        self.row(texts, base="")


def _paint(row: list[str], spans: Spans) -> str:
    """Put the colour codes of spans, which do not overlap, into a row."""
    out, at = [], 0
    for start, end, code in sorted(spans):
        out += ["".join(row[at:start]), f"\x1b[{code}m", "".join(row[start:end]), "\x1b[0m"]
        at = end
    out.append("".join(row[at:]).rstrip())
    return "".join(out)


def _lay_out(ladder: Ladder, width: int) -> _Layout:
    number = len(str(len(ladder.arrows)))
    widest = max(len(delta(a.delta)) for a in ladder.arrows) if width >= _DELTA_FROM else 0
    left = number + 1 + 12 + (1 + widest if widest else 0) + 1
    names = [safe_line(host.name) for host in ladder.hosts]
    most = max(min(len(_LETTERS), (width - left - 2) // _MIN_PITCH), 1)
    count = min(len(names), most)
    column = tuple(min(i, count - 1) for i in range(len(names)))
    loops = any(column[a.src] == column[a.dst] == count - 1 for a in ladder.arrows)
    need = max(_need(ladder, column), *(cells(name) + 2 for name in names))
    pitch, pads = _pitch(width - left, count, need, names, loops)
    x = tuple(left + pads[0] + i * pitch for i in range(count))
    named = pitch >= _NAME_PITCH or count == 1
    heads, key = _heads(names, count, named, pitch if count > 1 else width - left - 2)
    plain = [" "] * width
    for at in x:
        plain[at] = "│"
    letters = tuple(names) if named else tuple(_LETTERS[min(i, len(_LETTERS) - 1)] for i in range(len(names)))
    return _Layout(width, number, widest, left, column, x, pitch, heads, key, "".join(plain), letters)


def _need(ladder: Ladder, column: tuple[int, ...]) -> int:
    """Return the distance of lifelines at which every label would stand in its arrow."""
    need = 16
    for arrow in ladder.arrows:
        span = abs(column[arrow.src] - column[arrow.dst])
        if span:
            longest = cells(_title(arrow)) + 6
            for media in media_of(arrow):
                longest = max(longest, min(len(media) + 4, _MAX_PITCH))
            need = max(need, -(-longest // span))
    return min(need, _MAX_PITCH)


def _pitch(room: int, count: int, need: int, names: list[str], loops: bool) -> tuple[int, tuple[int, int]]:
    """Return the distance of lifelines and the cells left and right of the outer ones."""
    need = min(need, _MAX_PITCH)
    want_right = (cells(names[count - 1]) + 1) // 2
    if loops:
        want_right = max(want_right, _LOOP_ROOM)
    if count == 1:
        pad = min((cells(names[0]) + 1) // 2, room // 2)
        return 0, (pad, room - pad - 1)
    for pads in (((cells(names[0]) + 1) // 2, want_right), (4, 4 if not loops else 12)):
        pitch = (room - 1 - pads[0] - pads[1]) // (count - 1)
        if pitch >= _NAME_PITCH:
            # the outer names may take half a pitch to the sides, and no more
            return min(pitch, need), (min(pads[0], pitch // 2), pads[1])
    return max((room - 2) // (count - 1), _MIN_PITCH) if room - 2 < need * (count - 1) else need, (0, 1)


def _heads(
    names: list[str], count: int, named: bool, pitch: int
) -> tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]:
    """Return what stands above the lifelines, and the key where that is letters."""
    rest = len(names) - count
    room = max(pitch - 1, 3)
    if named:
        heads = [_split_name(name, room) for name in names[:count]]
        if rest:
            heads[-1] = (fit(f"{rest + 1} others", room),)
        return tuple(heads), ()
    key = [f"{_LETTERS[min(i, count - 1)]} {name}" for i, name in enumerate(names)]
    return tuple((letter,) for letter in _LETTERS[:count]), tuple(key)


def _split_name(name: str, room: int) -> tuple[str, ...]:
    """Return a name in one line, or address and port in two where one has no room."""
    if cells(name) <= room:
        return (name,)
    host, colon, port = name.rpartition(":")
    if colon and host and port.isdigit():
        return fit_middle(host, room), fit(colon + port, room)
    return (fit_middle(name, room),)


def _title(arrow: Arrow) -> str:
    """Return the label with its marks."""
    notes = _notes(arrow)
    return f"{_label(arrow)} ({notes})" if notes else _label(arrow)


def _label(arrow: Arrow) -> str:
    return safe_line(arrow.label, 100)


def _notes(arrow: Arrow) -> str:
    return safe_line(", ".join(arrow.notes), 100)


def _head(out: _Page, ladder: Ladder, utc: bool) -> None:
    """Write what became of each call, the key, and the names above the lifelines."""
    layout = out.layout
    for leg in ladder.legs:
        _leg_line(out, leg, len(ladder.legs) > 1)
    days = f"{day(ladder.arrows[0].ts, utc)} {zone(ladder, utc)}"
    out.words([(days, _DIM)])
    out.words([])
    line: list[tuple[str, str]] = []
    for entry in layout.key:
        if line and sum(cells(t) for t, _ in line) + cells(entry) + 3 > layout.width:
            out.words(line)
            line = []
        line.append((entry + "   ", _DIM))
    if line:
        out.words(line)
    for number in range(max(len(head) for head in layout.heads)):
        _names_row(out, number)
    out.row([])


def _names_row(out: _Page, number: int) -> None:
    """Write one line of the names, each centred on its lifeline as far as its neighbours allow."""
    layout = out.layout
    heads = [lines[number] if number < len(lines) else "" for lines in layout.heads]
    gap = 1 if layout.pitch > _MIN_PITCH else 0
    starts, edge = [], 0
    for at, head in zip(layout.x, heads, strict=True):
        starts.append(max(edge, at - cells(head) // 2))
        edge = starts[-1] + cells(head) + gap
    edge = layout.width
    for i in reversed(range(len(heads))):  # what was pushed over the right edge pushes back
        starts[i] = max(min(starts[i], edge - cells(heads[i])), 0)
        edge = starts[i] - gap
    row = [(start, head, _BOLD) for start, head in zip(starts, heads, strict=True) if head]
    out.row(row, base=" " * layout.width)


def _leg_line(out: _Page, leg: Leg, several: bool) -> None:
    """Write a call in one line, or two where one is not wide enough."""
    mark = [("● ", _LEGS[leg.index % len(_LEGS)])] if several else []
    call_id = safe_line(leg.call_id) or "(no Call-ID)"
    status = leg.status or 0
    outcome = "31" if status >= 400 else "32" if 200 <= status < 300 else "33"
    rest = "  ".join(figures_of(leg))
    people = safe_line(people_of(leg), 80)
    result = safe_line(outcome_of(leg), 80)
    width = out.layout.width - 2 * several
    taken = cells(people) + cells(result) + 4
    if taken + cells(call_id) + 2 + len(rest) <= width:
        out.words([*mark, (call_id, _BOLD), (f"  {people}  ", ""), (result, outcome), (f"  {rest}", _DIM)])
        return
    indent = "  " * several
    out.words([*mark, (fit_middle(call_id, width), _BOLD)])
    if taken + len(rest) <= width:
        out.words([(f"{indent}{people}  ", ""), (result, outcome), (f"  {rest}", _DIM)])
        return
    out.words([(f"{indent}{people}  ", ""), (result, outcome)])
    out.words([(indent + rest, _DIM)])


def _arrow(out: _Page, ladder: Ladder, arrow: Arrow, utc: bool) -> None:
    """Write one message: its arrow, and what stands above and below it."""
    layout = out.layout
    a, b = (layout.x[layout.column[host]] for host in (arrow.src, arrow.dst))
    label, below = _title(arrow), media_of(arrow)
    if layout.shared(arrow.src) or layout.shared(arrow.dst):
        ends = " → ".join(safe_line(ladder.hosts[h].name, 60) for h in (arrow.src, arrow.dst))
        label = f"{label}  {ends}"
    elif cells(label) + 6 > abs(a - b) - 1 >= cells(_label(arrow)) + 6:
        label, below = _label(arrow), [_notes(arrow), *below]
    line, text = _colors(ladder, arrow)
    margin = _margin(layout, arrow, utc)
    if a == b:
        _loop(out, a, label, margin, (line, text))
    else:
        _straight(out, (a, b), arrow, label, margin, (line, text))
    for words in below:
        out.row([_placed(layout, min(a, b) + 3, safe_line(words), _DIM)])


def _colors(ladder: Ladder, arrow: Arrow) -> tuple[str, str]:
    """Return the colours of line and label: by outcome, and by call where there are several."""
    outcome = _OUTCOME["failure" if arrow.malformed else arrow.outcome]
    line = _LEGS[arrow.leg % len(_LEGS)] if len(ladder.legs) > 1 else outcome
    text = outcome if len(ladder.legs) == 1 or arrow.outcome == "failure" else line
    return (f"{_DIM};{line}", f"{_DIM};{text}") if arrow.faint else (line, text)


def _margin(layout: _Layout, arrow: Arrow, utc: bool) -> list[tuple[int, str, str]]:
    """Return number, time and difference."""
    text = f"{arrow.index + 1:>{layout.number}} {clock(arrow.ts, utc):<12}"
    if layout.delta:
        text += f" {delta(arrow.delta):>{layout.delta}}"
    return [(0, text, _DIM)]


def _placed(layout: _Layout, start: int, text: str, code: str) -> tuple[int, str, str]:
    """Return a text at `start`, or further left where it would leave the page; cut if it must be."""
    start = max(layout.left, min(start, layout.width - cells(text)))
    return start, fit(text, layout.width - start), code


def _straight(
    out: _Page,
    ends: tuple[int, int],
    arrow: Arrow,
    label: str,
    margin: list[tuple[int, str, str]],
    colors: tuple[str, str],
) -> None:
    """Draw an arrow between two lifelines; its label stands in it, or above where it has no room."""
    layout = out.layout
    left, right = min(ends), max(ends)
    room = right - left - 1
    stroke = "─" if arrow.is_request else "╌"
    shaft = [("┼" if layout.plain[at] == "│" else stroke) for at in range(left + 1, right)]
    if ends[0] < ends[1]:
        shaft[-1] = ">"
    else:
        shaft[0] = "<"
    body = "".join(shaft)
    if cells(label) + 6 <= room:
        start = left + 1 + (room - cells(label)) // 2
        before = body[: start - left - 2]
        after = body[start - left + cells(label) :]
        out.row(
            [
                *margin,
                (left + 1, before, colors[0]),
                (start - 1, f" {label} ", colors[1]),
                (right - len(after), after, colors[0]),
            ]
        )
        return
    above = _placed(layout, left + 2, label, colors[1])
    out.row([*margin, above])
    out.row([(left + 1, body, colors[0])])


def _loop(
    out: _Page, at: int, label: str, margin: list[tuple[int, str, str]], colors: tuple[str, str]
) -> None:
    """Draw a message from a host to itself."""
    room = out.layout.width - at - 5
    if room >= min(cells(label), 12):
        out.row([*margin, (at + 1, "──┐", colors[0]), (at + 5, fit(label, room), colors[1])])
        out.row([(at + 1, "<─┘", colors[0])])
        return
    # no room at the right edge: the label above, and the loop as wide as there is room
    out.row([*margin, _placed(out.layout, at + 1, label, colors[1])])
    loop = "─┐"[: out.layout.width - at - 1], "<┘"[: out.layout.width - at - 1]
    out.row([(at + 1, loop[0], colors[0])])
    out.row([(at + 1, loop[1], colors[0])])


def _message(out: _Page, arrow: Arrow, utc: bool) -> None:
    """Write one message as captured."""
    path = f"{arrow.src_text} → {arrow.dst_text}"
    what = f"{arrow.transport or ''} {len(arrow.payload)} octets".strip()
    out.lines.append("")
    out.words([(safe_line(f"#{arrow.index + 1}  {clock(arrow.ts, utc)}  {path}  {what}"), _BOLD)])
    out.lines.extend(safe_block(arrow.payload))
