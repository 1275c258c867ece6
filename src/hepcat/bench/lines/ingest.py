"""HEP over UDP on loopback into the lake, against a bare recvmmsg sink, both beside the generator.

First the highest rate at which the sink loses nothing is looked for; then the server is given 70 % of it
for a minute, and everything is counted; then the server's own highest rate is looked for.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hepcat.bench.measure import Context, Row
from hepcat.bench.processes import Child, Memory, Watch, run_json
from hepcat.bench.server import Server, on_disk

NAME = "HEP over UDP into the lake"

#: Dialogs going on at once: those of a site with some 200 messages a second, though they come faster.
_CALLS: Final = 1_000
_SHARE: Final = 0.7
#: CPU of a message in the classic server with MariaDB, on the machine of the first measurements.
_CLASSIC_US: Final = 400.0
#: Receive buffer of the server by default; the sink gets the same.
_BUFFER: Final = 32 << 20


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of generator and receiver."""

    asked: float
    reached: float
    sent: int
    lost: int
    cpu_us: float


def _generate(port: int, rate: float, seconds: float) -> dict[str, Any]:
    """Run the generator in a process of its own."""
    return run_json(
        "bench", "hep", "--to", f"udp://127.0.0.1:{port}", "--rate", str(rate), "--seconds", str(seconds),
        "--calls", str(_CALLS), "--json",
    )  # fmt: skip


def sink_trial(rate: float, seconds: float) -> Trial:
    """Send to the bare sink."""
    with Child("bench", "sink", "--buffer", str(_BUFFER)) as child:
        port = int(child.line()["port"])
        sent = _generate(port, rate, seconds)
        time.sleep(0.3)
        child.process.terminate()
        report = child.line()
        child.process.wait(10)
    got = int(report["received"])
    return Trial(
        rate,
        sent["rate"],
        sent["messages"],
        sent["messages"] - got,
        report["cpu_seconds"] / max(1, got) * 1e6,
    )


def server_trial(work: Path, rate: float, seconds: float) -> Trial:
    """Send to a fresh server; lost is what it has not stored."""
    with Server(work) as server:
        before = server.child.cpu_seconds()
        sent = _generate(server.udp, rate, seconds)
        counts = server.settle(sent["messages"])
        cpu = server.child.cpu_seconds() - before
        server.child.end()
    stored = counts["stored"]
    return Trial(rate, sent["rate"], sent["messages"], sent["messages"] - stored, cpu / max(1, stored) * 1e6)


def highest(trial: Callable[[float, float], Trial], seconds: float, say: Callable[[str], None]) -> Trial:
    """Look for the highest rate at which nothing is lost: as fast as possible first, then downwards.

    What other work of the machine does to one trial must not decide: each rate is tried twice before it
    is given up, and as fast as possible three times.
    """
    rate = 0.0
    best: Trial | None = None
    fastest = 0.0
    for _ in range(3):
        now = trial(0.0, seconds)
        say(f"  unthrottled: {now.reached:,.0f} a second, {now.lost:,} lost")
        fastest = max(fastest, now.reached)
        if not now.lost and (best is None or now.reached > best.reached):
            best = now
    rate = fastest * 0.95
    while best is None or best.reached < 0.97 * rate:
        for _ in range(2):
            now = trial(rate, seconds)
            say(f"  {rate:,.0f} a second: {now.reached:,.0f} reached, {now.lost:,} lost")
            if not now.lost and (best is None or now.reached > best.reached):
                best = now
                break
        rate *= 0.92
        if rate < 1000:
            raise RuntimeError("even 1,000 messages a second are not received without loss")
    return best


def measure(context: Context) -> list[Row]:
    """Sink, server at 70 %, server at its best."""
    seconds = 2.0 if context.quick else 4.0
    context.say("  bare sink")
    sink = highest(sink_trial, seconds, context.say)
    rows = [
        Row(
            "bare recvmmsg sink: highest rate without loss (the baseline)",
            f"{sink.reached:,.0f} a second{_bounded(sink)}, {sink.cpu_us:.1f} us CPU a message",
            value=sink.reached,
        )
    ]
    rows += _minute(context, sink)
    context.say("  the server's highest rate")
    best = highest(lambda rate, s: server_trial(context.work / "trial", rate, s), seconds, context.say)
    rows.append(
        Row(
            "hepcat serve: highest rate without loss",
            f"{best.reached:,.0f} a second{_bounded(best)}, {best.cpu_us:.1f} us CPU a message",
            "at least 70 % of the sink's",
            f"{best.reached / sink.reached:.0%} of the bare sink",
            best.reached >= _SHARE * sink.reached,
            best.reached,
            {"cpu_us": best.cpu_us},
        )
    )
    return rows


