"""Addresses as texts of the classic tables.

In: addresses and networks. Out: the texts that they are written as, and patterns of texts.
"""

import ipaddress

from hepcat.search.ast import Pattern, Wild


def address_forms(address: str) -> list[str]:
    """Return the ways an address is written: the shortest (RFC 5952), and with all groups."""
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv4Address):
        return [str(parsed)]
    groups = [f"{int(group, 16):x}" for group in parsed.exploded.split(":")]
    forms = [str(parsed), ":".join(groups), parsed.exploded]
    if parsed.ipv4_mapped is not None:
        forms.append(f"::ffff:{parsed.ipv4_mapped}")
    return list(dict.fromkeys(forms))


def within_v4(network: ipaddress.IPv4Network) -> list[Pattern]:
    """Return patterns of the texts in a network; in one of less than 8 bits IPv6 may fit too."""
    octets = list(network.network_address.packed)
    whole, bits = divmod(network.prefixlen, 8)
    prefix = "".join(f"{octet}." for octet in octets[:whole])
    if whole == 4:
        return [(str(network.network_address),)]
    if not bits:
        return [(prefix, Wild.ANY)] if prefix else [(Wild.ANY, ".", Wild.ANY)]
    several = range(octets[whole], octets[whole] + (1 << (8 - bits)))
    if whole == 3:
        return [(f"{prefix}{octet}",) for octet in several]
    return [(f"{prefix}{octet}.", Wild.ANY) for octet in several]
