"""Times as people write them.

In: text such as `15m`, `yesterday`, `10:30`, `2026-11-22T13:46:45.9Z`, and the moment "now" with a
zone. Out: a Span, the microseconds since the epoch (UTC) that the text covers: a date covers a day, a
minute a minute. Text without a zone is local time. Raises ValueError with the reason.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Final

SECOND: Final = 1_000_000
UNITS: Final[dict[str, int]] = {
    "us": 1,
    "ms": 1_000,
    "s": SECOND,
    "m": 60 * SECOND,
    "min": 60 * SECOND,
    "h": 3600 * SECOND,
    "d": 86400 * SECOND,
    "w": 7 * 86400 * SECOND,
}
EXAMPLES: Final = "15m, 2h, 1d, now, today, yesterday, 10:30, 2026-11-22, 2026-11-22T13:46:45Z"
#: No bound may lie further from now than a lake can hold; keeps arithmetic within 64 bits.
_FARTHEST: Final = 400 * 366 * 86400 * SECOND

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(us|ms|min|s|m|h|d|w)")
_CLOCK = r"(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?"
_ZONE = r"\s*(Z|z|UTC|[+-]\d{2}:?\d{2})?"
_STAMP = re.compile(rf"(today|yesterday|\d{{4}}-\d{{2}}-\d{{2}})(?:(?:[Tt]|\s+){_CLOCK})?{_ZONE}")
_TIME = re.compile(_CLOCK + _ZONE)
_EPOCH = re.compile(r"(\d{9,10})(?:\.(\d{1,6}))?|(\d{13})|(\d{16})")


@dataclass(frozen=True, slots=True)
class Span:
    """From `start` (microseconds since the epoch) to before `end`."""

    start: int
    end: int


def microseconds(moment: datetime) -> int:
    """Return the microseconds since the epoch of an aware datetime, exactly."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def moment_of(us: int, zone: tzinfo | None = UTC) -> datetime:
    """Return the aware datetime of microseconds since the epoch; zone None is the machine's own."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)).astimezone(zone)


def parse_duration(text: str) -> int:
    """Return the microseconds of `90s`, `15m`, `1h30m`, `2d`, `1w`. Raises ValueError."""
    total, position, cleaned = 0.0, 0, text.strip().lower()
    for match in _DURATION.finditer(cleaned):
        if match.start() != position:
            break
        total += float(match[1]) * UNITS[match[2]]
        position = match.end()
    if not cleaned or position != len(cleaned):
        raise ValueError(f"{text!r} is not a length of time; write 90s, 15m, 1h30m, 2d or 1w")
    if total > _FARTHEST:
        raise ValueError(f"{text!r} is longer than any lake")
    return round(total)


def length_of(length: object) -> int:
    """Return the microseconds of a timedelta, or of a length as text. Raises ValueError for all else."""
    if isinstance(length, str):
        return parse_duration(length)
    if not isinstance(length, timedelta):
        raise ValueError(f"{length!r} is not a length of time; write '15m', or give a timedelta")
    us = length // timedelta(microseconds=1)
    if not 0 <= us <= _FARTHEST:
        raise ValueError(f"{length!r} is {'negative' if us < 0 else 'longer than any lake'}")
    return us


def whole_microseconds(when: object) -> int:
    """Return microseconds given as a number. Raises ValueError for what is none of 64 bits."""
    if isinstance(when, bool) or not isinstance(when, int):
        raise ValueError(f"{when!r} is not a time; give text, a datetime or whole microseconds")
    if not -(2**63) <= when < 2**63:
        raise ValueError(f"{when} is more than 64 bits of microseconds")
    return when


def parse_time(text: str, now: datetime | None = None, zone: tzinfo | None = None) -> Span:
    """Return what a written time covers. `now` is aware; `zone` None is the machine's own zone.

    A length of time (`15m`) is that long ago and covers nothing but that instant.
    """
    local = (now if now is not None else datetime.now(UTC)).astimezone(zone)
    cleaned = text.strip()
    if cleaned.lower() == "now":
        return _instant(microseconds(local))
    if _DURATION.match(cleaned.lower().lstrip("-")):
        return _instant(microseconds(local) - parse_duration(cleaned.lstrip("-")))
    if match := _EPOCH.fullmatch(cleaned):
        return _epoch(match)
    if match := _STAMP.fullmatch(cleaned.lower().replace("utc", "z")):
        day = _day(match[1], local)
        return _clock(day, match.groups()[1:5], _zone(match[6], zone), text)
    if match := _TIME.fullmatch(cleaned):
        return _clock(local.date(), match.groups()[:4], _zone(match[5], zone), text)
    raise ValueError(f"{text!r} is not a time; write one of: {EXAMPLES}")


def _instant(us: int) -> Span:
    return Span(us, us + 1)


def _epoch(match: re.Match[str]) -> Span:
    """Seconds (9 or 10 digits, perhaps with a fraction), milliseconds (13) or microseconds (16)."""
    if match[4]:
        return _instant(int(match[4]))
    if match[3]:
        return Span(int(match[3]) * 1000, int(match[3]) * 1000 + 1000)
    if match[2]:
        return _instant(int(match[1]) * SECOND + int(match[2].ljust(6, "0")))
    return Span(int(match[1]) * SECOND, int(match[1]) * SECOND + SECOND)


def _day(word: str, local: datetime) -> date:
    if word == "today":
        return local.date()
    if word == "yesterday":
        return local.date() - timedelta(days=1)
    try:
        return date.fromisoformat(word)
    except ValueError as error:
        raise ValueError(f"{word!r} is not a date: {error}") from None


def _zone(text: str | None, zone: tzinfo | None) -> tzinfo | None:
    """Return the zone written, else the given one; None is the machine's own."""
    if text is None:
        return zone
    if text in ("z", "Z", "UTC"):
        return UTC
    sign = -1 if text[0] == "-" else 1
    digits = text[1:].replace(":", "")
    return timezone(sign * timedelta(hours=int(digits[:2]), minutes=int(digits[2:])))


def _clock(day: date, parts: tuple[str | None, ...], zone: tzinfo | None, text: str) -> Span:
    """Put a day and a time of day (hour, minute, second, fraction; None where not written) together."""
    hour, minute, second, fraction = parts
    try:
        begin = datetime(day.year, day.month, day.day, int(hour or 0), int(minute or 0), int(second or 0))
        start = _in_zone(begin, zone)
        if hour is None:
            return Span(start, _in_zone(begin + timedelta(days=1), zone))
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is not a time: {error}") from None
    if second is None:
        return Span(start, start + 60 * SECOND)
    if fraction is None:
        return Span(start, start + SECOND)
    digits = fraction[:6]
    start += int(digits.ljust(6, "0"))
    return Span(start, start + int(10 ** (6 - len(digits))))


def _in_zone(naive: datetime, zone: tzinfo | None) -> int:
    """Return the microseconds of a wall clock time; the machine's own zone knows its summer time."""
    return microseconds(naive.replace(tzinfo=zone) if zone is not None else naive.astimezone())
