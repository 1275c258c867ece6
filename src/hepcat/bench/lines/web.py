"""The page and the API on a lake of 20 million messages: what one person waits, and fifty at once.

First nobody else is there, and a Chromium looks at the last hour, at what is typed into the box, at a call
of 500 messages: cold (the server has just begun, and the kernel has forgotten the lake's files) and warm (the
server has been there for some seconds). To the browser the page is new each time, and no search is asked
twice: the server shares the answers of equal ones. Then 50 people search (hepcat.bench.people says how people
do) while 20,000 messages a second come in and are stored, from before they begin until after they end.
"""

import json
import secrets
import signal
import statistics
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from hepcat.bench.browser import Chromium
from hepcat.bench.growing import DAY, Growing, forget_lake, lake_of
from hepcat.bench.long_call import long_call
from hepcat.bench.measure import Context, Row, Skipped
from hepcat.bench.people import KINDS, Connection, query_of
from hepcat.bench.processes import Child, hepcat, own_cpu, young_cpu
from hepcat.bench.server import Server, forget_files

NAME = "the page and many people"

_CONFIG: Final = "[web]\nopen_metrics = true\n"
_PEOPLE: Final = 50
_RATE: Final = 20_000
_THINK: Final = (1.0, 5.0)
_HOUR: Final = DAY // 24
_MESSAGES: Final = 500
_LONG: Final = "bench-500-messages@hepcat"
#: Servers begun for what is cold; pages opened and queries typed, one after another, for what is warm.
_COLD: Final = 3
_WARM: Final = 10
#: Seconds after which a server counts as warm.
_SETTLED: Final = 8.0
#: Numbers, callers and Call-IDs that are typed, of as many calls.
_TYPED: Final = 3
_FIRST_ROW: Final = 0.5
_DRAWN: Final = 0.2
_P95: Final = 2.0


def measure(context: Context) -> list[Row]:
    """Look alone, then with many."""
    rows = 5_000_000 if context.quick else 20_000_000
    lake = lake_of(context, rows)
    if not lake.rows:
        context.say(f"  filling a lake of {rows:,} messages")
        lake.grow(rows)
        lake.merge()
    lake.add(long_call(_LONG, lake.until, _MESSAGES))
    before = lake.rows + _MESSAGES
    forget_lake(context)  # what comes in now is of another time, and the server's end removes it
    found, fields = _look(context, lake)
    with Server(lake.data.parent, _CONFIG) as server:
        return [*found, *_many(context, server, fields, before)]


# -- one person


class _Hour:
    """The last hour of the lake. Each time it is asked for it is a microsecond longer: another search."""

    def __init__(self, until: int) -> None:
        self.since, self.until = until - _HOUR, until

    def address(self) -> str:
        """Return what stands in the page's address."""
        self.until += 1
        return urlencode({"since": self.since, "until": self.until})


def _look(context: Context, lake: Growing) -> tuple[list[Row], str]:
    """Measure in the browser; return also which columns the page asks for."""
    work, hour = lake.data.parent, _Hour(lake.until)
    many = f"the last hour among {lake.rows // 1_000_000} million messages"
    try:
        with Chromium() as chromium:
            cold = [_cold_page(chromium, work, hour) for _ in range(_COLD)]
            context.say(f"  the last hour, cold: {_list(cold)}")
            with Server(work, _CONFIG, keep=True) as server:
                time.sleep(_SETTLED)
                warm = _pages(context, chromium, _url(server), hour)
                typed = _typed(context, chromium, _url(server), hour)
                ladder = _ladder_rows(context, chromium, _url(server))
    except Skipped as reason:
        return [Row("the page in Chromium", f"skipped: {reason}")], ""
    rows = [
        _seen(f"page opened: {many}, navigation to the first row drawn", warm, _FIRST_ROW),
        _seen("the same, cold: a server just begun, its files not in memory", cold, None),
        _seen(f"query typed: {many}, Enter to the first row drawn", _all(typed), _FIRST_ROW, _kinds(typed)),
        *ladder,
    ]
    return rows, chromium.asked["/api/calls"].get("fields", "")


def _cold_page(chromium: Chromium, work: Path, hour: _Hour) -> float:
    """Begin a server on files that the kernel has forgotten; open the page at once."""
    forget_files(work)
    with Server(work, _CONFIG, keep=True) as server:
        page, seconds = chromium.first(f"{_url(server)}/?{hour.address()}")
        page.context.close()
    return seconds


