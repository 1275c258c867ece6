"""The raw modes of the server in the process of a test: sources in a namespace, a store in memory."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from hepcat.batch.layout import Batch
from hepcat.config.settings import Settings
from hepcat.pipeline import frame_worker
from hepcat.pipeline.counters import Counters, SourceCounts
from hepcat.pipeline.raw_capture import RawSource, open_raw
from hepcat.pipeline.stores import StoreFan
from tests.agent.hep import Key, key_of, until
from tests.live.net import Namespace


@dataclass(frozen=True, slots=True)
class Record:
    """A row of a batch, as a store sees it."""

    payload: bytes
    src: tuple[str, int]
    dst: tuple[str, int]
    family: int
    protocol: int
    vlan: int
    ts: int
    call_id: bytes | None

    @property
    def key(self) -> Key:
        return key_of(self.payload)


class Kept:
    """A store that keeps rows; `gate` holds it up."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.gate = threading.Event()
        self.gate.set()

    def append(self, batch: Batch) -> None:
        self.gate.wait(120)
        for i in range(batch.n):
            family, protocol, vlan, ts, sport, dport = (
                int(getattr(batch, name)[i])
                for name in ("family", "ip_proto", "vlan", "ts", "src_port", "dst_port")
            )
            src, dst = (batch.address(i, name) for name in ("src_ip", "dst_ip"))
            payload = batch.text(i, "payload") or b""
            call_id = batch.text(i, "call_id")
            self.records.append(
                Record(payload, (src, sport), (dst, dport), family, protocol, vlan, ts, call_id)
            )

    def close(self) -> None: ...


class Switch:
    """Capture on or off, for all sources."""

    def __init__(self) -> None:
        self.on = True

    def is_on(self, source: str) -> bool:
        return self.on


class RawRun:
    """Sources that are open; `start` begins to read."""

    def __init__(self, where: Namespace, settings: Settings) -> None:
        self.where = where
        self.store, self.switch = Kept(), Switch()
        self.fan = StoreFan(("lake",), settings.queue.memory)
        self.counters = Counters(self.fan)
        with where.entered():
            self.sources: list[RawSource] = open_raw(settings, self.fan, self.counters, self.switch)  # type: ignore[assignment]
        self._started = False

    def start(self) -> "RawRun":
        with self.where.entered():  # what a thread looks up later on, it looks up where it began
            self.fan.start({"lake": self.store})
            for source in self.sources:
                source.start()
        self._started = True
        return self

    @property
    def counts(self) -> SourceCounts:
        return self.counters.snapshot().total

    def drops(self) -> dict[str, int]:
        return {drop.name: count for drop, count in self.counts.drops.items()}

    def settle(self, received: int, seconds: float = 60.0) -> SourceCounts:
        """Wait until so many packets were received and nothing is under way; prove the sums."""
        counts = self.counts

        def at_rest() -> bool:
            nonlocal counts
            before, counts = counts, self.counts
            return before == counts and counts.received >= received and counts.in_flight == 0

        assert until(at_rest, seconds), f"{received} wanted: {counts}"
        return self.check()

    def check(self) -> SourceCounts:
        """The sums that hold when nothing is under way, which is waited for."""
        until(lambda: self.counts.in_flight == 0)
        counts = self.counts
        stages = {stage: sum(drops.values()) for stage, drops in counts.stages.items()}
        assert counts.in_flight == 0
        assert counts.received == counts.carried + stages["packets"], counts
        assert counts.messages == counts.stored + stages["messages"], counts
        assert counts.dropped == sum(stages.values()), counts
        assert counts.stored == len(self.store.records)
        return counts

    def stop(self) -> None:
        if not self._started:
            for source in self.sources:
                source.close()
            return
        self._started = False
        for source in self.sources:
            source.stop(30.0)
        for source in self.sources:
            source.join()
        self.fan.stop(60.0)
        assert self.fan.join(60.0)


def settings_of(hep: dict[str, Any] | None = None, **classic: Any) -> Settings:
    """Settings with [sipcapture] of these parameters."""
    return Settings.model_validate({"sipcapture": {"capture_on": True, **classic}, "hep": hep or {}})


@contextlib.contextmanager
def opened(where: Namespace, hep: dict[str, Any] | None = None, **classic: Any) -> Iterator[RawRun]:
    """Open the raw mode of these parameters in a namespace; it reads once it is started."""
    run = RawRun(where, settings_of(hep, **classic))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frame_worker, "IDLE_SECONDS", 0.05)  # or every test ends half a second later
        try:
            yield run
        finally:
            run.store.gate.set()
            run.stop()


@contextlib.contextmanager
def running(where: Namespace, hep: dict[str, Any] | None = None, **classic: Any) -> Iterator[RawRun]:
    """The same, reading already."""
    with opened(where, hep, **classic) as run:
        yield run.start()
