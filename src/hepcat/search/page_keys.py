"""Where a page of an answer ends: the keys that the next page begins behind.

In: values of rows. Out: keys as plain lists that JSON can say, and read again from such lists, which anybody
may have changed. What can go wrong: HepcatError for a list that is no key.
"""

from dataclasses import dataclass
from typing import Any, Final

from hepcat.errors import HepcatError

Value = int | float | str | None

#: What stands for a time that is no number: infinity.
FIRST: Final = -(2**63 - 1)
LAST: Final = 2**63 - 1
#: No value of a message is longer.
_LONGEST: Final = 65_535


@dataclass(frozen=True, slots=True)
class Key:
    """A call in an order: the value it is sorted by, its start (microseconds), its Call-ID."""

    value: Value
    start: int
    call_id: str

    def as_list(self) -> list[Value]:
        """Return it for JSON."""
        return [self.value, self.start, self.call_id]

    @classmethod
    def from_list(cls, given: Any) -> "Key":
        """Read it again."""
        if isinstance(given, list) and len(given) == 3:
            value, start, call_id = given
            known = value is None or _is_number(value) or _is_text(value)
            if known and _is_time(start) and _is_text(call_id):
                return cls(value, start, call_id)
        raise _no_key()


@dataclass(frozen=True, slots=True)
class MessageKey:
    """A message in the order of time: when, and how many of that microsecond come before its successor."""

    ts: int
    skip: int

    def as_list(self) -> list[int]:
        """Return it for JSON."""
        return [self.ts, self.skip]

    @classmethod
    def from_list(cls, given: Any) -> "MessageKey":
        """Read it again."""
        if isinstance(given, list) and len(given) == 2:
            ts, skip = given
            if _is_time(ts) and _is_time(skip) and 0 <= skip < 2**31:
                return cls(ts, skip)
        raise _no_key()


def is_behind(a: Key, b: Key, descending: bool) -> bool:
    """Say whether `a` comes after `b`: by value, nothing last; then the later start first; then Call-ID."""
    if a.value != b.value:
        if a.value is None or b.value is None:
            return a.value is None
        if isinstance(a.value, str) != isinstance(b.value, str):
            raise _no_key()
        larger = _octets(a.value) > _octets(b.value)  # type: ignore[operator]
        return larger != descending
    if a.start != b.start:
        return a.start < b.start
    return a.call_id.encode("utf-8", "surrogatepass") > b.call_id.encode("utf-8", "surrogatepass")


def _octets(value: int | float | str) -> int | float | bytes:
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value


def _is_number(value: Any) -> bool:
    # A NaN is unequal to itself, and has no place in an order.
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def _is_time(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and FIRST <= value <= LAST


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST


def _no_key() -> HepcatError:
    return HepcatError("this is no place in these results", "Begin again with the first page.")
