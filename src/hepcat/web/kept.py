"""Results that are kept for a while, because their next pages will be asked for.

In: a key, and how to make its value. Out: the value; equal requests at the same time make it once. What can
go wrong: what making it raises, to each who waits; where only the maker was cancelled, another one of those
who wait makes it. Bounded by number, octets and time; the ones that were used least lately go first. What is
larger than all that may be kept is not kept.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from hepcat.search import cancel

V = TypeVar("V")
#: Seconds between looks at whether who waits was cancelled.
_LOOK: Final = 0.1


@dataclass(slots=True)
class _Entry(Generic[V]):
    value: V
    octets: int
    until: float


class Kept(Generic[V]):
    """Threads share one. size: octets of a value."""

    def __init__(
        self, size: Callable[[V], int], number: int = 64, octets: int = 128 << 20, seconds: float = 300.0
    ) -> None:
        self._size, self._number, self.most, self._seconds = size, number, octets, seconds
        self._entries: OrderedDict[Hashable, _Entry[V]] = OrderedDict()
        self._making: dict[Hashable, threading.Event] = {}
        self._mutex = threading.Lock()

    @property
    def octets(self) -> int:
        """How much is kept."""
        return sum(entry.octets for entry in self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    def peek(self, key: Hashable) -> V | None:
        """Return what is kept; None where nothing is."""
        with self._mutex:
            return self._find(key)

    def get(self, key: Hashable, make: Callable[[], V]) -> V:
        """Return what is kept, or make it."""
        while True:
            with self._mutex:
                found = self._find(key)
                if found is not None:
                    return found
                made = self._making.get(key)
                if made is None:
                    made = self._making[key] = threading.Event()
                    break
            while not made.wait(_LOOK):
                cancel.check()
        try:
            value = make()
            self.put(key, value)
            return value
        finally:
            with self._mutex:
                del self._making[key]
            made.set()

    def _find(self, key: Hashable) -> V | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.until < time.monotonic():
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        entry.until = time.monotonic() + self._seconds
        return entry.value

    def put(self, key: Hashable, value: V) -> None:
        """Keep a value, in place of what was kept."""
        octets = self._size(value)
        with self._mutex:
            now = time.monotonic()
            for old in [k for k, entry in self._entries.items() if entry.until < now]:
                del self._entries[old]
            if octets > self.most:
                return
            self._entries[key] = _Entry(value, octets, now + self._seconds)
            while len(self._entries) > self._number or self.octets > self.most:
                self._entries.popitem(last=False)
