"""The counters over the last minutes: what the dashboard draws of capture itself, and the rates of agents.

In: the running server, asked every few seconds by one thread. Out: samples, oldest first, and the agents with
their rates. What can go wrong: nothing; while no server answers there are no new samples, and `why` says so.
"""

import threading
import time
from collections import deque
from typing import Any, Final

from hepcat.errors import HepcatError
from hepcat.web.asking import ServerControl

#: Seconds between two samples, and how many are kept: 20 minutes.
INTERVAL: Final = 5.0
KEPT: Final = 240
#: Seconds over which the rate of an agent is taken.
_RATE_SECONDS: Final = 30.0
#: Agents in an answer.
MAX_AGENTS: Final = 2000

Sample = dict[str, Any]


class Samples:
    """Asks the server while somebody runs the site."""

    def __init__(self, control: ServerControl) -> None:
        self._control = control
        self._samples: deque[Sample] = deque(maxlen=KEPT)
        self._seen: deque[tuple[float, dict[tuple[Any, ...], int]]] = deque(maxlen=KEPT)
        self._agents: list[dict[str, Any]] = []
        self._mutex = threading.Lock()
        self._stopping = threading.Event()
        self.why: str | None = "not asked yet"
        self._thread = threading.Thread(target=self._run, name="samples", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; does not wait for an answer that is under way."""
        self._stopping.set()

    def samples(self) -> list[Sample]:
        """Return them, oldest first."""
        with self._mutex:
            return list(self._samples)

    def agents(self) -> list[dict[str, Any]]:
        """Return the agents as of the last sample: node_id, node_name, messages, last_seen, rate (messages a
        second over the last half minute, None before there are two samples), silent_seconds.
        """
        with self._mutex:
            now = time.time()
            return [
                {**agent, "silent_seconds": round(max(0.0, now - agent["last_seen"] / 1e6), 1)}
                for agent in self._agents[:MAX_AGENTS]
            ]

    def _run(self) -> None:
        while True:
            try:
                stats = self._control.call("stats")
                agents = self._control.call("agents")
            except HepcatError as error:
                self.why = str(error)
            else:
                self._keep(stats, agents)
                self.why = None
            if self._stopping.wait(INTERVAL):
                return

    def _keep(self, stats: dict[str, Any], agents: list[dict[str, Any]]) -> None:
        total = stats["total"]
        sample = {
            "at": time.time_ns() // 1000,
            "capture": stats["capture"],
            **{name: total[name] for name in ("received", "stored", "forwarded", "in_flight", "octets")},
            "dropped": total["dropped"],
            "queue_octets": stats["queue"]["octets"],
        }
        counts = {_key(agent): int(agent["messages"]) for agent in agents}
        with self._mutex:
            if self._samples and self._samples[-1]["received"] > sample["received"]:  # it was started anew
                self._samples.clear()
                self._seen.clear()
            self._samples.append(sample)
            self._seen.append((time.monotonic(), counts))
            self._agents = [{**agent, "rate": self._rate(_key(agent))} for agent in agents]

    def _rate(self, key: tuple[Any, ...]) -> float | None:
        now, counts = self._seen[-1]
        before = next(
            (seen for seen in self._seen if now - seen[0] <= _RATE_SECONDS + INTERVAL / 2), self._seen[-1]
        )
        if before[0] >= now:
            return None
        return round((counts[key] - before[1].get(key, 0)) / (now - before[0]), 2)


def _key(agent: dict[str, Any]) -> tuple[Any, ...]:
    return (agent["node_id"],)