def _pages(context: Context, chromium: Chromium, url: str, hour: _Hour) -> list[float]:
    """Open the page again and again, each time in a browser that never saw it."""
    opened = []
    for _ in range(_WARM):
        page, seconds = chromium.first(f"{url}/?{hour.address()}")
        opened.append(seconds)
        page.context.close()
    context.say(f"  the last hour, from navigation: {_list(opened)}")
    return opened


def _typed(context: Context, chromium: Chromium, url: str, hour: _Hour) -> dict[str, list[float]]:
    """Type queries, one after another, in a page that stays open; return seconds by kind."""
    connection = Connection(url)
    asked = {"since": hour.since, "until": hour.until, "q": "method:INVITE"}
    known = connection.get("/api/calls", {**asked, "limit": 1000, "fields": "call_id,from_user,to_user"})[1]
    connection.close()
    calls = known["calls"][:: len(known["calls"]) // _TYPED][:_TYPED]
    page, _ = chromium.first(f"{url}/?{hour.address()}")
    typed = {"method": [chromium.search(page, "method:INVITE")]}
    for call in calls:
        for kind in KINDS:
            query = query_of(kind, call)
            if query and (kind != "status" or kind not in typed):
                typed.setdefault(kind, []).append(chromium.search(page, query))
    page.context.close()
    context.say("  a query, from Enter: " + "; ".join(f"{kind} {_list(t)}" for kind, t in typed.items()))
    return typed


def _ladder_rows(context: Context, chromium: Chromium, url: str) -> list[Row]:
    whole, drawn, script = [], [], []
    for _ in range(_WARM):
        page, seconds = chromium.first(f"{url}/call?{urlencode({'id': _LONG})}")
        drawing = chromium.drawing(page)
        page.context.close()
        whole.append(seconds)
        drawn.append(drawing[0])
        script.append(drawing[1])
    context.say(f"  ladder of {_MESSAGES} messages: drawn {_list(drawn)}, from navigation {_list(whole)}")
    said = f"of that making the picture's elements: {statistics.median(script):.3f} s"
    return [
        _seen(f"ladder of a call of {_MESSAGES} messages: its JSON there, to drawn", drawn, _DRAWN, said),
        _seen("the same from navigation: page, API, findings, drawing", whole, None),
    ]


def _seen(what: str, seconds: Sequence[float], limit: float | None, compared: str = "") -> Row:
    """The worst counts."""
    median, worst = statistics.median(seconds), max(seconds)
    return Row(
        what,
        f"{median:.3f} s (worst of {len(seconds)}: {worst:.3f})",
        f"at most {limit} s" if limit else "",
        compared,
        None if limit is None else worst <= limit,
        median,
        {"seconds": list(seconds)},
    )


def _all(typed: dict[str, list[float]]) -> list[float]:
    return [one for times in typed.values() for one in times]


def _kinds(typed: dict[str, list[float]]) -> str:
    return ", ".join(f"{kind} {max(times):.3f}" for kind, times in typed.items())


def _list(seconds: Sequence[float]) -> str:
    return " ".join(f"{one:.3f}" for one in seconds)


def _url(server: Server) -> str:
    return f"http://127.0.0.1:{server.http}"


# -- many people


@dataclass(slots=True)
class Storm:
    """What happened while people searched and messages came in. cores: how many each process kept busy."""

    told: dict[str, Any]
    sent: dict[str, Any]
    counts: dict[str, int]
    cores: dict[str, float]


def _many(context: Context, server: Server, fields: str, before: int) -> list[Row]:
    context.say(f"  making {_PEOPLE} accounts")
    (server.work / "people.json").write_text(json.dumps(_accounts(server)))
    seconds = 15.0 if context.quick else 60.0
    thinking = _storm(context, server, seconds, _THINK, fields, 0)
    closed = _storm(context, server, seconds / 2, (0.0, 0.0), fields, thinking.counts["received"])
    found = server.found() - before
    sent = thinking.sent["messages"] + closed.sent["messages"]
    received, stored = closed.counts["received"], closed.counts["stored"]
    calls = thinking.told["calls"]
    well = not thinking.told["failed"] and not thinking.told["empty"]
    return [
        Row(
            f"{_PEOPLE} people search, 1 to 5 s apart, while {_RATE:,} messages a second are stored",
            _times(thinking),
            f"p95 at most {_P95:g} s",
            _work(thinking),
            calls["p95"] <= _P95 and well and _kept_up(thinking),
            calls["p95"],
            {"people": thinking.told, "sent": thinking.sent, "counts": thinking.counts},
        ),
        Row(
            f"the same {_PEOPLE} people without a pause (closed loop)",
            _times(closed),
            "",
            _work(closed),
            None,
            closed.told["calls"]["p95"],
            {"people": closed.told, "sent": closed.sent},
        ),
        Row(
            "what was stored during both",
            f"{thinking.sent['rate']:,.0f} and {closed.sent['rate']:,.0f} a second; sent {sent:,}, "
            f"received {received:,}, stored {stored:,}, found {found:,}",
            "nothing lost",
            "" if _kept_up(thinking) and _kept_up(closed) else "the generator fell behind",
            sent == received == stored == found,
            thinking.sent["rate"],
            closed.counts,
        ),
    ]


def _storm(
    context: Context, server: Server, seconds: float, think: tuple[float, float], fields: str, received: int
) -> Storm:
    """Let them search, and messages come in all the while. received: how many came before."""
    pid = server.child.process.pid
    search = (
        "bench", "people", "--url", _url(server), "--who", str(server.work / "people.json"),
        "--seconds", str(seconds), "--think", str(think[0]), "--think-most", str(think[1]),
        "--fields", fields,
    )  # fmt: skip
    send = (
        "bench", "hep", "--to", server.url, "--rate", str(_RATE), "--seconds", str(10 * seconds + 600),
        "--calls", "1000", "--json",
    )  # fmt: skip
    with Child(*send) as sender, Child(*search) as people:

        def busy() -> dict[str, float]:
            return {
                "page": young_cpu(pid), "server": own_cpu(pid),
                "generator": own_cpu(sender.process.pid), "people": own_cpu(people.process.pid),
            }  # fmt: skip

        people.line()  # all are logged in
        begin, before = time.monotonic(), busy()
        time.sleep(seconds)
        length, after = time.monotonic() - begin, busy()
        told = people.line()  # the last answers are there
        sender.process.send_signal(signal.SIGINT)
        sent = sender.line()
    counts = server.settle(received + sent["messages"])
    cores = {name: (after[name] - before[name]) / length for name in after}
    storm = Storm(told, sent, counts, cores)
    context.say(f"  {_times(storm)}; {_work(storm)}; sent {sent['messages']:,}; {json.dumps(told['kinds'])}")
    return storm


def _kept_up(storm: Storm) -> bool:
    return bool(storm.sent["rate"] >= 0.99 * _RATE)


def _times(storm: Storm) -> str:
    calls, bars, pages = storm.told["calls"], storm.told["histogram"], storm.told["pages"]
    failed, empty = storm.told["failed"], storm.told["empty"]
    return (
        f"p50 {calls['p50']:.2f} s, p95 {calls['p95']:.2f} s, most {calls['max']:.2f} s "
        f"of {calls['n']:,} searches (p95 of their histograms {_p95(bars)}, "
        f"of the next 240 rows {_p95(pages)})"
        + (f"; failed: {', '.join(f'{n} x {status}' for status, n in failed.items())}" if failed else "")
        + (f"; {empty} found nothing" if empty else "")
    )


def _p95(found: dict[str, float]) -> str:
    return f"{found['p95']:.2f} s" if found["n"] else "unknown"


def _work(storm: Storm) -> str:
    """The p95 of each kind, the rate, and the cores that each process kept busy."""
    told = storm.told["kinds"].items()
    kinds = ", ".join(f"{kind} {found['p95']:.2f}" for kind, found in told if found["n"])
    cores = ", ".join(f"{name} {n:.2f}" for name, n in storm.cores.items())
    rate = storm.told["searches"] / storm.told["seconds"]
    return f"p95 by kind: {kinds}; {rate:.1f} searches a second; cores busy: {cores}"


def _accounts(server: Server) -> list[tuple[str, str]]:
    """Make an account for each, as an administrator does; return names and passwords."""
    who = [(f"person{number}", secrets.token_urlsafe(16)) for number in range(_PEOPLE)]
    _add(server, *who[0])  # with the first one the file comes into being
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda one: _add(server, *one), who[1:]))
    time.sleep(0.5)
    return who


def _add(server: Server, name: str, password: str) -> None:
    done = subprocess.run(
        hepcat("user", "add", name, "--role", "viewer", "--password-file", "-", "--data", str(server.data)),
        input=password + "\n",
        capture_output=True,
        text=True,
        timeout=60,
    )
    if done.returncode:
        raise RuntimeError(f"hepcat user add: {done.stderr.strip()[-300:]}")
