"""From a window of frames to what a plan sent: one worker's work, once a window.

In: windows of a frame source. Out: rows in the sinks, and counts. Nothing here waits for a target, and
nothing a peer sends raises. A `Reader` belongs to one thread.

Two sums hold and are tested: packets received = packets carried + packets dropped while frames were read;
messages found = messages forwarded + messages dropped.
"""

import threading
import time
from dataclasses import replace
from typing import Any, Final

import numpy as np
import structlog

from hepcat.batch.drops import Drop
from hepcat.batch.layout import Array, Batch
from hepcat.pipeline.profiles import Prepared
from hepcat.pipeline.shed import Shedder
from hepcat.plans.compiler import Runner
from hepcat.plans.plan import Environment
from hepcat.sources.frame_source import FrameSource, Window
from hepcat.wire.collect import IndexOptions, append_found, clear, first_octets, new_batch, sip_among
from hepcat.wire.dissect import END_OF_TIME, Dissector, Found, take_packets

#: Messages a plan is run on at once: the columns of so many stay within a core's cache.
ROWS: Final = 2048
#: Seconds a worker waits for packets before it looks at what it holds.
IDLE_SECONDS: Final = 0.5
#: Seconds a worker that was told to stop goes on reading what had arrived.
DRAIN_SECONDS: Final = 5.0

log = structlog.get_logger("hepcat.capture")


class AgentTally:
    """Counts of one worker; one thread writes, others read whenever they like.

    packets: read from the source; octets of those; kernel: dropped by the kernel. carried: packets that gave
    a message, a part of one, or a part of a stream. messages: found. forwarded: taken by a target.
    int64, indexed by Drop: frame_drops: packets dropped while frames were read; part_drops: what was lost
    while parts were put together, in the unit of the stage that counts it; drops: messages.
    """

    __slots__ = (
        "carried",
        "drops",
        "forwarded",
        "frame_drops",
        "kernel",
        "messages",
        "octets",
        "packets",
        "part_drops",
        "source",
    )

    def __init__(self, source: str) -> None:
        self.source = source
        self.packets = self.octets = self.kernel = 0
        self.carried = self.messages = self.forwarded = 0
        self.frame_drops: Array = np.zeros(len(Drop), dtype=np.int64)
        self.part_drops: Array = np.zeros(len(Drop), dtype=np.int64)
        self.drops: Array = np.zeros(len(Drop), dtype=np.int64)


class Planner:
    """Runs a worker's plan on batches, and counts what became of the messages."""

    def __init__(
        self, profile: Prepared, env: Environment, tally: AgentTally, shedder: Shedder | None
    ) -> None:
        self.env = env
        self._tally = tally
        self._shedder = shedder
        self.swap(profile)

    def swap(self, profile: Prepared) -> None:
        """Take over a plan, compiled anew (reload): its runner, and whether a brief index will do."""
        self.current = profile.plan.bind(self.env), profile.brief

    def run(self, batch: Batch, runner: Runner | None = None) -> int:
        """Run the plan on every row; return how many were forwarded.

        runner: the one that the batch was indexed for, where a reload may have come between.
        """
        tally, runner = self._tally, runner or self.current[0]
        tally.messages += batch.n
        if self._shedder is not None and self._shedder.active:
            batch = self._shedder.shed(batch, tally.drops)
        if not batch.n:
            return 0
        before = self.env.drops.copy()
        work = runner.run(batch, int(batch.ts[: batch.n].max()))
        sent = int(np.count_nonzero(work.sent))
        left = batch.n - sent
        tally.forwarded += sent
        if left:
            named = self.env.drops - before  # the plan's own reasons: PLAN, SAMPLED, RATE_LIMIT ...
            tally.drops += named
            tally.drops[Drop.NO_TARGET] += left - int(named.sum())
        return sent


