"""What arguments of plan functions say: numbers, ports, addresses, shares, rates, times.

In: an `Argument`, which is text with its place, and the `Context`. Out: the value. What can go wrong:
PlanError that points at the argument and says what it may be.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NoReturn, TypeVar

import numpy as np
import numpy.typing as npt

from hepcat.plans.ast import Argument
from hepcat.plans.errors import nearest
from hepcat.plans.function import Context

T = TypeVar("T")

_MAPPED: Final = 0xFFFF << 32  # ::ffff:0:0/96, where a batch keeps IPv4 (RFC 4291 section 2.5.5.2)


def choice(context: Context, argument: Argument, what: str, table: Mapping[str, T]) -> T:
    """Return what a key stands for."""
    if argument.text not in table:
        hint = f"There are: {', '.join(table)}."
        guess = nearest(argument.text, table)
        context.fail(argument, f'there is no {what} "{argument.text}"{guess}', hint)
    return table[argument.text]


def number(context: Context, argument: Argument, what: str, low: int, high: int) -> int:
    """Return a whole number within bounds; hexadecimal with 0x in front."""
    text = argument.text.strip()
    value = -1
    if re.fullmatch(r"[0-9]{1,18}", text):
        value = int(text)
    elif re.fullmatch(r"0[xX][0-9A-Fa-f]{1,15}", text):
        value = int(text, 16)
    if not low <= value <= high:
        context.fail(argument, f'"{argument.text}" is no {what}: a whole number from {low} to {high}')
    return value


def ports(context: Context, argument: Argument) -> list[tuple[int, int]]:
    """Return ranges of ports: "5060", "5060-5091", "5060,5080-5090"."""
    ranges: list[tuple[int, int]] = []
    for part in argument.text.split(","):
        match = re.fullmatch(r"\s*(\d{1,5})(?:\s*-\s*(\d{1,5}))?\s*", part)
        low, high = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if low > high or high > 65535:
            context.fail(argument, f'"{part.strip()}" is no port: 0 to 65535, or a range like "5060-5091"')
        ranges.append((low, high))
    return ranges


def addresses(context: Context, argument: Argument) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return ranges of addresses (low, high), each (k, 16) uint8.

    Each part between commas is an address ("10.0.0.1"), a network ("10.0.0.0/8"), or the beginning of an
    address as text ("10.1.", "192.168.4", "2001:db8:").
    """
    ranges: list[tuple[int, int]] = []
    for part in argument.text.split(","):
        found = _range_of(part.strip())
        if not found:
            context.fail(
                argument,
                f'"{part.strip()}" is no address',
                'Write an address ("10.0.0.1"), a network ("10.0.0.0/8", "2001:db8::/32"), '
                'or the beginning of an address ("10.0.").',
            )
        ranges += found
    low, high = (
        np.frombuffer(b"".join(pair[i].to_bytes(16, "big") for pair in ranges), dtype=np.uint8).reshape(
            -1, 16
        )
        for i in (0, 1)
    )
    return low, high


def _range_of(text: str) -> list[tuple[int, int]]:
    if "/" in text:
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            return []
        low, high = int(network.network_address), int(network.broadcast_address)
        if network.version == 4:
            return [(_MAPPED + low, _MAPPED + high)]
        if low < _MAPPED and high > _MAPPED + 0xFFFFFFFF:  # ::/0 means IPv6, not the IPv4 in its midst
            return [(low, _MAPPED - 1), (_MAPPED + (1 << 32), high)]
        return [(low, high)]
    # "2001:db8::" would be the address of a network's routers (RFC 4291 section 2.6.1), which sends
    # nothing: whoever writes it means what begins so
    if text.endswith("::") and len(text) > 2:
        return _prefix6(text[:-1])
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return _prefix4(text) or _prefix6(text)
    value = int(address) + (_MAPPED if address.version == 4 else 0)
    return [(value, value)]


def _prefix4(text: str) -> list[tuple[int, int]]:
    """Ranges of the IPv4 addresses whose text begins so."""
    parts = text.split(".")
    if not 1 <= len(parts) <= 4 or not all(re.fullmatch(r"\d{1,3}", part) for part in parts[:-1]):
        return []
    if not re.fullmatch(r"\d{0,3}", parts[-1]) or parts == [""]:
        return []
    fixed = [int(part) for part in parts[:-1]]
    last = [v for v in range(256) if str(v).startswith(parts[-1])]
    if any(v > 255 for v in fixed) or not last:
        return []
    head, below = 0, 8 * (3 - len(fixed))
    for value in fixed:
        head = head << 8 | value
    return _spread([head << 8 | v for v in last], below, _MAPPED)


