"""HEP listeners opened from the settings: what the server and the relaying agent have in common.

In: a listener's URL, [hep] of the settings, and who takes what it reads. Out: sources, bound but not yet
reading. What can go wrong: HepcatError; what was opened before closes with its last reference.
"""

from collections.abc import Callable
from typing import Final

import structlog

from hepcat.config.settings import HepSettings
from hepcat.config.values import format_octets, split_hep_url
from hepcat.mmsg import set_receive_buffer
from hepcat.pipeline.tls import make_context
from hepcat.sources.hep_stream_source import HepStreamListener, StreamLimits
from hepcat.sources.hep_udp import HepUdpWorker
from hepcat.sources.listen import open_tcp, open_udp, probe_udp
from hepcat.sources.source import Intake, Source, Tally

#: A receive buffer below this overflows in some tens of milliseconds of busy traffic.
SMALL_BUFFER: Final = 4 * 2**20

log = structlog.get_logger("hepcat.server")


def open_listener(url: str, hep: HepSettings, make: Callable[[str], tuple[Tally, Intake]]) -> list[Source]:
    """Open one URL's sockets. make: makes a worker's tally and intake."""
    scheme, host, port = split_hep_url(url)
    if scheme == "udp":
        return _open_udp(url, host, port, hep, make)
    context = make_context(hep.tls) if scheme == "tls" else None
    sock = open_tcp(host, port, scheme)
    tally, intake = make(url)
    return [HepStreamListener(sock, url, intake, tally, stream_limits(hep), context)]


def stream_limits(hep: HepSettings) -> StreamLimits:
    """Return the bounds of a stream listener."""
    return StreamLimits(
        hep.max_connections, hep.idle_timeout, hep.half_message_timeout, hep.tls.handshake_timeout
    )


def _open_udp(
    url: str, host: str, port: int, hep: HepSettings, make: Callable[[str], tuple[Tally, Intake]]
) -> list[Source]:
    sources: list[Source] = []
    shared = hep.workers > 1
    if shared:
        probe_udp(host, port)
    for number in range(hep.workers):
        sock = open_udp(host, port, shared)
        granted = set_receive_buffer(sock, hep.receive_buffer)
        if number == 0:
            log_buffer(url, granted, hep.receive_buffer)
        tally, intake = make(url)
        sources.append(HepUdpWorker(sock, url, intake, tally, hep.slots))
    return sources


def log_buffer(url: str, granted: int, asked: int) -> None:
    """Tell how large a receive buffer is, and what to do where it is small."""
    fields = {"url": url, "granted": format_octets(granted), "asked": format_octets(asked)}
    if granted < min(asked, SMALL_BUFFER):
        log.warning(
            "small receive buffer: bursts will be lost",
            **fields,
            hint=f"sysctl -w net.core.rmem_max={asked}, and restart hepcat",
        )
    else:
        log.info("receive buffer", **fields)
