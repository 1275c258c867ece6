"""Records as capture files: each message as one packet (or segments), rotated by size or time, gzipped if
asked.

In: batches. Out: pcap files. The file's name may hold %Y, %m, %d, %H, %M, %S (UTC): the time it was begun; a
name that is taken gets -1, -2 ... before its ending, so that nothing is written over. What can go wrong:
OSError from keep, where nothing of the batch was written to a file that stays; see BatchSink.
"""

import gzip
import io
import time
from pathlib import Path
from typing import Any

import numpy as np

from hepcat.batch.gather import write_addresses
from hepcat.batch.layout import Array, Batch
from hepcat.batch.schema import TRANSPORTS
from hepcat.config.agent import TargetSettings
from hepcat.errors import HepcatError
from hepcat.sinks.batch_sink import BatchSink
from hepcat.sinks.pcap_writer import Message, PcapWriter

_NUMBERS = ("ts", "ip_proto", "src_port", "dst_port", "vlan")


class PcapKeeper:
    """Writes messages to one file after the other."""

    def __init__(self, path: Path, rotate_octets: int, rotate_seconds: float, compress: bool) -> None:
        """path: with strftime's marks. 0: never rotate."""
        self._pattern = path
        self._rotate_octets = rotate_octets
        self._rotate_seconds = rotate_seconds
        self._gzip = compress or path.suffix == ".gz"
        self._file: Any = None
        self._buffer = io.BytesIO()  # a batch is encoded here, then written whole
        self._writer: PcapWriter | None = None
        self._written = 0
        self._begun = 0.0
        self._raw: Any = None
        #: files begun, the last thousand
        self.files: list[Path] = []

    def open(self) -> None:
        """Begin the first file. Raises HepcatError."""
        try:
            self._begin()
        except OSError as error:
            raise HepcatError(
                f"cannot write to {error.filename or self._pattern}: {error.strerror}",
                "Make the folder writable, or name another path.",
            ) from None

    def keep(self, batch: Batch) -> None:
        """Write every message. Raises OSError."""
        if self._is_due():
            self._end()
        if self._file is None:
            self._begin()
        assert self._writer is not None
        self._writer.write(messages_of(batch))
        self._flush()

    def tend(self) -> None:
        """Begin a new file where it is time for that, so that the one before is whole."""
        if self._rotate_seconds and self._written and self._is_due():
            self._end()

    def close(self) -> None:
        """Close the file."""
        self._end()

    def _is_due(self) -> bool:
        if self._file is None:
            return False
        old = 0 < self._rotate_seconds <= time.monotonic() - self._begun
        return old or 0 < self._rotate_octets <= self._written

    def _begin(self) -> None:
        path = self._free_name()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._raw = path.open("xb")
        self._file = gzip.GzipFile(fileobj=self._raw, mode="wb", compresslevel=6) if self._gzip else self._raw
        self.files.append(path)
        del self.files[:-1000]
        self._begun, self._written = time.monotonic(), 0
        self._writer = PcapWriter(self._buffer)
        self._flush()
        self._written = 0

    def _free_name(self) -> Path:
        name = time.strftime(str(self._pattern), time.gmtime())
        if self._gzip and not name.endswith(".gz"):
            name += ".gz"
        path, number = Path(name), 0
        ends = "".join(path.suffixes[-2:] if path.suffix == ".gz" else path.suffixes[-1:])
        stem = path.name[: len(path.name) - len(ends)]
        while path.exists():
            number += 1
            path = path.with_name(f"{stem}-{number}{ends}")
        return path

    def _flush(self) -> None:
        """Write what was encoded. After an error the file is ended, and the batch goes to the next one."""
        octets = self._buffer.getvalue()
        self._buffer.seek(0)
        self._buffer.truncate()
        assert self._file is not None
        before = self._raw.tell()
        try:
            self._file.write(octets)
            self._file.flush()
        except OSError:
            if not self._gzip:
                self._cut(before)
            self._end()
            raise
        self._written += len(octets)

    def _cut(self, size: int) -> None:
        """Take back what was written of a batch that will be written again."""
        try:
            self._raw.truncate(size)
        except OSError:
            return

    def _end(self) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        for part in (file, self._raw):
            try:
                part.close()
            except OSError:
                continue


def messages_of(batch: Batch) -> list[Message]:
    """Return the records as what PcapWriter takes, in their order."""
    rows = np.arange(batch.n, dtype=np.int64)
    ts, proto, src_port, dst_port, vlan = (getattr(batch, name)[: batch.n].tolist() for name in _NUMBERS)
    sources, targets = _addresses(batch, "src_ip", rows), _addresses(batch, "dst_ip", rows)
    begin = (batch.start[: batch.n] + batch.fields[: batch.n, 0, 0]).tolist()
    size = batch.fields[: batch.n, 0, 1].tolist()
    octets = batch.buffer.data
    return [
        (
            ts[i],
            TRANSPORTS.get(proto[i], "udp"),
            sources[i],
            src_port[i],
            targets[i],
            dst_port[i],
            vlan[i],
            bytes(octets[begin[i] : begin[i] + size[i]]),
        )
        for i in range(batch.n)
    ]


def _addresses(batch: Batch, which: str, rows: Array) -> list[str]:
    offsets, octets = write_addresses(getattr(batch, which), batch.family, rows)
    text, places = octets.tobytes().decode("ascii"), offsets.tolist()
    return [text[places[i] : places[i + 1]] for i in range(len(rows))]


def make_pcap_sink(settings: TargetSettings) -> BatchSink:
    """Return the sink of a target of kind pcap."""
    assert settings.path is not None
    keeper = PcapKeeper(settings.path, settings.rotate_octets, settings.rotate_seconds, settings.gzip)
    return BatchSink(settings.name, keeper, settings.memory)
