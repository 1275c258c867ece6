"""Who stands above the lifelines of a ladder: addresses and ports made into participants.

In: the endpoints of each message, and the names a configuration gives them. Out: `Host`s in the order
of the picture and, for each message, the numbers of its two. What can go wrong: nothing.

A participant is an `ip:port`, with these exceptions:
- A TCP client's port is chosen by its kernel for one connection, and says nothing to a reader. Such a
  port (only TCP, only one peer, higher than the peer's) becomes the port that the client itself names as
  its own in the topmost Via of its requests (RFC 3261 section 18.1.1), if that stands for the same
  address. Else all such ports of one address that talk to one peer are one participant, named by the
  address alone where there are several.
- An alias for `ip:port` or `ip` is its name; participants of one name are one participant, so that a
  machine with two interfaces stands in the picture once. An alias for an ip that has several ports in
  the picture is followed by the port.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

Endpoint = tuple[str, int | None]

_SENT_BY = re.compile(
    r"SIP\s*/\s*2\.0\s*/\s*(\w+)\s+(\[[0-9A-Fa-f:.]{2,45}\]|[\w.\-]{1,255})(?:\s*:\s*(\d{1,5}))?"
)


class Wire(NamedTuple):
    """What the hosts are read from: one message's endpoints."""

    transport: str | None
    src: Endpoint
    dst: Endpoint
    request: bool
    via: str | None


@dataclass(frozen=True, slots=True)
class Host:
    """A lifeline: the name above it and every `ip:port` that it stands for."""

    name: str
    endpoints: tuple[str, ...]
    alias: bool = False


def endpoint_text(endpoint: Endpoint) -> str:
    """`10.0.0.1:5060`, `[2001:db8::1]:5060`, or the address alone where there is no port."""
    ip, port = endpoint
    if not port:
        return ip
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def place_hosts(
    wires: Sequence[Wire], aliases: Mapping[str, str] | None = None
) -> tuple[tuple[Host, ...], list[tuple[int, int]]]:
    """Return the hosts from left to right, and (source, destination) for each message."""
    ephemeral = _ephemeral(wires)
    joined = _join(wires, ephemeral)
    endpoints = _unique(wires)
    names = _names([joined.get(e, e) for e in endpoints], aliases or {})
    name_of = {e: names[joined.get(e, e)] for e in endpoints}
    order = _order([(name_of[w.src][0], name_of[w.dst][0], w.request) for w in wires])
    members: dict[str, list[str]] = {name: [] for name in order}
    for endpoint in endpoints:
        members[name_of[endpoint][0]].append(endpoint_text(endpoint))
    aliased = {name for name, alias in name_of.values() if alias}
    hosts = tuple(Host(name, tuple(members[name]), name in aliased) for name in order)
    number = {name: i for i, name in enumerate(order)}
    return hosts, [(number[name_of[w.src][0]], number[name_of[w.dst][0]]) for w in wires]


def _unique(wires: Sequence[Wire]) -> list[Endpoint]:
    """Every endpoint once, by first appearance."""
    return list(dict.fromkeys(e for w in wires for e in (w.src, w.dst)))


def _ephemeral(wires: Sequence[Wire]) -> dict[Endpoint, Endpoint]:
    """Return the endpoints that are a TCP client's end of a connection, with their peer."""
    peers: dict[Endpoint, set[Endpoint]] = {}
    datagrams: set[Endpoint] = set()
    for wire in wires:
        peers.setdefault(wire.src, set()).add(wire.dst)
        peers.setdefault(wire.dst, set()).add(wire.src)
        if wire.transport != "tcp":
            datagrams.update((wire.src, wire.dst))
    found = {}
    for endpoint, others in peers.items():
        if endpoint in datagrams or len(others) != 1:
            continue
        (peer,) = others
        # 1024: RFC 6335 section 6, system ports are never handed out to clients
        if (endpoint[1] or 0) > max(peer[1] or 0, 1023):
            found[endpoint] = peer
    return found


def _join(wires: Sequence[Wire], ephemeral: Mapping[Endpoint, Endpoint]) -> dict[Endpoint, Endpoint]:
    """Return what each ephemeral endpoint stands for: its own listening port, else its address."""
    joined: dict[Endpoint, Endpoint] = {}
    for wire in wires:
        if wire.request and wire.src in ephemeral and wire.src not in joined:
            own = _sent_by(wire)
            if own is not None and own != ephemeral[wire.src]:
                joined[wire.src] = own
    rest: dict[tuple[str, Endpoint], list[Endpoint]] = {}
    for endpoint, peer in ephemeral.items():
        if endpoint not in joined:
            rest.setdefault((endpoint[0], joined.get(peer, peer)), []).append(endpoint)
    for (ip, _), ports in rest.items():
        if len(ports) > 1:
            joined.update((port, (ip, None)) for port in ports)
    return joined


def _sent_by(wire: Wire) -> Endpoint | None:
    """Return the listening address in the topmost Via, if it is the address the message came from."""
    match = _SENT_BY.match(wire.via or "")
    if match is None or match[2].strip("[]").lower() != wire.src[0].lower():
        return None
    port = int(match[3]) if match[3] else 5061 if match[1].upper() == "TLS" else 5060
    return (wire.src[0], port) if 0 < port <= 0xFFFF else None


def _names(endpoints: Sequence[Endpoint], aliases: Mapping[str, str]) -> dict[Endpoint, tuple[str, bool]]:
    """Return for each endpoint its name, and whether an alias gave it."""
    ports: dict[str, set[int | None]] = {}
    for ip, port in endpoints:
        ports.setdefault(ip, set()).add(port)
    names: dict[Endpoint, tuple[str, bool]] = {}
    for endpoint in endpoints:
        ip, port = endpoint
        text = endpoint_text(endpoint)
        own = aliases.get(text) or aliases.get(f"{ip}:{port}")
        machine = aliases.get(ip) or aliases.get(f"[{ip}]")
        if own:
            names[endpoint] = (own, True)
        elif machine:
            unnamed = [p for p in ports[ip] if not aliases.get(endpoint_text((ip, p)))]
            names[endpoint] = (machine if len(unnamed) == 1 or not port else f"{machine}:{port}", True)
        else:
            names[endpoint] = (text, False)
    return names


def _order(pairs: Sequence[tuple[str, str, bool]]) -> list[str]:
    """Return the names from left to right, so that the first requests point right.

    By first appearance; a response is read backwards. A host that calls the one at the far left is put
    before it: captures of several places do not always come in the order of the path.
    """
    order: dict[str, None] = {}
    before: list[str] = []
    for src, dst, request in pairs:
        left, right = (src, dst) if request else (dst, src)
        if left in order:
            order.setdefault(right)
            continue
        first = before[-1] if before else next(iter(order), None)
        if right == first and right != left:
            before.append(left)
            order[left] = None
        else:
            order.setdefault(left)
            order.setdefault(right)
    front = set(before)
    return [*reversed(before), *(name for name in order if name not in front)]
