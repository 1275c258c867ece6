"""Private addresses where a public one is needed: in the SDP and in the Contact."""

import functools
import ipaddress
import re
from collections.abc import Iterator
from typing import Final

from hepcat.search.findings.causes import sentences
from hepcat.search.findings.finding import NOTE, WARNING, Severity, Told, rule
from hepcat.search.findings.scene import Call, Scene, finds_its_way
from hepcat.search.ladder import Arrow
from hepcat.search.render.escape import safe_line

#: Networks that the internet does not route to a device: RFC 1918, 6598, 3927, 4193, 4291 and loopback.
PRIVATE: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "169.254.0.0/16",
        "127.0.0.0/8",
        "fc00::/7",
        "fe80::/10",
        "::1/128",
    )
)
_CONTACT_HOST: Final = re.compile(r"sips?:(?:[^@<>;,?\s]{0,200}@)?(\[[0-9a-f:.]{2,45}\]|[0-9.]{7,15})", re.I)
#: Requests whose Contact says where the next ones go.
_TARGETS: Final = frozenset({"INVITE", "UPDATE", "SUBSCRIBE", "REFER", "NOTIFY", "REGISTER"})
_MOST_MEDIA: Final = 4


@functools.lru_cache(4096)
def kind_of(text: str) -> str:
    """Return `public`, `private`, `loopback`, or `none` for what is no address of one host."""
    try:
        address = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return "none"
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_loopback:
        return "loopback"
    if address.is_unspecified or address.is_multicast:
        return "none"
    return "private" if any(address in network for network in PRIVATE) else "public"


def ip_of(endpoint: str) -> str:
    """Return the address of `10.0.0.1:5060`, `[2001:db8::1]:5060` or an address alone."""
    if endpoint.startswith("["):
        return endpoint[1:].partition("]")[0]
    return endpoint.partition(":")[0] if endpoint.count(":") == 1 else endpoint


@rule(
    "private_address",
    "Private address seen from a public one",
    "RFC 1918, RFC 6598, RFC 4193, RFC 3264 section 5, RFC 3261 section 12.1",
    """A message between a public address and another has a private address (RFC 1918, RFC 6598, ULA,
    link-local) in its SDP or Contact, or a loopback address that another host cannot mean. Warning
    where the sender's own address is public: a NAT is between, and media or later requests go nowhere
    unless a proxy mends it; a note where the sender's address is private (the NAT is still to come) and
    for a REGISTER. SDP with ICE does not count.""",
)
def private_address(scene: Scene, call: Call) -> Iterator[Told]:
    """Tell each address once, with the message where it is worst."""
    found: dict[tuple[str, str], tuple[Severity, Arrow]] = {}
    for arrow in call.arrows:
        if arrow.retransmission or arrow.src == arrow.dst:
            continue
        src, dst = kind_of(ip_of(arrow.src_text)), kind_of(ip_of(arrow.dst_text))
        for where, address in _named(scene, arrow):
            severity = _severity(arrow, src, dst, kind_of(address))
            before = found.get((address, where))
            if severity is not None and (before is None or (severity, before[0]) == (WARNING, NOTE)):
                found[address, where] = (severity, arrow)
    merged: dict[tuple[str, Severity], list[tuple[str, Arrow]]] = {}
    for (address, where), (severity, arrow) in found.items():
        merged.setdefault((address, severity), []).append((where, arrow))
    for (address, severity), named in merged.items():
        yield _told(scene, severity, address, sorted(named, key=lambda each: each[0], reverse=True))


def _severity(arrow: Arrow, src: str, dst: str, named: str) -> Severity | None:
    """Say how bad it is that a message from `src` to `dst`, kinds of addresses, names such an address."""
    if named not in ("private", "loopback") or "loopback" in (src, dst):
        return None
    if named == "private" and "public" not in (src, dst):
        return None
    worst = (src == "public" or named == "loopback") and arrow.method != "REGISTER"
    return WARNING if worst else NOTE


def _named(scene: Scene, arrow: Arrow) -> Iterator[tuple[str, str]]:
    """Yield (`SDP` or `Contact`, address) of what a message names."""
    if arrow.sdp is not None and not finds_its_way(arrow):
        for media in arrow.sdp.media[:_MOST_MEDIA]:
            if media.port and media.address:
                yield "SDP", media.address
    status = arrow.status or 0
    if arrow.method in _TARGETS and (status == 0 or (status < 300 and arrow.method != "REGISTER")):
        match = _CONTACT_HOST.search((scene.header(arrow, "contact") or "")[:1000])
        if match is not None:
            yield "Contact", match[1].strip("[]")


def _told(scene: Scene, severity: Severity, address: str, named: list[tuple[str, Arrow]]) -> Told:
    """Put one address into words: `SDP and Contact name 10.0.0.1, sent from 198.51.100.7`."""
    wheres, arrow = [where for where, _ in named], named[0][1]
    src, dst = (safe_line(ip_of(text), 60) for text in (arrow.src_text, arrow.dst_text))
    if severity == NOTE:
        check = "A NAT or proxy on the way has to mend it: look at the same message at the next hop"
    elif "SDP" in wheres:
        check = "Media sent there gets lost: expect one-way audio unless it is relayed or latched"
    else:
        check = "Later requests go there: check NAT handling (rport, Record-Route, outbound)"
    ends = f"sent from {src}" if kind_of(src) == "public" else f"sent to {dst}"
    return Told(
        severity,
        f"{' and '.join(wheres)} name{'s' if len(wheres) == 1 else ''} {safe_line(address, 60)}, {ends}",
        sentences(", ".join(dict.fromkeys(scene.way(a) for _, a in named)), check),
        [a for _, a in named],
    )