def _bounded(trial: Trial) -> str:
    """Say so where not the receiver set the bound."""
    return " (all that the generator sends at full speed)" if not trial.asked else ""


def _minute(context: Context, sink: Trial) -> list[Row]:
    """Give the server 70 % of the sink's rate for a minute."""
    rate, seconds = _SHARE * sink.reached, 10.0 if context.quick else 60.0
    context.say(f"  hepcat serve: {rate:,.0f} a second for {seconds:.0f} s")
    with Server(context.work / "minute") as server:
        before = server.child.cpu_seconds()
        watch = Watch(server.child)
        sent = _generate(server.udp, rate, seconds)
        memory = watch.end()
        counts = server.settle(sent["messages"])
        found = server.found()
        cpu = server.child.end() - before  # the sealing of what was left included
        disk = on_disk(server.data)
    return [
        _stored(sink, sent, counts, found, rate, seconds),
        _cpu(cpu, counts["stored"], sink),
        _disk(disk, sent),
        _memory(memory, seconds),
    ]


def _stored(
    sink: Trial, sent: dict[str, Any], counts: dict[str, int], found: int, rate: float, seconds: float
) -> Row:
    same = sent["messages"] == counts["received"] == counts["stored"] == found
    kept_up = sent["rate"] >= 0.99 * rate
    drops = {name: n for name, n in counts.items() if name not in ("received", "stored")}
    return Row(
        f"HEP/UDP into the lake, generator and server on the same cores, for {seconds:.0f} s",
        f"{sent['rate']:,.0f} a second; sent {sent['messages']:,}, received {counts['received']:,}, "
        f"stored {counts['stored']:,}, found {found:,}",
        "70 % of the sink, nothing lost",
        f"{sent['rate'] / sink.reached:.0%} of the bare sink"
        + ("" if kept_up else " (generator fell behind)"),
        same and kept_up,
        sent["rate"],
        drops,
    )


def _cpu(cpu: float, stored: int, sink: Trial) -> Row:
    each = cpu / max(1, stored) * 1e6
    return Row(
        "whole-process CPU of that, sealing included",
        f"{each:.2f} us a message",
        "at most 5 us",
        f"{each / sink.cpu_us:.1f} times the bare sink; "
        f"1/{_CLASSIC_US / each:.0f} of the classic server with MariaDB (400 us)",
        each <= 5.0,
        each,
    )


def _disk(disk: dict[str, Any], sent: dict[str, Any]) -> Row:
    each = disk["octets"] / max(1, disk["rows"])
    raw = sent["octets"] / max(1, sent["messages"])
    return Row(
        "on disk after sealing (Parquet)",
        f"{each:.0f} octets a message, {disk['rows']:,} messages in {disk['files']} files",
        "at most 150 octets",
        f"1/{raw / each:.1f} of the datagrams",
        each <= 150 and disk["rows"] == sent["messages"] and not disk["journal"],
        each,
        disk,
    )


def _memory(memory: Memory, seconds: float) -> Row:
    early, late = memory.mean(0.25, 0.45) / 2**20, memory.mean(0.8, 1.0) / 2**20
    most = memory.most() / 2**20
    flat = late <= early * 1.1 + 16 or seconds < 60  # a short run does not tell warming up from growing
    return Row(
        "resident memory under that load",
        f"at most {most:.0f} MiB; {early:.0f} MiB in the first half, {late:.0f} MiB at the end",
        "at most 600 MiB, flat",
        f"{late / early - 1:+.0%} over {seconds * 0.55:.0f} s" if early else "",
        most <= 600 and flat,
        most,
        {"samples": [(round(at, 1), octets) for at, octets in memory.samples]},
    )
