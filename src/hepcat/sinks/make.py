"""Sinks from settings.

In: one [[agent.targets]] and what the agent's targets share. Out: a Sink, which opens nothing before `start`.
What can go wrong: HepcatError with what to do, for files, keys and URLs that cannot be used.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hepcat.config.agent import AgentSettings, TargetSettings
from hepcat.errors import HepcatError
from hepcat.sinks.backlog import Backlog
from hepcat.sinks.hep_out import HepEncoder
from hepcat.sinks.network import Encode, NetworkSink
from hepcat.sinks.sink import Sink
from hepcat.sinks.target_url import Place, parse_place
from hepcat.sinks.udp_path import UdpPath, UdpTarget

#: With less memory than this, a socket's send buffer is bounded too.
_ROOMY = 8 * 2**20


def make_sink(settings: TargetSettings, agent: AgentSettings) -> Sink:
    """Return the sink of a target. Raises HepcatError."""
    if settings.kind == "hep":
        return _network(settings, HepEncoder(settings, agent))
    if settings.kind == "json":
        from hepcat.sinks.json_out import JsonEncoder

        return _network(settings, JsonEncoder(settings, agent))
    if settings.kind == "pcap":
        from hepcat.sinks.pcap_out import make_pcap_sink

        return make_pcap_sink(settings)
    from hepcat.sinks.lake_out import make_lake_sink

    return make_lake_sink(settings, agent)


def _network(settings: TargetSettings, encode: Encode) -> NetworkSink:
    places = [parse_place(url, settings.name) for url in settings.urls]
    _check(settings, places)
    context: Any = None
    if any(p.scheme in ("tls", "https") for p in places):
        from hepcat.sinks.tls import client_context

        context = client_context(settings)
    single = len(places) == 1
    groups = [[place] for place in places]
    if settings.mode == "failover" and all(place.scheme in ("tcp", "tls") for place in places):
        groups, single = [places], True  # one backlog: what waits goes to whoever answers
    shared: list[Any] = []
    writers: list[Any] = []
    targets: list[UdpTarget] = []
    for group in groups:
        name = settings.name if single else f"{settings.name} {group[0]}"
        if group[0].scheme == "udp":
            target = UdpTarget(settings.name, group[0], settings.bind)
            targets.append(target)
            shared.append(_udp_path(target, name, len(groups) > 1, settings.pairs))
            continue
        backlog = Backlog(
            name, settings.memory, spool_folder(settings, group[0], single), settings.spool_limit
        )
        if group[0].scheme in ("http", "https"):
            from hepcat.sinks.http_writer import HttpWriter

            writer: Any = HttpWriter(backlog, group[0], context)
        else:
            from hepcat.sinks.stream_writer import StreamWriter  # ssl takes 5 MiB, which UDP needs not

            sndbuf = 0 if settings.memory >= _ROOMY else settings.memory // 4
            writer = StreamWriter(backlog, group, context, sndbuf)
        writers.append(writer)
        shared.append(writer)
    return NetworkSink(settings.name, encode, settings.mode, shared, writers, targets)


def _check(settings: TargetSettings, places: list[Place]) -> None:
    if settings.kind == "hep" and settings.version < 3:
        for place in places:
            if place.scheme != "udp":
                raise HepcatError(
                    f"target {settings.name}: HEP {settings.version} cannot go to {place}: it has no length",
                    "Use version = 3, or a udp:// URL.",
                )


def _udp_path(target: UdpTarget, name: str, watch: bool, pairs: bool) -> Callable[[], UdpPath]:
    return lambda: UdpPath(target, name, watch, pairs)


def spool_folder(settings: TargetSettings, place: Place, single: bool) -> Path | None:
    """Return the folder of one backlog's spool: the target's name, and its URL where there are several."""
    if settings.spool is None:
        return None
    mark = "" if single else "-" + hashlib.sha256(str(place).encode()).hexdigest()[:8]
    return settings.spool / f"{settings.name}{mark}"
