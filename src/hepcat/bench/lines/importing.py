"""Import of a large pcap, against tshark printing the Call-ID of the same packets, in the same run."""

import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Final

from hepcat.bench.measure import Context, Row
from hepcat.bench.pcapfile import write_pcap
from hepcat.bench.processes import hepcat
from hepcat.bench.server import count_messages

NAME = "import of a pcap against tshark"

_PACKETS: Final = 1_000_000
#: Packets that tshark is given with --quick; its time is then multiplied.
_PART: Final = 100_000


def _import(file: Path, data: Path) -> float:
    """Return the seconds that the command takes, from nothing to stored."""
    begin = time.perf_counter()
    done = subprocess.run(hepcat("import", str(file), "--data", str(data)), capture_output=True, text=True)
    seconds = time.perf_counter() - begin
    if done.returncode:
        raise RuntimeError(f"hepcat import: {done.stderr.strip()[-300:]}")
    return seconds


def _tshark(file: Path) -> tuple[float, int]:
    """Return the seconds that tshark takes, and how many messages it names."""
    begin = time.perf_counter()
    done = subprocess.run(
        ["tshark", "-r", str(file), "-Y", "sip", "-T", "fields", "-e", "sip.Call-ID"],
        capture_output=True, check=True,
    )  # fmt: skip
    return time.perf_counter() - begin, done.stdout.count(b"\n")


def measure(context: Context) -> list[Row]:
    """Write the file, import it (the faster of two), let tshark read it or a part of it."""
    file, part = context.work / "million.pcap", context.work / "part.pcap"
    write_pcap(file, _PACKETS, calls=20_000)
    write_pcap(part, _PART, calls=20_000)
    try:
        spent, stored = [], 0
        for i in range(2):
            data = context.work / f"imported{i}"
            spent.append(_import(file, data))
            stored = count_messages(data)
            shutil.rmtree(data)
        return _compare(context, file, part, min(spent), stored)
    finally:
        file.unlink()
        part.unlink()


def _compare(context: Context, file: Path, part: Path, seconds: float, stored: int) -> list[Row]:
    what = f"import of a pcap of {_PACKETS:,} packets"
    measured = f"{seconds:.1f} s, {_PACKETS / seconds:,.0f} packets a second, {stored:,} messages stored"
    must = "at least 20 times as fast as tshark"
    if not shutil.which("tshark"):
        return [Row(what, measured, must, "skipped: tshark is not installed", None, seconds)]
    context.say(f"  hepcat import: {seconds:.1f} s; tshark")
    took, named = _tshark(part if context.quick else file)
    packets = _PART if context.quick else _PACKETS
    scaled = took * _PACKETS / packets
    ratio = scaled / seconds
    note = f" (measured on {_PART:,} packets, multiplied)" if context.quick else ""
    detail: dict[str, Any] = {"tshark_seconds": took, "tshark_packets": packets, "tshark_messages": named}
    complete = stored == _PACKETS and named == packets
    return [
        Row(
            what,
            measured,
            must,
            f"{ratio:.0f} times as fast as tshark ({scaled:.0f} s{note})",
            ratio >= 20 and complete,
            ratio,
            detail | {"seconds": seconds, "stored": stored},
        )
    ]
