"""The answers of a running hepcat as text: columns that can be read under pressure.

In: answers of the control methods. Out: lines, safe in a terminal and no wider than it. What can go wrong:
an answer of another version lacks something: then it is not shown.
"""

import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from hepcat.batch.drops import DROP_DOCS
from hepcat.search.render.escape import fit, safe_line, safe_text

_HEP: Final = ("udp://", "tcp://", "tls://")
_DROP_DOCS: Final = {drop.name.lower(): doc for drop, doc in DROP_DOCS.items()}
#: Home, and all below it cleared; each line clears its own rest, so that nothing flickers.
_HOME: Final = "\x1b[H"
_REST_OF_LINE: Final = "\x1b[K"
_REST_OF_SCREEN: Final = "\x1b[J"

Values = Mapping[str, Any]


def switch_lines(result: Values) -> list[str]:
    """`on` or `off`, and what is not as that says."""
    lines = [_word(result["on"])]
    sources = result.get("sources", {})
    if "source" in result:
        if not result["on"] and not result["capture"]:
            lines.append("capture as a whole is off: `hepcat ctl capture on` switches it on")
        return lines
    if result["on"]:
        lines += [f"but {safe_line(url)} is off" for url, on in sources.items() if not on]
    return lines


def status_lines(result: Values) -> list[str]:
    """A line a value; a list takes a line each."""
    rows: list[tuple[str, str]] = []
    for name, value in result.items():
        label = name.replace("_", " ")
        if isinstance(value, Mapping):
            value = [f"{key}: {_plain(inner)}" for key, inner in value.items()]
        values = value if isinstance(value, list) else [_word(value) if name == "capture" else _plain(value)]
        rows += [(label if not at else "", safe_line(str(text))) for at, text in enumerate(values)]
    width = max((len(label) for label, _ in rows), default=0)
    return [f"{label:<{width}}  {text}" for label, text in rows if text]


def reload_lines(result: Values) -> list[str]:
    """That it is in force, and what of it is not."""
    return ["the configuration is in force", *(f"but {safe_line(note)}" for note in result.get("notes", []))]


def agents_lines(agents: Sequence[Values], now: float) -> list[str]:
    """A line an agent, that which was silent longest last. now: seconds since the epoch."""
    rows = [
        [
            "" if agent["node_id"] is None else str(agent["node_id"]),
            safe_line(str(agent["node_name"])),
            f"{agent['messages']:,}",
            f"{_ago(now - agent['last_seen'] / 1e6)} ago",
        ]
        for agent in sorted(agents, key=lambda agent: -agent["last_seen"])
    ]
    return _columns(["node id", "name", "messages", "last seen"], rows, left=(1,)) or ["no agent was seen"]


def _ago(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0.0):.0f} s"


class Screen:
    """Shows counters once, or again and again in the same place."""

    def __init__(self, status: Values, watch: bool) -> None:
        self._title = f"hepcat {status.get('version', '?')}, process {status.get('pid', '?')}"
        self._again = watch and sys.stdout.isatty()
        self._apart = watch and not self._again

    def show(self, now: dict[str, Any], before: dict[str, Any] | None, seconds: float) -> None:
        """Write the counters; before, seconds: those before, and how long ago they were."""
        lines = stats_lines(now, before, seconds, self._title)
        if sys.stdout.isatty():
            width, height = shutil.get_terminal_size()
            lines = [fit(line, width) for line in lines]
            if self._again:
                lines = lines[: height - 1]
        if self._again:
            text = _HOME + "".join(f"{line}{_REST_OF_LINE}\n" for line in lines) + _REST_OF_SCREEN
        else:
            text = "".join(f"{line}\n" for line in lines) + ("\n" if self._apart else "")
        sys.stdout.write(text)
        sys.stdout.flush()


def stats_lines(now: Values, before: Values | None, seconds: float, title: str) -> list[str]:
    """Return the tables; with rates where there are counters of before."""
    rate = _Rates(now, before, seconds)
    lines = [f"{safe_line(title)}: capture is {_word(now.get('capture', True))}", ""]
    lines += _totals(now, rate)
    for part in (_sources, _stores, _targets, _drops):
        rows = part(now, rate)
        if rows:
            lines += ["", *rows]
    return lines


class _Rates:
    """Rates a second of the counters under a path, "" where there are none."""

    def __init__(self, now: Values, before: Values | None, seconds: float) -> None:
        self._now, self._before, self._seconds = now, before, seconds

    @property
    def known(self) -> bool:
        return self._before is not None

    def __call__(self, *path: str) -> str:
        if self._before is None or self._seconds <= 0:
            return ""
        change = _at(self._now, path) - _at(self._before, path)
        return f"{max(0, change) / self._seconds:,.0f}/s"  # another process counts from 0


def _at(values: Any, path: Sequence[str]) -> int:
    for name in path:
        values = values.get(name, 0) if isinstance(values, Mapping) else 0
    return sum(values.values()) if isinstance(values, Mapping) else values if isinstance(values, int) else 0


