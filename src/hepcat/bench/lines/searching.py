"""How long finding takes among 5, 20 and (--full) 60 million messages, and how that grows.

The lake is made in this process: the generator's traffic, decoded and indexed as the server does it, then
appended as an import. A message every 4.32 ms, so that 20 million are a day. Then its small files are merged
as a server does it in the background. Each query runs in a process of its own.
"""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from hepcat.batch.drops import Drop
from hepcat.batch.layout import Batch
from hepcat.bench.measure import Context, Row
from hepcat.bench.processes import run_json
from hepcat.bench.server import on_disk
from hepcat.bench.traffic import Traffic
from hepcat.wire.hep import decode_hep
from hepcat.wire.sip import index_sip

NAME = "search among many millions"

_STEP: Final = 4320  # microseconds between messages
_START: Final = 1_750_000_000_000_000
_AT_ONCE: Final = 8192
_MEMORY: Final = 2**30
#: Kinds of queries.py: what is asked, and the most seconds it may take.
_KINDS: Final[dict[str, tuple[str, float | None]]] = {
    "call_id": ("a Call-ID", 0.05),
    "calls_of": ("a from_user over a day, its newest 100 calls", 0.5),
    "messages_of": ("a from_user over a day, its newest 100 messages, all columns", 0.5),
    "matches_of": ("a from_user over a day, the number of its messages", 0.5),
    "histogram": ("a histogram of all messages", 0.7),
    "calls": ("a histogram of all calls", None),
}


@dataclass(slots=True)
class Sample:
    """What to look for: taken from the middle of the lake."""

    call_id: str = ""
    from_user: str = ""


class Growing:
    """A lake that grows to several sizes."""

    def __init__(self, data: Path) -> None:
        self.data = data
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
                ts = _START + (self.rows + np.arange(count, dtype=np.int64)) * _STEP
                block = self._traffic.block(ts)
                self._batch.n = 0
                sizes = np.diff(block.offsets)
                done = decode_hep(
                    block.buffer, block.offsets[:-1], sizes, count, int(ts[0]), self._batch, self._drops
                )
                if done != count or self._batch.n != count:
                    raise RuntimeError("the generator's messages were not all decoded")
                index_sip(self._batch, 0)
                writer.append(self._batch)
                if self.rows <= middle < self.rows + count:
                    self._take(middle - self.rows)
                self.rows += count
            writer.commit()
        return time.perf_counter() - begin

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
        return _START + self.rows * _STEP

    def query(self, kind: str) -> dict[str, Any]:
        """Time one kind of query in a process of its own."""
        day = 86_400_000_000
        value, since = self.sample.call_id, _START
        if kind.endswith("_of"):
            value, since = self.sample.from_user, max(_START, self.until - day)
        return run_json(
            "bench", "query", "--data", str(self.data), "--kind", kind, "--value", value,
            "--since", str(since), "--until", str(self.until),
        )  # fmt: skip


def measure(context: Context) -> list[Row]:
    """Grow the lake step by step; ask at each size."""
    million = 1_000_000
    sizes = [million, 5 * million] if context.quick else [5 * million, 20 * million]
    if context.full:
        sizes.append(60 * million)
    data = context.work / "searched"
    lake = Growing(data)
    times: dict[str, dict[int, dict[str, Any]]] = {kind: {} for kind in _KINDS}
    built = 0.0
    try:
        for size in sizes:
            built += lake.grow(size)
            before, after = lake.merge()
            context.say(
                f"  {size // million} million messages in the lake after {built:.0f} s, "
                f"{before} files merged to {after}"
            )
            for kind, found in times.items():
                found[size] = lake.query(kind)
                context.say(f"  {kind}: {found[size]}")
        octets = on_disk(data)["octets"] / lake.rows
    finally:
        shutil.rmtree(data, ignore_errors=True)
    return [
        *(_row(what, limit, times[kind]) for kind, (what, limit) in _KINDS.items()),
        Row(
            "building that lake in one process (generate, decode, index, write)",
            f"{lake.rows / built:,.0f} messages a second, {octets:.0f} octets each on disk",
            value=lake.rows / built,
        ),
    ]


def _row(what: str, limit: float | None, found: dict[int, dict[str, Any]]) -> Row:
    """The demand holds at 20 million (with --quick: at the largest size), memory at every size."""
    sizes = sorted(found)
    judged = 20_000_000 if 20_000_000 in found else sizes[-1]
    warm = found[judged]["warm"]
    memory = max(f["memory"] for f in found.values())
    each = ", ".join(f"{size // 1_000_000} M: {found[size]['warm']:.3f} s" for size in sizes)
    growth = found[sizes[-1]]["warm"] / found[sizes[0]]["warm"]
    return Row(
        f"{what} among {judged // 1_000_000} million messages, warm",
        f"{warm:.3f} s ({each}), {memory / 2**20:.0f} MiB at most, {found[judged]['rows']:,} rows",
        f"at most {limit} s, 1 GiB" if limit else "",
        f"{growth:.1f} times the time for {sizes[-1] / sizes[0]:.0f} times the messages",
        None
        if limit is None
        else warm <= limit and memory <= _MEMORY and all(f["rows"] > 0 for f in found.values()),
        warm,
        {str(size): found[size] for size in sizes},
    )
