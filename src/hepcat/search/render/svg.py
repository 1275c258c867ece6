"""The ladder as a stand-alone SVG document: a page, a notebook, a mail.

In: a Ladder. Out: well-formed XML without script, link or outside resource; light and dark follow the
reader's setting; hovering over a message shows its details. What can go wrong: nothing; every text from
a message is made safe (render.escape) and then escaped as XML, so no character that XML forbids and no
markup can come through.
"""

from html import escape
from typing import Final

from hepcat.search.ladder import Arrow, Host, Ladder
from hepcat.search.render.escape import ELLIPSIS, cells, fit, fit_middle, safe_line
from hepcat.search.render.svg_style import LEG_COLORS, STYLE
from hepcat.search.render.words import (
    clock,
    day,
    delta,
    figures_of,
    media_of,
    moment,
    outcome_of,
    people_of,
    zone,
)

#: Geometry, in user units (pixels at scale 1).
_EDGE: Final = 28
_LEFT: Final = 214  # where the first lifeline may stand at the earliest
_ROW: Final = 42
_SUB: Final = 15  # height of a line under an arrow
_BOX: Final = 32  # height of a host's box
_PITCH: Final = (150, 330)
#: What media may ask for, by the number of hosts; longer lines are cut at the next lifeline ...
_MEDIA_PITCH: Final = {2: 480, 3: 400, 4: 330}
_MEDIA_PITCH_MANY: Final = 230
#: ... unless they would say next to nothing then.
_LEAST_UNDER: Final = 240
_HEAD: Final = 7  # length of an arrow's head
_LOOP: Final = 38
#: Widths of a cell of text: sans 13, 12 and 11, sans bold 13.
_WIDE_13, _WIDE_12, _WIDE_11, _WIDE_BOLD = 7.0, 6.6, 6.0, 7.6
#: Media are capitals and digits mostly.
_WIDE_MEDIA: Final = 6.5
#: With more messages than this, the names stand below the picture too.
_REPEAT_FROM: Final = 25


def render_svg(ladder: Ladder, *, utc: bool = True) -> str:
    """Return the document; it ends in a line end."""
    return _Picture(ladder, utc).draw()


def _text(value: str) -> str:
    """Escape a safe text for XML content and attributes."""
    return escape(value, quote=True)


