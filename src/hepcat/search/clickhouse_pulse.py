"""Pulse: which hosts of a ClickHouse cluster hang: they take connections, and then say nothing.

In: hosts, and whatever waits for an answer in which they have a part. Out: `Hanging`, raised in whoever waits
as soon as one of the hosts is seen to hang; and which are known to. What can go wrong: nothing else.

A server that is asked for all shards waits for one that hangs for minutes, whatever limits a query sets (the
time-outs of its connections to others are its own). So while a search waits, hepcat greets all hosts itself,
at first soon, then every few seconds: one that does not greet back within `silence` seconds hangs. One that
is down is seen by the servers themselves. A host that has never answered here counts as down too: perhaps
only the other servers can reach it.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from hepcat.errors import HepcatError
from hepcat.stores.clickhouse import client as ch
from hepcat.stores.clickhouse.address import Address, Host

#: Seconds that a search waits before the hosts are greeted, and between two greetings.
_FIRST: Final = 0.5
_LATER: Final = 2.0
#: Seconds after which a host that hangs is greeted again.
_AGAIN: Final = 5.0
#: Hosts that are greeted at once, at most.
_AT_ONCE: Final = 32


class Hanging(ch.Away):
    """What was waited for takes a host that hangs."""


class Pulse:
    """What is known of the hosts of one cluster. Threads share it."""

    def __init__(self, address: Address) -> None:
        """Nothing is known yet."""
        self._address = address
        self._lock = threading.Lock()
        self._again: dict[Host, float] = {}  # who hangs -> when to greet it again
        self._answered: set[Host] = set()
        self._greeting = False

    def hanging(self, hosts: Sequence[Host]) -> frozenset[Host]:
        """Return who of these is known to hang. Never waits: greetings go out in a thread of their own."""
        now = time.monotonic()
        with self._lock:
            known = frozenset(hosts) & self._again.keys()
            due = [host for host in known if self._again[host] <= now]
            begin = bool(due) and not self._greeting
            self._greeting = self._greeting or begin
        if begin:
            threading.Thread(target=self._greet_again, args=(due,), name="pulse", daemon=True).start()
        return known

    def note(self, host: Host, hangs: bool) -> None:
        """Note what somebody else saw of a host."""
        with self._lock:
            if hangs:
                self._again[host] = time.monotonic() + _AGAIN
            else:
                self._again.pop(host, None)
                self._answered.add(host)

    def greet(self, hosts: Sequence[Host]) -> frozenset[Host]:
        """Greet all of these at once; return who hangs."""
        with ThreadPoolExecutor(min(max(len(hosts), 1), _AT_ONCE), "pulse") as pool:
            found = list(pool.map(self._hangs, hosts))
        for host, hangs in zip(hosts, found, strict=True):
            if hangs is not None:
                self.note(host, hangs)
        return frozenset(host for host, hangs in zip(hosts, found, strict=True) if hangs)

    @contextlib.contextmanager
    def watched(self, hosts: Sequence[Host], interrupt: Callable[[], object]) -> Iterator[None]:
        """Call `interrupt`, which ends the wait with Away, and raise Hanging, when one of the hosts hangs."""
        over, lock = threading.Event(), threading.Lock()
        seen: list[Host] = []

        def look() -> None:
            wait = _FIRST
            while not over.wait(wait):
                found = self.greet(hosts)
                with lock:
                    if found and not over.is_set():
                        seen.extend(found)
                        interrupt()
                        return
                wait = _LATER

        threading.Thread(target=look, name="pulse", daemon=True).start()
        try:
            yield
        except ch.Away:
            if seen:
                raise Hanging(" and ".join(f"ClickHouse {host} hangs" for host in seen)) from None
            raise
        finally:
            over.set()
            with lock:  # an interrupt that is under way comes to its end before anything else is asked
                pass

    def _greet_again(self, hosts: Sequence[Host]) -> None:
        try:
            self.greet(hosts)
        finally:
            with self._lock:
                self._greeting = False

    def _hangs(self, host: Host) -> bool | None:
        """Say whether a host hangs; None: it is down, or was never seen."""
        connection = ch.Connection(self._address, host, database="")
        began = time.monotonic()
        try:
            connection.greet()
        except ch.Silent:
            return True
        except ch.Away:
            # Its queue of connections is full, or its machine is gone; refused at once means: it is down.
            late = time.monotonic() - began >= min(self._address.connect_timeout, self._address.silence)
            if late and host in self._answered:
                return True
            with self._lock:
                self._again.pop(host, None)
            return None
        except HepcatError:  # it does not let us in: it answers
            return False
        finally:
            connection.close()
        return False
