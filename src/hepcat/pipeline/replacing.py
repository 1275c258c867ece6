"""`ip_replace`, read: pairs of addresses, each with a port where one is given.

In: "10.0.0.1:5060-192.0.2.1:5060;10.0.0.2-192.0.2.2". Out: pairs. What can go wrong: HepcatError that names
the pair.
"""

import ipaddress
from typing import Final

import numpy as np

from hepcat.batch.layout import Array
from hepcat.errors import HepcatError

_MAPPED: Final = b"\0" * 10 + b"\xff\xff"


def parse_replacements(text: str) -> list[tuple[Array, int, Array, int]]:
    """Return (old address, old port, new address, new port); addresses 16 octets, port 0: any, as it is."""
    pairs = []
    for part in filter(None, (piece.strip() for piece in text.split(";"))):
        old, dash, new = part.partition("-")
        try:
            if not dash:
                raise ValueError
            pairs.append((*_endpoint(old), *_endpoint(new)))
        except ValueError:
            raise HepcatError(
                f'ip_replace: "{part}" is not IP[:PORT]-IP[:PORT]',
                "Brackets are for IPv6: [2001:db8::1]:5060.",
            ) from None
    return pairs


def _endpoint(text: str) -> tuple[Array, int]:
    text = text.strip()
    port = ""
    if text.startswith("["):
        text, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
    address = ipaddress.ip_address(text)
    octets = address.packed if address.version == 6 else _MAPPED + address.packed
    number = int(port) if port else 0
    if not 0 <= number <= 65535:
        raise ValueError(text)
    return np.frombuffer(octets, dtype=np.uint8), number