class _Picture:
    """One drawing: geometry first, then rows from top to bottom."""

    def __init__(self, ladder: Ladder, utc: bool) -> None:
        self.ladder, self.utc = ladder, utc
        self.several = len(ladder.legs) > 1
        self.names = [safe_line(host.name, 60) for host in ladder.hosts]
        self.pitch = self._pitch()
        first = self.names[0] if self.names else ""
        self.x0 = max(_LEFT, int(_EDGE + 130 + self._box_width(first) / 2))
        self.out: list[str] = []
        self.y = 0.0
        last = self.x0 + self.pitch * max(len(self.names) - 1, 0)
        self.right = last + (self._box_width(self.names[-1]) / 2 if self.names else 0)

    def draw(self) -> str:
        """Return the document."""
        self._calls()
        top = self.y
        rows = self._rows(top + _BOX + 14)
        bottom = self.y + 10
        boxes = self._hosts(top)
        if len(self.ladder.arrows) > _REPEAT_FROM:
            boxes += self._hosts(bottom)
            self.y = bottom + _BOX
        lines = [
            f'<line class="life" x1="{self._x(i)}" y1="{top + _BOX}" x2="{self._x(i)}" y2="{bottom}"/>'
            for i in range(len(self.names))
        ]
        width, height = round(self.right + _EDGE), round(self.y + _EDGE)
        title = f"SIP call flow, {len(self.ladder.arrows)} messages between {len(self.names)} hosts"
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" class="hepcat" role="img" aria-label="{title}"'
                f' width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
                ' style="max-width:100%;height:auto">',
                f"<style>{STYLE}</style>",
                f'<rect class="page" width="{width}" height="{height}" rx="10"/>',
                *self.out,
                *lines,
                *boxes,
                *rows,
                "</svg>\n",
            ]
        )

    def _x(self, host: int) -> int:
        return self.x0 + host * self.pitch

    @staticmethod
    def _box_width(name: str) -> float:
        return cells(name) * _WIDE_BOLD + 28

    def _pitch(self) -> int:
        """Return the distance of lifelines: as much as the labels and names ask for, within bounds."""
        most = _MEDIA_PITCH.get(len(self.names), _MEDIA_PITCH_MANY)
        wish = 0.0
        need = max([float(_PITCH[0]), *(self._box_width(name) + 18 for name in self.names)])
        for arrow in self.ladder.arrows:
            span = abs(arrow.src - arrow.dst)
            if span:
                need = max(need, (cells(safe_line(arrow.label, 80)) * _WIDE_13 + 36) / span)
                longest = max((cells(m) for m in media_of(arrow)), default=0)
                wish = max(wish, min((longest * _WIDE_MEDIA + 24) / span, most))
        return int(max(min(need, _PITCH[1]), wish))

    def _put(self, x: float, y: float, kind: str, text: str) -> None:
        """Add a safe text to the head of the picture."""
        self.out.append(f'<text class="{kind}" x="{x:g}" y="{y:g}">{_text(text)}</text>')

    def _calls(self) -> None:
        """Write what became of each call."""
        self.y = _EDGE + 12
        for leg in self.ladder.legs:
            x = float(_EDGE)
            if self.several:
                color = leg.index % len(LEG_COLORS)
                self.out.append(f'<circle class="dot l{color}" cx="{x + 5:g}" cy="{self.y - 5:g}" r="5"/>')
                x += 20
            self._put(x, self.y, "call", fit_middle(safe_line(leg.call_id, 200) or "(no Call-ID)", 76))
            status = leg.status or 0
            outcome = "failure" if status >= 400 else "success" if 200 <= status < 300 else "provisional"
            people, result = safe_line(people_of(leg), 70), safe_line(outcome_of(leg), 70)
            figures = _text(" · ".join(figures_of(leg)))
            self.y += 19
            self.out.append(
                f'<text class="sub" x="{x:g}" y="{self.y:g}">{_text(people)} · '
                f'<tspan class="o-{outcome}">{_text(result)}</tspan> · {figures}</text>'
            )
            self._reach(x + cells(f"{people} · {result} · {figures}") * _WIDE_12)
            self._reach(x + min(cells(safe_line(leg.call_id, 200)), 76) * _WIDE_BOLD)
            self.y += 25
        if self.ladder.arrows:
            days = f"{day(self.ladder.arrows[0].ts, self.utc)} {zone(self.ladder, self.utc)}"
            self._put(_EDGE, self.y + _BOX / 2 + 9, "sub", days)

    def _reach(self, x: float) -> None:
        """Make the picture wide enough for something that ends at x."""
        self.right = max(self.right, x)

    def _hosts(self, y: float) -> list[str]:
        """Return the boxes with the names."""
        out = []
        for i, (host, name) in enumerate(zip(self.ladder.hosts, self.names, strict=True)):
            shown = (
                fit_middle(name, int((self.pitch - 28 - 10) / _WIDE_BOLD)) if len(self.names) > 1 else name
            )
            width = self._box_width(shown)
            x = self._x(i)
            out.append(
                f'<g class="host"><title>{_text(_host_title(host))}</title>'
                f'<rect x="{x - width / 2:g}" y="{y:g}" width="{width:g}" height="{_BOX}" rx="7"/>'
                f'<text x="{x}" y="{y + 21:g}">{_text(shown)}</text></g>'
            )
        return out

    def _rows(self, top: float) -> list[str]:
        """Return the messages, from `top` down; leaves y below the last."""
        rows: list[str] = []
        self.y = top
        today = day(self.ladder.arrows[0].ts, self.utc) if self.ladder.arrows else ""
        for arrow in self.ladder.arrows:
            date = day(arrow.ts, self.utc)
            if date != today:
                today = date
                rows.append(f'<text class="sub" x="{_EDGE + 28}" y="{self.y + 21:g}">{date}</text>')
                self.y += 22
            below = _below(arrow)
            height = _ROW + max(len(below) * _SUB - 4, 0)
            rows.append(self._arrow(arrow, self.y, height, below))
            self.y += height
        return rows

    def _arrow(self, arrow: Arrow, y: float, height: float, below: list[str]) -> str:
        """Return one message as a group with its hover text."""
        color = f"l{arrow.leg % len(LEG_COLORS)}" if self.several else f"o-{arrow.outcome}"
        kinds = ["m", color]
        if not arrow.is_request:
            kinds.append("re")
        if arrow.faint:
            kinds.append("faint")
        line = y + 28
        left = min(self._x(arrow.src), self._x(arrow.dst))
        text_kind = "label" + (" o-failure" if arrow.outcome == "failure" or arrow.malformed else "")
        draw = self._loop if arrow.src == arrow.dst else self._straight
        parts = [
            f'<g class="{" ".join(kinds)}"><title>{_text(_arrow_title(arrow, self.utc))}</title>',
            f'<rect class="hit" x="{_EDGE - 8}" y="{y + 4:g}" width="{self._x(len(self.names) - 1)}"'
            f' height="{height:g}" rx="4"/>',
            f'<text class="n" x="{_EDGE + 18}" y="{line + 4:g}">{arrow.index + 1}</text>',
            f'<text class="t" x="{_EDGE + 28}" y="{line + 4:g}">{clock(arrow.ts, self.utc)}</text>',
            f'<text class="d" x="{_EDGE + 28}" y="{line + 17:g}">{delta(arrow.delta)}</text>',
            draw(arrow, line, text_kind),
        ]
        offset = _LOOP + 12 if arrow.src == arrow.dst else 12
        room = max(abs(self._x(arrow.src) - self._x(arrow.dst)) - 20, _LEAST_UNDER)
        for i, line_of_text in enumerate(below):
            words = line_of_text if arrow.src == arrow.dst else fit(line_of_text, int(room / _WIDE_MEDIA))
            parts.append(
                f'<text class="s" x="{left + offset}" y="{line + 15 + i * _SUB:g}">{_text(words)}</text>'
            )
            self._reach(left + offset + cells(words) * _WIDE_11)
        return "".join(parts) + "</g>"

    def _straight(self, arrow: Arrow, y: float, kind: str) -> str:
        a, b = self._x(arrow.src), self._x(arrow.dst)
        way = 1 if b > a else -1
        label = fit(safe_line(arrow.label, 200), int((abs(b - a) - 20) / _WIDE_13))
        return (
            f'<line class="w" x1="{a}" y1="{y:g}" x2="{b - way * _HEAD}" y2="{y:g}"/>'
            f'<path class="h" d="M{b - way} {y:g}l{-way * _HEAD * 1.4:g} -4.5v9z"/>'
            f'<text class="{kind}" text-anchor="middle" x="{(a + b) / 2:g}" y="{y - 7:g}">'
            f"{_text(label)}</text>"
        )

    def _loop(self, arrow: Arrow, y: float, kind: str) -> str:
        x = self._x(arrow.src)
        label = safe_line(arrow.label, 60)
        self._reach(x + _LOOP + 12 + cells(label) * _WIDE_13)
        return (
            f'<path class="w" d="M{x} {y - 8:g}h{_LOOP}v14h{_HEAD - _LOOP}"/>'
            f'<path class="h" d="M{x + 1} {y + 6:g}l{_HEAD * 1.4:g} -4.5v9z"/>'
            f'<text class="{kind}" x="{x + _LOOP + 10}" y="{y:g}">{_text(label)}</text>'
        )


