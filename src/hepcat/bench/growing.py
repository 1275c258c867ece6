"""A lake of many messages, for what is measured by searching.

In: a folder, the time of the first message, how many there are to be. Out: a lake as a server leaves it: the
generator's traffic, decoded and indexed as the server does it, its small files merged. What can go wrong:
RuntimeError where the generator's messages are not all decoded.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hepcat.batch.drops import Drop
from hepcat.batch.layout import Batch
from hepcat.bench.measure import Context
from hepcat.bench.processes import run_json
from hepcat.bench.traffic import Traffic
from hepcat.wire.hep import decode_hep
from hepcat.wire.sip import index_sip

#: Microseconds between messages: 20 million are a day.
STEP: Final = 4320
START: Final = 1_750_000_000_000_000
DAY: Final = 86_400_000_000
_AT_ONCE: Final = 8192
#: Where lines leave it for later lines, in Context.results.
_KEPT: Final = "lake of many messages"


@dataclass(slots=True)
class Sample:
    """What to look for: taken from the middle of the lake."""

    call_id: str = ""
    from_user: str = ""


class Growing:
    """A lake that grows to several sizes."""

    def __init__(self, data: Path, start: int = START) -> None:
        self.data = data
        self.start = start
        self.rows = 0
        self.sample = Sample()
        self._traffic = Traffic(calls=20_000)
        self._batch = Batch.empty(_AT_ONCE, self._traffic.widest * _AT_ONCE)
        self._drops = np.zeros(len(Drop), dtype=np.int64)

    def grow(self, rows: int) -> float:
        """Let it have `rows` messages; return the seconds that took."""
        from hepcat.stores.lake.importer import ImportWriter

        begin = time.perf_counter()
        middle = (self.rows + rows) // 2
        with ImportWriter(self.data) as writer:
            while self.rows < rows:
                count = min(_AT_ONCE, rows - self.rows)
                ts = self.start + (self.rows + np.arange(count, dtype=np.int64)) * STEP
                block = self._traffic.block(ts)
                self._decode(block.buffer, block.offsets, int(ts[0]))
                writer.append(self._batch)
                if self.rows <= middle < self.rows + count:
                    self._take(middle - self.rows)
                self.rows += count
            writer.commit()
        return time.perf_counter() - begin

    def add(self, datagrams: Sequence[bytes]) -> None:
        """Put HEP datagrams into it, at most 8,192."""
        from hepcat.stores.lake.importer import ImportWriter

        buffer = np.frombuffer(b"".join(datagrams), dtype=np.uint8).copy()
        offsets = np.concatenate(([0], np.cumsum([len(octets) for octets in datagrams]))).astype(np.int64)
        with ImportWriter(self.data) as writer:
            self._decode(buffer, offsets, self.until)
            writer.append(self._batch)
            writer.commit()

    def _decode(self, buffer: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], now: int) -> None:
        self._batch.n = 0
        count = len(offsets) - 1
        done = decode_hep(buffer, offsets[:-1], np.diff(offsets), count, now, self._batch, self._drops)
        if done != count or self._batch.n != count:
            raise RuntimeError("the generator's messages were not all decoded")
        index_sip(self._batch, 0)

    def merge(self) -> tuple[int, int]:
        """Merge until a server would find nothing more to merge; return how many files before and after."""
        from hepcat.config.lake import LakeSettings
        from hepcat.stores.lake.catalog import listing
        from hepcat.stores.lake.compact import Compactor

        before = len(listing(self.data).files)
        compactor = Compactor(self.data, LakeSettings(delete_after=0), lambda *_: None)
        while compactor.step():
            pass
        return before, len(listing(self.data).files)

    def _take(self, row: int) -> None:
        """Remember what to look for."""
        self.sample = Sample(
            (self._batch.text(row, "call_id") or b"").decode(),
            (self._batch.text(row, "from_user") or b"").decode(),
        )

    @property
    def until(self) -> int:
        """The time after the last message."""
        return self.start + self.rows * STEP

    def query(self, kind: str) -> dict[str, Any]:
        """Time one kind of query in a process of its own."""
        value, since = self.sample.call_id, self.start
        if kind.endswith("_of"):
            value, since = self.sample.from_user, max(self.start, self.until - DAY)
        return run_json(
            "bench", "query", "--data", str(self.data), "--kind", kind, "--value", value,
            "--since", str(since), "--until", str(self.until),
        )  # fmt: skip


def lake_of(context: Context, rows: int) -> Growing:
    """Return the lake of this run, for so many messages that end about now; still empty at first.

    The first line that needs it fills it, and leaves it in the working folder for later ones.
    """
    lake: Growing | None = context.results.get(_KEPT)
    if lake is None:
        lake = Growing(context.work / "many" / "data", time.time_ns() // 1000 - rows * STEP)
        context.results[_KEPT] = lake
    return lake


def forget_lake(context: Context) -> None:
    """Say that the lake is no more: its folder was removed, or other messages were put into it."""
    context.results.pop(_KEPT, None)
