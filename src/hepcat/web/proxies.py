"""Which peers are proxies of ours, and whom one of them passed a request on for.

In: the settings; a peer's address, the X-Forwarded-For of its request. Out: the client's address. What can go
wrong: nothing: what anybody but a trusted proxy says there counts for nothing.

Each proxy adds the address that it got the request from as the last. So of a trusted peer's list the last
entry is true, the one before it only where the last is a trusted proxy too, and so on: what a client wrote
itself stands in front of all that, and is never reached.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Final

from hepcat.config.values import Network
from hepcat.config.web import WebSettings

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

#: Proxies in a row.
_HOPS: Final = 16
_LOOPBACK: Final = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


class Proxies:
    """The trusted ones."""

    def __init__(self, networks: Iterable[Network]) -> None:
        self._networks = tuple(networks)

    @classmethod
    def of(cls, web: WebSettings) -> "Proxies":
        """Return those of the settings: trusted_proxies, else with a public_url those of this machine."""
        if web.trusted_proxies:
            return cls(web.trusted_proxies)
        return cls(_LOOPBACK if web.public_url is not None else ())

    def trusts(self, host: str) -> bool:
        """Whether this is the address of a trusted proxy."""
        address = _address(host)
        return address is not None and any(address in network for network in self._networks)

    def client(self, peer: str, forwarded: Sequence[str]) -> str:
        """Return whom a request comes from. forwarded: the lines of X-Forwarded-For, in their order."""
        found = peer
        entries = ",".join(forwarded).rsplit(",", _HOPS)[-_HOPS:]
        while entries and self.trusts(found):
            address = _address(_without_port(entries.pop().strip()))
            if address is None:
                break
            found = str(address)
        return found


def _address(text: str) -> _Address | None:
    """Return an address; an IPv4 one within IPv6 as what it is."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _without_port(text: str) -> str:
    """Return the address of 192.0.2.1:5060 or [2001:db8::1]:5060, which some proxies write."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text
