"""The page and the API on a lake of 20 million messages: what one person waits, and fifty at once.

One `hepcat serve` on the lake that the searching line left, with its page. First nobody else is there, and
a Chromium looks: at the last hour, at what is typed into the box, at a call of 500 messages. Then 50 people
search (hepcat.bench.people says how people do) while 20,000 messages a second come in and are stored.
"""

import json
import secrets
import statistics
import subprocess
import threading
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
from hepcat.bench.processes import hepcat, own_cpu, run_json, young_cpu
from hepcat.bench.server import Server

NAME = "the page and many people"

_CONFIG: Final = "[web]\nopen_metrics = true\n"
_PEOPLE: Final = 50
_RATE: Final = 20_000
_THINK: Final = (1.0, 5.0)
_HOUR: Final = DAY // 24
_MESSAGES: Final = 500
_LONG: Final = "bench-500-messages@hepcat"
#: Pages opened and queries typed, one after another.
_REPEATED: Final = 8
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
    with Server(lake.data.parent, _CONFIG) as server:
        url = f"http://127.0.0.1:{server.http}"
        found, fields = _look(context, url, lake)
        return [*found, *_many(context, server, url, fields, before)]


# -- one person


def _look(context: Context, url: str, lake: Growing) -> tuple[list[Row], str]:
    """Measure in the browser; return also which columns the page asks for."""
    try:
        with Chromium() as chromium:
            return [
                *_search_rows(context, chromium, url, lake),
                *_ladder_rows(context, chromium, url),
            ], chromium.asked["/api/calls"].get("fields", "")
    except Skipped as reason:
        return [Row("the page in Chromium", f"skipped: {reason}")], ""


def _search_rows(context: Context, chromium: Chromium, url: str, lake: Growing) -> list[Row]:
    hour = {"since": lake.until - _HOUR, "until": lake.until}
    opened = []
    for _ in range(_REPEATED):
        page, seconds = chromium.first(f"{url}/?{urlencode(hour)}")
        opened.append(seconds)
        page.context.close()
    context.say(f"  the last hour, from navigation: {_list(opened)}")
    page, _ = chromium.first(f"{url}/?{urlencode(hour)}")
    cells = page.locator(".grid .body .c-from").all_inner_texts()
    users = dict.fromkeys(cell.partition("@")[0].strip() for cell in cells)
    queries = ["method:INVITE", "status:5xx", *(f"from_user:{name}" for name in users if name)]
    typed = [chromium.search(page, query) for query in queries[:_REPEATED]]
    page.context.close()
    context.say(f"  a query, from Enter: {_list(typed)}")
    many = f"{lake.rows // 1_000_000} million messages"
    return [
        _seen(
            f"page opened: the last hour among {many}, navigation to the first row drawn", opened, _FIRST_ROW
        ),
        _seen(f"query typed: the last hour among {many}, Enter to the first row drawn", typed, _FIRST_ROW),
    ]


def _ladder_rows(context: Context, chromium: Chromium, url: str) -> list[Row]:
    drawn, whole = [], []
    for _ in range(_REPEATED):
        page, seconds = chromium.first(f"{url}/call?{urlencode({'id': _LONG})}")
        whole.append(seconds)
        drawn.append(chromium.drawing(page))
        page.context.close()
    context.say(f"  ladder of {_MESSAGES} messages: drawn {_list(drawn)}, from navigation {_list(whole)}")
    return [
        _seen(f"ladder of a call of {_MESSAGES} messages, drawn in the browser", drawn, _DRAWN),
        _seen("the same from navigation to the picture: page, API, findings, drawing", whole, None),
    ]


def _seen(what: str, seconds: Sequence[float], limit: float | None) -> Row:
    """The first is cold: the server's first query, a browser that never saw the page. The worst counts."""
    median, worst = statistics.median(seconds), max(seconds)
    return Row(
        what,
        f"{median:.3f} s (first {seconds[0]:.3f}, worst of {len(seconds)} {worst:.3f})",
        f"at most {limit} s" if limit else "",
        "",
        None if limit is None else worst <= limit,
        median,
        {"seconds": list(seconds)},
    )


