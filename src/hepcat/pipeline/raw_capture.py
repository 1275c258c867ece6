"""The raw modes of the server: IP-in-IP copies, and a monitoring port, as sources of SIP for the stores.

In: [sipcapture] of the settings. Out: open sources; what they capture goes into the queue as indexed batches.
What can go wrong: HepcatError from `open_raw`, with what to do; nothing stays open then. Afterwards only the
log and the counters tell.

The port rule of raw_socket_listen is one for both modes: the source or the destination port of the innermost
packet is within it. On a monitoring port the kernel can apply it first (raw_moni_bpf_on): fragments pass
there, and are judged here once they are whole. Frames are read, parts are put together and TCP is followed as
in the agent, within the bounds of [agent.limits].

Two sums hold and are tested: packets received = packets carried + packets dropped; messages found = messages
handed on (stored, under way, or dropped by the store) + messages dropped before.
"""

import importlib
import time
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import structlog

from hepcat.batch.drops import Drop
from hepcat.batch.layout import Array, Batch
from hepcat.batch.schema import MAX_RECORD
from hepcat.config.agent import ProfileSettings
from hepcat.config.settings import Settings
from hepcat.config.sipcapture import SipcaptureSettings, split_raw_listen
from hepcat.errors import HepcatError
from hepcat.pipeline.counters import Counters
from hepcat.pipeline.frame_worker import CaptureWorker, FrameTally
from hepcat.pipeline.intake import LiveOptions
from hepcat.pipeline.listeners import log_buffer
from hepcat.pipeline.profiles import dissect_options
from hepcat.pipeline.queue import BatchTaker
from hepcat.sources.devices import open_device
from hepcat.sources.filters import compile_filter
from hepcat.sources.frame_source import FrameSource, Window
from hepcat.sources.raw_ip import RawIpSource
from hepcat.sources.source import Source, Tally
from hepcat.wire.collect import IndexOptions, append_found, sip_among, sort_out
from hepcat.wire.dissect import DissectOptions, Dissector, Found

#: Rows of a batch at most: its columns stay within a core's cache.
ROWS: Final = 2048
#: The interface where raw_interface names none.
ANY: Final = "any"
#: What the dissector loads when a packet first asks for it: here while root can read it, and no packet waits.
READERS: Final = ("hepcat.wire.fragments", "hepcat.wire.sctp", "hepcat.wire.tcp", "hepcat.wire.framing")
#: Octets that a ring may have; hep.receive_buffer, which it is made of, may be any number.
_SMALLEST_RING: Final = 2**18
_LARGEST_RING: Final = 2**31
#: Milliseconds a block of the ring waits to fill.
_BLOCK_MS: Final = 20
#: Seconds between log lines of kernel drops.
_STATS_SECONDS: Final = 300.0

log = structlog.get_logger("hepcat.capture")


class Switching(Protocol):
    """Says whether capture is on (pipeline/switch.py)."""

    def is_on(self, source: str) -> bool:
        """Whether what this source reads is to be stored."""


class RawReader:
    """Makes batches of windows, for one worker; a WindowReader."""

    def __init__(
        self,
        tallies: tuple[FrameTally, Tally],
        options: tuple[DissectOptions, LiveOptions],
        queue: BatchTaker,
        switch: Switching,
    ) -> None:
        """tallies: of frames and messages; of what was handed on. options: of reading; of the index."""
        self.tally, self._handed = tallies
        self.stats_interval = _STATS_SECONDS
        self._live = options[1]
        self._queue = queue
        self._switch = switch
        self._dissector = Dissector(options[0], self.tally.part_drops, self.tally.frame_drops)

    def take(self, window: Window) -> None:
        """Read a window; hand on the SIP in it."""
        tally, packets = self.tally, window.packets
        found = self._dissector.read(window.data, packets)
        self._handed.pending += found.datagrams.n
        tally.messages += found.datagrams.n
        tally.carried += found.carried
        tally.packets += packets.n
        tally.octets += int(packets.original[: packets.n].sum())
        self._store(found)

    def expire(self, now_us: int) -> None:
        """Give up what was waited for too long; messages that come free by it are handed on."""
        found = self._dissector.expire(now_us)
        self._handed.pending += found.datagrams.n
        self.tally.messages += found.datagrams.n
        self._store(found)

    def _store(self, found: Found) -> None:
        """Hand on the SIP among what was found; its rows are pending until then."""
        count = found.datagrams.n
        if not count:
            return
        if not self._switch.is_on(self.tally.source):
            self.tally.drops[Drop.CAPTURE_OFF] += count
            self._handed.pending -= count
            return
        mask = sip_among(found)
        keep = sort_out(found, mask, self.tally.drops)
        self._handed.pending -= count - len(keep)
        current = self._live.current
        options = IndexOptions(current.extra_headers, current.aleg_headers)
        while len(keep):
            batch = _room(found, keep[:ROWS], options.extra)
            done = append_found(batch, found, keep[:ROWS], mask, options)
            keep = keep[done:]
            self._hand_on(batch.trim())

    def _hand_on(self, batch: Batch) -> None:
        # Counted as handed before the store may count it as stored.
        self._handed.handed += batch.n
        self._handed.pending -= batch.n
        refusal = self._queue.put(batch, self._handed)
        if refusal is not None:
            self._handed.handed -= batch.n
            self.tally.drops[refusal] += batch.n


