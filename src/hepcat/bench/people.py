"""Many people at once on the page, as one process: what they ask, when, and how long the answer takes.

In: the page's address, a name and password for each, whom to tell that all are logged in and begin. Out:
seconds of each search, counted by kind. What can go wrong: RuntimeError, where somebody cannot log in or the
lake has no call to ask for; answers that are errors, or empty, are counted, not raised.

The model of a person. Each has an account, a session of their own and two connections that stay open, as a
browser has. They search, wait for the answer, look at it for 1 to 5 seconds (evenly at random), and search
again: never two searches at once. They start spread over that time. What they ask, as the page asks it (60
rows of the table's columns; the histogram of the range as soon as they are there, or after half a second; the
next 240 rows where somebody scrolls on, which is one time in four):

    30 %   the plain last 15 minutes (somebody opens the page)
    20 %   a Call-ID, in the last day
    20 %   a number, in any role (user:), in the last hour
    15 %   a caller (from_user:) in the last hour
    10 %   status:5xx in the last 15 minutes
     5 %   a bare word, which reads the payload of every message of the last hour

Call-IDs, numbers and callers are drawn from the newest 1,000 calls of the last hour. Two who ask the very
same within a second share one search, as on the page: many of the first kind do. Nobody who thinks 0 seconds
exists, but they show what is the most: the closed loop.
"""

import http.client
import json
import random
import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

#: kind -> (share, how far back); the query is made by query_of
KINDS: Final[dict[str, tuple[int, str]]] = {
    "plain": (30, "15m"),
    "call_id": (20, "24h"),
    "number": (20, "1h"),
    "from_user": (15, "1h"),
    "status": (10, "15m"),
    "word": (5, "1h"),
}
#: Calls whose values are asked for.
_DRAWN: Final = 1000
#: Rows that the page asks for first, and next; bars of its histogram, which waits so many seconds for rows.
_ROWS: Final = 60
_NEXT: Final = 240
_BARS: Final = 150
_BARS_AFTER: Final = 0.5
#: How often somebody scrolls on.
_ON: Final = 0.25
_SECONDS: Final = 120.0


@dataclass(slots=True)
class Told:
    """What happened. calls, pages, bars: seconds of each answer, by kind. failed: status -> how often."""

    calls: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    pages: list[float] = field(default_factory=list)
    bars: list[float] = field(default_factory=list)
    empty: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """As JSON takes it: percentiles of all, and of each kind."""
        return {
            "searches": sum(map(len, self.calls.values())),
            "seconds": self.seconds,
            "calls": _spread([one for kind in self.calls.values() for one in kind]),
            "kinds": {kind: _spread(found) for kind, found in self.calls.items()},
            "pages": _spread(self.pages),
            "histogram": _spread(self.bars),
            "empty": self.empty,
            "failed": self.failed,
        }


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    if not seconds:
        return {"n": 0}
    ordered = sorted(seconds)
    return {
        "n": len(ordered),
        "p50": statistics.median(ordered),
        "p95": ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))],
        "max": ordered[-1],
    }