def _list(seconds: Sequence[float]) -> str:
    return " ".join(f"{one:.3f}" for one in seconds)


# -- many people


@dataclass(slots=True)
class Storm:
    """What happened while people searched and messages came in."""

    told: dict[str, Any]
    sent: dict[str, Any]
    counts: dict[str, int]
    server_cpu: float
    web_cpu: float


def _many(context: Context, server: Server, url: str, fields: str, before: int) -> list[Row]:
    who = server.work / "people.json"
    context.say(f"  making {_PEOPLE} accounts")
    who.write_text(json.dumps(_accounts(server)))
    seconds = 15.0 if context.quick else 60.0
    thinking = _storm(context, server, url, who, seconds, _THINK, fields, 0)
    closed = _storm(context, server, url, who, seconds / 2, (0.0, 0.0), fields, thinking.counts["received"])
    found = server.found() - before
    sent = thinking.sent["messages"] + closed.sent["messages"]
    received, stored = closed.counts["received"], closed.counts["stored"]
    nothing_lost = sent == received == stored == found
    kept_up = thinking.sent["rate"] >= 0.99 * _RATE
    calls = thinking.told["calls"]
    return [
        Row(
            f"{_PEOPLE} people search, 1 to 5 s apart, while {_RATE:,} messages a second are stored",
            _times(thinking),
            f"p95 at most {_P95:g} s",
            _work(thinking),
            calls["p95"] <= _P95 and not thinking.told["failed"] and kept_up,
            calls["p95"],
            {"people": thinking.told, "sent": thinking.sent, "counts": thinking.counts},
        ),
        Row(
            "what was stored meanwhile",
            f"{thinking.sent['rate']:,.0f} a second; sent {sent:,}, received {received:,}, "
            f"stored {stored:,}, found {found:,}",
            "nothing lost",
            "" if kept_up else "the generator fell behind",
            nothing_lost,
            thinking.sent["rate"],
            closed.counts,
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
    ]


def _storm(
    context: Context,
    server: Server,
    url: str,
    who: Path,
    seconds: float,
    think: tuple[float, float],
    fields: str,
    received: int,
) -> Storm:
    """Let them search, and messages come in all the while. received: how many came before."""
    sent: dict[str, Any] = {}

    def send() -> None:
        sent.update(
            run_json(
                "bench", "hep", "--to", server.url, "--rate", str(_RATE), "--seconds", str(seconds),
                "--calls", "1000", "--json",
            )
        )  # fmt: skip

    pid = server.child.process.pid
    cpu = own_cpu(pid), young_cpu(pid)
    sender = threading.Thread(target=send)
    sender.start()
    told = run_json(
        "bench", "people", "--url", url, "--who", str(who), "--seconds", str(seconds),
        "--think", str(think[0]), "--think-most", str(think[1]), "--fields", fields,
    )  # fmt: skip
    sender.join()
    counts = server.settle(received + sent["messages"])
    storm = Storm(told, sent, counts, own_cpu(pid) - cpu[0], young_cpu(pid) - cpu[1])
    context.say(f"  {_times(storm)}; {_work(storm)}; {json.dumps(told['kinds'])}")
    return storm


def _times(storm: Storm) -> str:
    calls, bars = storm.told["calls"], storm.told["histogram"]
    failed = storm.told["failed"]
    return (
        f"p50 {calls['p50']:.2f} s, p95 {calls['p95']:.2f} s, most {calls['max']:.2f} s "
        f"of {calls['n']:,} searches (the histogram beside each: p95 {bars['p95']:.2f} s)"
        + (f"; failed: {', '.join(f'{n} x {status}' for status, n in failed.items())}" if failed else "")
    )


def _work(storm: Storm) -> str:
    """The rate, and the cores that the two processes kept busy."""
    seconds = storm.told["seconds"]
    return (
        f"{storm.told['searches'] / seconds:.1f} searches a second; cores busy: page "
        f"{storm.web_cpu / seconds:.2f}, server {storm.server_cpu / seconds:.2f}"
    )


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