def _below(arrow: Arrow) -> list[str]:
    """Return the lines under an arrow: its marks, its media."""
    lines = [safe_line(", ".join(arrow.notes), 90)] if arrow.notes else []
    return lines + [safe_line(media, 90) for media in media_of(arrow)]


def _host_title(host: Host) -> str:
    shown = [safe_line(e, 60) for e in host.endpoints[:20]]
    if len(host.endpoints) > len(shown):
        shown.append(ELLIPSIS)
    return "\n".join(shown)


def _arrow_title(arrow: Arrow, utc: bool) -> str:
    """Return the details that hovering shows."""
    at = moment(arrow.ts, utc)
    lines = [
        f"#{arrow.index + 1}  {at.isoformat(' ', 'microseconds') if at else arrow.ts}",
        f"{arrow.src_text} → {arrow.dst_text}  {arrow.transport or ''}",
        f"{arrow.label}  {arrow.ruri or ''}",
        f"CSeq {arrow.cseq or '?'}, {len(arrow.payload)} octets",
        *arrow.notes,
        *((m.summary for m in arrow.sdp.media[:4]) if arrow.sdp else ()),
    ]
    if arrow.user_agent:
        lines.append(arrow.user_agent)
    return "\n".join(safe_line(line.strip(), 160) for line in lines)