class Connection:
    """One connection of a person, which stays open. Not for several threads."""

    def __init__(self, url: str, cookie: str = "") -> None:
        self._host = urlsplit(url).netloc
        self.cookie = cookie
        self._http = http.client.HTTPConnection(self._host, timeout=_SECONDS)

    def get(self, path: str, parameters: Mapping[str, object]) -> tuple[int, Any]:
        """Return status and JSON of an answer."""
        return self._ask("GET", f"{path}?{urlencode(parameters)}", None)

    def log_in(self, name: str, password: str) -> None:
        """Begin a session. Raises RuntimeError."""
        status, answer = self._ask("POST", "/api/session", json.dumps({"user": name, "password": password}))
        if status != 200 or not self.cookie:
            raise RuntimeError(f"{name} cannot log in: {status} {answer}")

    def _ask(self, method: str, target: str, body: str | None) -> tuple[int, Any]:
        headers = {"Cookie": self.cookie, "Accept": "application/json", "Sec-Fetch-Site": "same-origin"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        for last in (False, True):
            try:
                self._http.request(method, target, body, headers)
                answer = self._http.getresponse()
                octets = answer.read()
                break
            except (http.client.RemoteDisconnected, ConnectionError):
                self._http.close()  # an idle connection, which the server has closed
                if last:
                    return 0, None
        self.cookie = (answer.getheader("Set-Cookie") or self.cookie).partition(";")[0]
        return answer.status, json.loads(octets)

    def close(self) -> None:
        """Hang up."""
        self._http.close()


class Person:
    """Somebody who searches, in two threads: rows, and the histogram beside them."""

    def __init__(self, url: str, seed: int, fields: str) -> None:
        self.rows, self.bars = Connection(url), Connection(url)
        self.random = random.Random(seed)
        self.fields = fields
        self.told = Told()

    def log_in(self, name: str, password: str) -> None:
        """Begin a session, for both connections."""
        self.rows.log_in(name, password)
        self.bars.cookie = self.rows.cookie

    def run(self, known: Sequence[Mapping[str, Any]], end: float, think: tuple[float, float]) -> None:
        """Search and think until `end` (of time.monotonic)."""
        time.sleep(self.random.uniform(0, think[1]))
        while time.monotonic() < end:
            self._search(known)
            time.sleep(self.random.uniform(*think))
        self.rows.close()
        self.bars.close()

    def _search(self, known: Sequence[Mapping[str, Any]]) -> None:
        kind = self.random.choices(list(KINDS), [share for share, _ in KINDS.values()])[0]
        parameters = {"q": query_of(kind, self.random.choice(known)), "since": KINDS[kind][1]}
        there = threading.Event()
        beside = threading.Thread(target=self._count, args=(parameters, there))
        begin = time.perf_counter()
        beside.start()
        answer = self._rows({**parameters, "limit": _ROWS}, self.told.calls[kind], begin)
        there.set()
        if answer is not None:
            self.told.empty += not answer["calls"]
            if answer["next"] and self.random.random() < _ON:
                on = {"q": parameters["q"], "cursor": answer["next"], "limit": _NEXT}
                self._rows(on, self.told.pages, time.perf_counter())
        beside.join()

    def _rows(self, parameters: Mapping[str, object], seconds: list[float], begin: float) -> Any:
        """Ask for rows; return the answer, None where it is an error."""
        status, answer = self.rows.get("/api/calls", {**parameters, "fields": self.fields})
        if status != 200:
            self._failed(status)
            return None
        seconds.append(time.perf_counter() - begin)
        return answer

    def _count(self, parameters: Mapping[str, object], there: threading.Event) -> None:
        there.wait(_BARS_AFTER)
        begin = time.perf_counter()
        status, _ = self.bars.get("/api/histogram", {**parameters, "of": "calls", "buckets": _BARS})
        if status == 200:
            self.told.bars.append(time.perf_counter() - begin)
        else:
            self._failed(status)

    def _failed(self, status: int) -> None:
        name = str(status) if status else "no answer"
        self.told.failed[name] = self.told.failed.get(name, 0) + 1


def query_of(kind: str, call: Mapping[str, Any]) -> str:
    """Return what somebody types who looks for this call."""
    return {
        "plain": "",
        "call_id": f'call_id:"{call["call_id"]}"',
        "number": f'user:"{call["to_user"]}"',
        "from_user": f'from_user:"{call["from_user"]}"',
        "status": "status:5xx",
        "word": f'"{call["to_user"]}"',
    }[kind]


def let_people_search(
    url: str,
    who: Sequence[tuple[str, str]],
    seconds: float,
    think: tuple[float, float],
    fields: str,
    begun: Callable[[], None] = lambda: None,
) -> Told:
    """Let so many people search for so long. who: names and passwords; begun: called when all are there."""
    people = [Person(url, seed, fields) for seed, _ in enumerate(who)]
    for person, (name, password) in zip(people, who, strict=True):
        person.log_in(name, password)
    known = _known(people[0].rows)
    begun()
    begin = time.monotonic()
    threads = [threading.Thread(target=person.run, args=(known, begin + seconds, think)) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = Told(seconds=time.monotonic() - begin)
    for person in people:
        for kind, found in person.told.calls.items():
            told.calls[kind] += found
        told.pages += person.told.pages
        told.bars += person.told.bars
        told.empty += person.told.empty
        for name, count in person.told.failed.items():
            told.failed[name] = told.failed.get(name, 0) + count
    return told


def _known(connection: Connection) -> list[dict[str, Any]]:
    """Return calls of the last hour that somebody may look for."""
    parameters = {"since": "1h", "limit": _DRAWN, "fields": "call_id,from_user,to_user", "q": "method:INVITE"}
    status, answer = connection.get("/api/calls", parameters)
    found = [call for call in answer["calls"] if all(call.values())] if status == 200 else []
    if not found:
        raise RuntimeError(f"no call of the last hour is found: {status}")
    return found
