"""From a window of frames to what a plan sent: one worker's work, once a window.

In: windows of a frame source. Out: rows in the sinks, and counts. Nothing here waits for a target, and
nothing a peer sends raises. A `Reader` belongs to one thread.

Two sums hold and are tested: packets received = packets carried + packets dropped while frames were read;
messages found = messages forwarded + messages dropped.
"""

from dataclasses import replace
from typing import Any, Final

import numpy as np

from hepcat.batch.drops import Drop
from hepcat.batch.layout import Array, Batch
from hepcat.pipeline.frame_worker import FrameTally
from hepcat.pipeline.profiles import Prepared
from hepcat.pipeline.shed import Shedder
from hepcat.pipeline.switch import CaptureSwitch
from hepcat.plans.compiler import Runner
from hepcat.plans.plan import Environment
from hepcat.sources.frame_source import Window
from hepcat.wire.collect import IndexOptions, append_found, clear, first_octets, new_batch, sip_among
from hepcat.wire.dissect import Dissector, Found, take_packets

#: Messages a plan is run on at once: the columns of so many stay within a core's cache.
ROWS: Final = 2048


class AgentTally(FrameTally):
    """Counts of one worker whose messages go through a plan. forwarded: taken by a target."""

    __slots__ = ("forwarded",)

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self.forwarded = 0


class Planner:
    """Runs a worker's plan on batches, and counts what became of the messages."""

    def __init__(
        self,
        profile: Prepared,
        env: Environment,
        tally: AgentTally,
        shedder: Shedder | None,
        switch: CaptureSwitch | None = None,
    ) -> None:
        self.env = env
        self._switch = switch or CaptureSwitch()
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
        if not self._switch.is_on(tally.source):
            tally.drops[Drop.CAPTURE_OFF] += batch.n
            return 0
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