def _totals(now: Values, rate: _Rates) -> list[str]:
    total, queue = now.get("total", {}), now.get("queue", {})
    packets = any(not url.startswith(_HEP) for url in now.get("sources", {}))
    rows: list[list[str]] = []
    for name in ("received", "carried", "messages", "stored", "forwarded", "dropped"):
        count = _at(total, (name,))
        # What is counted on the way from packets to messages; where HEP comes in they are the same.
        way = name in ("carried", "messages")
        shown = (
            packets and count not in (0, _at(total, ("received",))) if way else name != "forwarded" or count
        )
        if shown:
            rows.append([name, f"{count:,}", rate("total", name)])
    waiting = f"{_at(total, ('in_flight',)):,}"
    rows.append(["in flight", waiting, f"{_octets(_at(queue, ('octets',)))} queued" if queue else ""])
    return _columns(["", "records", "a second" if rate.known else ""], rows)


def _sources(now: Values, rate: _Rates) -> list[str]:
    rows = [
        [
            safe_line(url),
            _word(counts.get("capture", True)),
            f"{_at(counts, ('received',)):,}",
            rate("sources", url, "received"),
            f"{_at(counts, ('stored',)) + _at(counts, ('forwarded',)):,}",
            f"{_at(counts, ('dropped',)):,}",
            rate("sources", url, "dropped"),
            f"{_at(counts, ('connections',)):,}",
        ]
        for url, counts in now.get("sources", {}).items()
    ]
    return _columns(["source", "capture", "received", "", "kept", "dropped", "", "connections"], rows)


def _stores(now: Values, rate: _Rates) -> list[str]:
    rows, trouble = [], []
    for name, counts in now.get("stores", {}).items():
        database = counts.get("database", {})
        written = ["stores", name, *(("database", "written") if database else ("stored",))]
        waiting = _at(counts, ("queued",)) + _at(database, ("waiting",))
        rows.append(
            [
                safe_line(name),
                f"{_at(now, written):,}",
                rate(*written),
                f"{waiting:,}",
                _octets(_at(database, ("spool_octets",))) if database else "",
                f"{_at(counts, ('dropped',)) + _at(database, ('dropped',)):,}",
                *(f"{_at(database, (key,)):,}" if database else "" for key in ("cut", "replaced")),
            ]
        )
        for said in dict.fromkeys((counts.get("trouble"), database.get("trouble"))):
            if said:
                trouble.append(f"! {safe_line(name)}: {safe_line(str(said))}")
    heads = ["store", "written", "", "waiting", "spool", "dropped", "cut", "replaced"]
    return _columns(heads, rows) + trouble


def _targets(now: Values, rate: _Rates) -> list[str]:
    rows = [
        [
            safe_line(name),
            f"{_at(counts, ('sent',)):,}",
            rate("targets", name, "sent"),
            f"{_at(counts, ('waiting',)):,}",
            f"{_at(counts, ('spooled',)):,}",
            f"{_at(counts, ('dropped',)):,}",
        ]
        for name, counts in now.get("targets", {}).items()
    ]
    return _columns(["target", "sent", "", "waiting", "spooled", "dropped"], rows)


def _drops(now: Values, rate: _Rates) -> list[str]:
    """The reasons, the most frequent first: of the sources, then of what single stores and targets lost."""
    rows = [
        [safe_line(reason), f"{count:,}", rate("total", "dropped", reason), _DROP_DOCS.get(reason, "")]
        for reason, count in _most(now.get("total", {}).get("dropped", {}))
    ]
    for kind in ("stores", "targets"):
        for name, counts in now.get(kind, {}).items():
            own = (kind, name, "database") if "database" in counts else (kind, name)
            lost = counts.get("database", counts).get("dropped", {})
            for reason, count in _most(lost):
                doc = f"{safe_line(name)}: {_DROP_DOCS.get(reason, '')}"
                rows.append([safe_line(reason), f"{count:,}", rate(*own, "dropped", reason), doc])
    return _columns(["dropped", "records", "", "because"], rows, left=(0, 3))


def _most(drops: Mapping[str, int]) -> Iterable[tuple[str, int]]:
    return sorted(drops.items(), key=lambda pair: -pair[1])


def _columns(heads: list[str], rows: list[list[str]], left: tuple[int, ...] = (0,)) -> list[str]:
    """Line up columns; numbers to the right; a column that is empty everywhere is left out."""
    if not rows:
        return []
    shown = [at for at in range(len(heads)) if any(row[at] for row in rows)]
    widths = {at: max(len(row[at]) for row in [heads, *rows]) for at in shown}
    return [
        "  ".join(
            f"{row[at]:<{widths[at]}}" if at in left else f"{row[at]:>{widths[at]}}" for at in shown
        ).rstrip()
        for row in [heads, *rows]
    ]


def _octets(count: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count} B"


def _word(on: Any) -> str:
    return "on" if on else "off"


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else safe_text(str(value))