class Reader:
    """Reads windows: frames to messages to the plan."""

    def __init__(
        self,
        profile: Prepared,
        planner: Planner,
        tally: AgentTally,
        options: IndexOptions,
        secrets: Any = None,
    ) -> None:
        settings = profile.settings
        self.tally = tally
        self.planner = planner
        self._profile = profile
        self.stats_interval = settings.stats_interval
        self._filters = frozenset(settings.capture_filter)
        whole = profile.filter() if settings.reassemble else None
        raw = whole.raw() if whole is not None else None
        self._dissector = Dissector(
            profile.dissect, tally.part_drops, tally.frame_drops, secrets=secrets, keep=_program(raw)
        )
        self._by_link: dict[int, Any] = {}
        self._options = replace(options, other_type=settings.hep_type or 0)
        self._brief = replace(self._options, brief=True)
        self._batch = new_batch(ROWS, self._options.extra)
        self._replace = AddressReplacement(settings.ip_replace) if settings.ip_replace else None

    def take(self, window: Window, filtered: bool = True) -> None:
        """Read a window. filtered: the kernel has applied the profile's filter already."""
        tally, packets = self.tally, window.packets
        tally.packets += packets.n
        tally.octets += int(packets.original[: packets.n].sum())
        if not filtered and self._profile.expression and packets.n:
            packets = self._filter(window)
        found = self._dissector.read(window.data, packets)
        tally.carried += found.carried
        self._plan(found)

    def expire(self, now_us: int) -> None:
        """Give up what was waited for too long; messages that come free by it go through the plan."""
        self._plan(self._dissector.expire(now_us))

    def _plan(self, found: Found) -> None:
        if not found.datagrams.n:
            return
        runner, brief = self.planner.current
        options = self._brief if brief else self._options
        mask = sip_among(found)
        keep, batch = self._wanted(found, mask), self._batch
        while len(keep):
            done = append_found(batch, found, keep, mask, options)
            keep = keep[done:]
            if self._replace is not None:
                self._replace.apply(batch)
            self.planner.run(batch.trim(), runner)
            clear(batch)

    def _wanted(self, found: Found, mask: Array) -> Array:
        """Return the rows that the profile's capture filters let through, before anything is copied."""
        n = found.datagrams.n
        kept = np.ones(n, dtype=bool)
        if "sip" in self._filters:
            kept &= mask != 0
        if "rtcp" in self._filters or "rtp" in self._filters:
            head = first_octets(found, 2)
            kept &= (head[:, 0] & 0xC0) == 0x80
            if "rtcp" in self._filters:
                kept &= (head[:, 1] >= 200) & (head[:, 1] <= 204)
        if "ip_to_ip" in self._filters:
            kept &= found.datagrams.depth[:n] > 0
        rows = np.flatnonzero(kept)
        self._count_refused(n - len(rows))
        return rows

    def _count_refused(self, count: int) -> None:
        self.tally.messages += count
        self.tally.drops[Drop.FILTER] += count

    def _filter(self, window: Window) -> Any:
        """Apply the filter here, where no kernel did (files)."""
        packets = window.packets
        link = packets.link[: packets.n]
        mask = np.zeros(packets.n, dtype=np.uint8)
        for kind in np.unique(link).tolist():
            if kind not in self._by_link:
                self._by_link[kind] = _program(self._profile.filter(kind))
            rows = np.flatnonzero(link == kind)
            part = np.zeros(len(rows), dtype=np.uint8)
            self._by_link[kind].mask(window.data, take_packets(packets, rows), part)
            mask[rows] = part
        kept = np.flatnonzero(mask)
        self.tally.frame_drops[Drop.FILTER] += packets.n - len(kept)
        return take_packets(packets, kept)


