"""How often a password may be tried: by user name and by peer address, each longer than the last.

In: the name and the address of an attempt, before the password is looked at. Out: nothing, or `TooMany` with
the seconds to wait. Attempts count when they begin, so that many at once are no way around. Memory is
bounded: what has been quiet longest is forgotten first.

Who keeps failing with the name of someone else must not lock that someone out: an address from which the name
logged in before is only held back by its own failures.
"""

import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hepcat.errors import HepcatError

#: Names and addresses remembered.
MOST: Final = 20_000
#: Longest wait; a name's is short, since others can cause it.
MOST_SECONDS: Final = 900.0
MOST_SECONDS_NAME: Final = 60.0
#: Seconds without an attempt after which failures are forgotten.
FORGET_SECONDS: Final = 3600.0


class TooMany(HepcatError):
    """Too many attempts; `seconds` says when the next is allowed."""

    def __init__(self, seconds: float) -> None:
        self.seconds = max(1, int(seconds + 0.999))
        super().__init__(
            f"too many attempts to log in; the next is possible in {self.seconds} s",
            "An administrator gives a new password with `hepcat user password NAME`.",
        )


@dataclass(slots=True)
class _Record:
    failures: int
    last: float
    until: float


class Throttle:
    """Counts failures by name and by address."""

    def __init__(self, attempts: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._attempts = attempts
        self._clock = clock
        self._records: OrderedDict[str, _Record] = OrderedDict()
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._mutex = threading.Lock()

    def begin(self, name: str, peer: str) -> None:
        """Count an attempt, as if it had failed. Raises TooMany, which counts nothing."""
        name, peer = name[:64].lower(), network_of(peer)
        with self._mutex:
            now = self._clock()
            keys = self._keys(name, peer)
            wait = max(
                (self._records[key].until - now for key, _ in keys if key in self._records), default=0.0
            )
            if wait > 0:
                raise TooMany(wait)
            for key, most in keys:
                self._count(key, most, now)

    def succeeded(self, name: str, peer: str) -> None:
        """Take the attempt back: the password was right.

        The address's other failures stay: an account of one's own must not be a way to try those of others.
        """
        name, peer = name[:64].lower(), network_of(peer)
        with self._mutex:
            for key, _ in self._keys(name, peer):
                record = self._records.get(key)
                if record is None:
                    continue
                if key.startswith("peer "):
                    record.failures -= 1
                    record.until = 0.0
                if not key.startswith("peer ") or record.failures <= 0:
                    del self._records[key]
            self._known[name, peer] = None
            self._known.move_to_end((name, peer))
            if len(self._known) > MOST:
                self._known.popitem(last=False)

    def _keys(self, name: str, peer: str) -> list[tuple[str, float]]:
        if (name, peer) in self._known:
            return [(f"both {name} {peer}", MOST_SECONDS), (f"peer {peer}", MOST_SECONDS)]
        return [(f"name {name}", MOST_SECONDS_NAME), (f"peer {peer}", MOST_SECONDS)]

    def _count(self, key: str, most: float, now: float) -> None:
        record = self._records.get(key)
        if record is None or now - record.last > FORGET_SECONDS:
            record = self._records[key] = _Record(0, now, 0.0)
        record.failures += 1
        record.last = now
        over = record.failures - self._attempts
        record.until = now + min(most, 2.0 ** min(over, 16)) if over >= 0 else 0.0
        self._records.move_to_end(key)
        if len(self._records) > MOST:
            self._records.popitem(last=False)


def network_of(peer: str) -> str:
    """Return what counts as one peer: the address, of IPv6 the /64 that anyone has who has one."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return peer[:64]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