def _prefix6(text: str) -> list[tuple[int, int]]:
    """Ranges of the IPv6 addresses whose text begins so; without ::, which may stand for anything."""
    parts = text.split(":")
    if not 2 <= len(parts) <= 8 or not all(re.fullmatch(r"[0-9A-Fa-f]{1,4}", part) for part in parts[:-1]):
        return []
    if not re.fullmatch(r"[0-9A-Fa-f]{0,4}", parts[-1]):
        return []
    head, below = 0, 16 * (8 - len(parts))
    for part in parts[:-1]:
        head = head << 16 | int(part, 16)
    if not parts[-1]:
        return _spread([head], below + 16, 0)
    start = parts[-1].lower().lstrip("0") or "0"
    values = [v for v in range(0x10000) if f"{v:x}".startswith(start)]
    return _spread([head << 16 | v for v in values], below, 0)


def _spread(heads: Iterable[int], below: int, base: int) -> list[tuple[int, int]]:
    """Return the ranges of addresses with these leading bits, neighbours joined."""
    ranges: list[tuple[int, int]] = []
    for head in heads:
        low = base + (head << below)
        high = low + (1 << below) - 1
        if ranges and ranges[-1][1] + 1 == low:
            ranges[-1] = (ranges[-1][0], high)
        else:
            ranges.append((low, high))
    return ranges


def share(context: Context, argument: Argument) -> float:
    """Return a share from 0 to 1: "10%", "1/10", "0.1"."""
    text = argument.text.strip()
    value = -1.0
    if match := re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*%", text):
        value = float(match[1]) / 100
    elif match := re.fullmatch(r"(\d{1,9})\s*/\s*(\d{1,9})", text):
        value = int(match[1]) / int(match[2]) if int(match[2]) else -1.0
    elif re.fullmatch(r"[01](?:\.\d{1,9})?", text):
        value = float(text)
    if not 0 <= value <= 1:
        context.fail(argument, f'"{argument.text}" is no share: write "10%" or "1/10"')
    return value


_RATE_UNITS: Final = {
    "s": 1,
    "sec": 1,
    "second": 1,
    "m": 60,
    "min": 60,
    "minute": 60,
    "h": 3600,
    "hour": 3600,
}


def rate(context: Context, argument: Argument) -> float:
    """Return a rate a second: "100/s", "30/min"."""
    match = re.fullmatch(r"\s*(\d{1,9}(?:\.\d{1,6})?)\s*/\s*([a-z]+)\s*", argument.text)
    if not match or match[2] not in _RATE_UNITS or float(match[1]) == 0:
        context.fail(argument, f'"{argument.text}" is no rate: write "100/s" or "30/min"')
    return float(match[1]) / _RATE_UNITS[match[2]]


_TIME_UNITS: Final = {"us": 1, "ms": 1000, "s": 1_000_000}


def microseconds(context: Context, argument: Argument, longest: int) -> int:
    """Return a time in microseconds: "200ms", "1s"."""
    match = re.fullmatch(r"\s*(\d{1,9}(?:\.\d{1,6})?)\s*(us|ms|s)\s*", argument.text)
    value = round(float(match[1]) * _TIME_UNITS[match[2]]) if match else 0
    if not 0 < value <= longest:
        limit = f"{longest / 1_000_000:g}s"
        context.fail(argument, f'"{argument.text}" is no time up to {limit}: write "200ms" or "1s"')
    return value


def target(context: Context, argument: Argument) -> str:
    """Return the name of a target that there is."""
    if argument.text not in context.targets:
        names = ", ".join(f'"{name}"' for name in context.targets) or "none"
        guess = nearest(argument.text, context.targets)
        context.fail(
            argument,
            f'there is no target "{argument.text}"{guess}',
            f"Targets of the configuration: {names}.",
        )
    return argument.text


_TOKEN: Final = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+")


def header_name(context: Context, argument: Argument) -> str:
    """Return the name of a header (RFC 3261 section 25.1: token)."""
    if not _TOKEN.fullmatch(argument.text) or len(argument.text) > 128:
        context.fail(argument, f'"{argument.text}" is no name of a header')
    return argument.text


def unreachable(message: str) -> NoReturn:
    """Raise for what the types of a registry forbid: a bug of ours."""
    raise AssertionError(message)