class CaptureWorker:
    """A thread that reads one live source until it is stopped."""

    def __init__(self, source: FrameSource, reader: Reader, clock: Any, writer: Any = None) -> None:
        """clock: () -> microseconds since the epoch. writer: keeps the frames in a file (`-w`), or None."""
        self.reader = reader
        self.source = source
        self._clock = clock
        self._writer = writer
        self._skipped: Array = np.zeros(len(Drop), dtype=np.int64)
        self._stats = StatsLog(source.name, reader.tally, reader.stats_interval)
        self._ends_itself = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"capture {source.name}", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Ask to end; what has arrived already is still read."""
        self._stop.set()

    def join(self) -> None:
        """Wait for the end."""
        self._thread.join()

    def _run(self) -> None:
        source, reader = self.source, self.reader
        looked, give_up = time.monotonic(), float("inf")
        while not source.ended and time.monotonic() < give_up:
            stopping = self._stop.is_set()
            if stopping and give_up == float("inf"):
                give_up = time.monotonic() + DRAIN_SECONDS
                self._finish()
            window = source.next_window(0.0 if stopping and not self._ends_itself else IDLE_SECONDS)
            if window is not None:
                if self._writer is not None:
                    self._writer.write(window.data, window.packets)
                reader.take(window)
                source.release(window)
            elif stopping and not self._ends_itself:
                break
            # Also where packets never cease: what waits may be of another kind than what comes. Then time is
            # that of the packets: a worker that is late would give up what lies unread in its ring.
            if window is None or time.monotonic() - looked >= IDLE_SECONDS:
                looked = time.monotonic()
                if window is None:
                    reader.expire(self._clock())
                elif window.packets.n:  # else it tells no time
                    reader.expire(window.now_us)
                self._stats.look(looked)
            self._count_skipped()
        reader.expire(END_OF_TIME)
        source.close()
        self._count_skipped()

    def _finish(self) -> None:
        """Let a ring take nothing more but hand out the block that is being filled, then end by itself."""
        finish: Any = getattr(self.source, "finish", None)
        if finish is not None:
            finish()
            self._ends_itself = True

    def _count_skipped(self) -> None:
        """Count what the kernel dropped, and what the source passed over (loopback's second sight)."""
        self.reader.tally.kernel += self.source.kernel_drops()
        drops: Any = getattr(self.source, "drops", None)
        if drops is not None:
            tally, fresh = self.reader.tally, drops - self._skipped
            tally.packets += int(fresh.sum())
            tally.frame_drops += fresh
            self._skipped = drops.copy()


class StatsLog:
    """`stats_interval`: what the kernel dropped since the line before, in the log."""

    def __init__(self, source: str, tally: AgentTally, interval: float) -> None:
        self._source, self._tally, self._interval = source, tally, interval
        self._at = time.monotonic()
        self._packets = self._kernel = 0

    def look(self, now: float) -> None:
        """Write a line where it is time to. now: of the monotonic clock, seconds."""
        if not self._interval or now - self._at < self._interval:
            return
        tally = self._tally
        packets, kernel = tally.packets - self._packets, tally.kernel - self._kernel
        level = log.warning if kernel else log.info
        level("kernel drops", source=self._source, packets=packets, dropped=kernel)
        self._at, self._packets, self._kernel = now, tally.packets, tally.kernel


class AddressReplacement:
    """`ip_replace`: "IP[:PORT]-IP[:PORT];...": addresses that are sent as others."""

    def __init__(self, text: str) -> None:
        """Raises HepcatError where the text cannot be read."""
        from hepcat.pipeline.replacing import parse_replacements

        self._pairs = parse_replacements(text)

    def apply(self, batch: Batch) -> None:
        """Replace source and destination addresses (and ports where given) in place.

        Of several pairs the first that matches counts, once: "A-B;B-A" exchanges two addresses.
        """
        n = batch.n
        for address, port in ((batch.src_ip, batch.src_port), (batch.dst_ip, batch.dst_port)):
            left = np.ones(n, dtype=bool)
            for old, old_port, new, new_port in self._pairs:
                hit = left & (address[:n] == old).all(axis=1)
                if old_port:
                    hit &= port[:n] == old_port
                left &= ~hit
                rows = np.flatnonzero(hit)
                address[rows] = new
                batch.family[rows] = 2 if bytes(new[:12]) == b"\0" * 10 + b"\xff\xff" else 10
                if new_port:
                    port[rows] = new_port


def _program(compiled: Any) -> Any:
    """Return the interpreter's program of a compiled filter; None where there is none."""
    if compiled is None:
        return None
    from hepcat.wire.bpf import BpfProgram

    return BpfProgram(compiled.instructions)