def _room(found: Found, keep: Array, extra: tuple[str, ...]) -> Batch:
    """A batch with room for just these messages: it is handed on, and not used again."""
    octets = int(np.minimum(found.datagrams.length[keep], MAX_RECORD).sum())
    return Batch.empty(len(keep), max(octets, 1), extra)


class RawSource:
    """One worker of a raw mode; a Source. `frames`: its counts of packets and messages found."""

    def __init__(self, url: str, source: FrameSource, reader: RawReader, tally: Tally) -> None:
        self.url = url
        self.tallies = [tally]
        self.frames = reader.tally
        self._source = source
        self._worker = CaptureWorker(source, reader, lambda: time.time_ns() // 1000, first=True)

    def start(self) -> None:
        """Begin to read."""
        self._worker.start()

    def stop(self, drain_seconds: float) -> None:
        """Ask to end; what has arrived already is still read, for at most so long."""
        self._worker.stop(drain_seconds)

    def join(self) -> None:
        """Wait for the end."""
        self._worker.join()

    def close(self) -> None:
        """Close the sockets of a source that was never started."""
        self._source.close()


@dataclass(frozen=True, slots=True)
class _Sinks:
    """What all workers share: where batches go, who counts, who asks, and what is indexed."""

    queue: BatchTaker
    counters: Counters
    switch: Switching
    live: LiveOptions


def open_raw(
    settings: Settings,
    queue: BatchTaker,
    counters: Counters,
    switch: Switching,
    live: LiveOptions | None = None,
) -> list[Source]:
    """Open the raw mode that [sipcapture] asks for, one source a worker; none where it asks for none.

    live: the server's options, for reloads; else those of the settings. Raises HepcatError.
    """
    classic = settings.sipcapture
    if classic is None or not (classic.raw_ipip_capture_on or classic.raw_moni_capture_on):
        return []
    if live is None:
        from hepcat.pipeline.server import intake_options

        live = LiveOptions(intake_options(settings))
    for reader in READERS:
        importlib.import_module(reader)
    sinks = _Sinks(queue, counters, switch, live)
    opened: list[FrameSource] = []
    try:
        url, profile, found = _open(settings, classic)
        opened += found
        options = dissect_options(profile, settings.agent)
        return [_source(url, source, options, sinks) for source in found]
    except BaseException:
        for source in opened:
            source.close()
        raise


def _source(url: str, source: FrameSource, options: DissectOptions, sinks: _Sinks) -> RawSource:
    frames, tally = FrameTally(url), Tally(url)
    sinks.counters.register_frames(frames, tally)
    reader = RawReader((frames, tally), (options, sinks.live), sinks.queue, sinks.switch)
    return RawSource(url, source, reader, tally)


def _open(settings: Settings, classic: SipcaptureSettings) -> tuple[str, ProfileSettings, list[FrameSource]]:
    """Open the sources; return what they are called, and how they are to be read."""
    try:
        address, low, high = split_raw_listen(classic.raw_socket_listen)
    except ValueError as error:
        raise HepcatError(f"raw_socket_listen: {error}", 'Write "10.0.0.1:5060-5090".') from None
    ports = "" if not low else str(low) if low == high else f"{low}-{high}"
    if classic.raw_ipip_capture_on:
        return _open_ipip(settings, classic, address, ports)
    return _open_moni(settings, classic, ports)


def _open_ipip(
    settings: Settings, classic: SipcaptureSettings, address: str, ports: str
) -> tuple[str, ProfileSettings, list[FrameSource]]:
    """Open the raw sockets, which one worker reads, whatever raw_sock_children says: it is fast enough."""
    if classic.raw_sock_children > 1:
        log.info("one worker reads the raw sockets", raw_sock_children=classic.raw_sock_children)
    host = f"[{address}]" if ":" in address else address or ANY
    url = f"ipip://{host}{':' + ports if ports else ''}"
    asked = settings.hep.receive_buffer
    made = RawIpSource(address, classic.raw_interface, asked)
    log_buffer(url, made.granted, asked)
    return url, ProfileSettings(name="ipip", ports=ports), [made]


def _open_moni(
    settings: Settings, classic: SipcaptureSettings, ports: str
) -> tuple[str, ProfileSettings, list[FrameSource]]:
    """Open the ring. Only what stands in the packets themselves is looked at: no tunnels, so that the rule
    is the same whether the kernel applies it first or not.
    """
    dev, promisc = classic.raw_interface or ANY, classic.promiscuous_on or classic.promiscious_on
    if promisc and dev == ANY:
        log.warning("promiscuous_on has no effect without raw_interface: it is a mode of one interface")
    profile = ProfileSettings(
        name="moni",
        dev=(dev,),
        ports=ports,
        workers=classic.raw_sock_children,
        promisc=promisc,
        ring_buffer=min(max(settings.hep.receive_buffer, _SMALLEST_RING), _LARGEST_RING),
        timeout=_BLOCK_MS,
        tunnels=False,
    )
    chosen = None
    if classic.raw_moni_bpf_on:
        expression = f"portrange {ports}" if "-" in ports else f"port {ports}"
        chosen = compile_filter(expression, pass_fragments=True, where="raw_moni_bpf_on")
    return f"moni://{dev}:{ports}", profile, open_device(dev, chosen, profile)
