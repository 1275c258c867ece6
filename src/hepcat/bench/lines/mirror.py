"""A mirroring port into the lake: frames on a veth pair, from a raw sender as fast as it goes.

The server, its sender and the kernel share all cores there are. Each packet that was sent must be in the lake
or in a counter: what the counters say is held against what was sent, and against what a search finds.
"""

import json
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hepcat.bench.measure import Context, Row
from hepcat.bench.namespaces import FAR, NEAR, Pair
from hepcat.bench.processes import Child, hepcat, run_json
from hepcat.bench.server import count_messages

NAME = "mirror port: frames into the lake"

#: Packets a second that have to get there.
_RATE: Final = 150_000
#: Packets a second to try after that, until some are lost.
_HIGHER: Final = (175_000, 200_000, 225_000, 250_000, 300_000)
_SECONDS: Final = 8
_ATTEMPTS: Final = 3
_CONFIG: Final = """
data = "{data}"
[sipcapture]
capture_on = 1
raw_moni_capture_on = 1
raw_interface = "{dev}"
raw_socket_listen = "10.0.0.1:5060-5090"
raw_moni_bpf_on = {bpf}
promiscuous_on = 1

[web]
enabled = false
"""


@dataclass(frozen=True, slots=True)
class Trial:
    """One run. rate: of packets that were sent; stored_rate: of those that were stored, from the first packet
    until all were. found: in the lake, by a search. uncounted: packets in neither lake nor counter.
    """

    rate: float
    sent: int
    stored: int
    found: int
    stored_rate: float
    lost: dict[str, int]
    uncounted: int
    cpu_us: float


def _stats(data: Path) -> dict[str, Any] | None:
    """Ask the server for its counters, by its Unix socket; None while it does not answer."""
    done = subprocess.run(
        hepcat("ctl", "stats", "--json", "--data", str(data)), capture_output=True, text=True, timeout=30
    )
    return dict(json.loads(done.stdout)["total"]) if done.returncode == 0 else None


def _wait_ready(data: Path, server: Child, log: Path) -> None:
    deadline = time.monotonic() + 20
    while _stats(data) is None:
        if server.process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"hepcat serve did not start; see {log}")
        time.sleep(0.1)


def _settle(data: Path, sent: int, seconds: float = 60) -> dict[str, Any]:
    """Wait until all that was sent is accounted for and nothing is under way, or nothing changes."""
    last: dict[str, Any] = {"received": 0, "stored": 0, "in_flight": 0, "dropped": {}}
    deadline, since = time.monotonic() + seconds, time.monotonic()
    while time.monotonic() < deadline:
        now = _stats(data) or last
        if now["received"] >= sent and now["in_flight"] == 0:
            return now
        if now != last:
            last, since = now, time.monotonic()
        elif time.monotonic() - since > 3:
            break
        time.sleep(0.1)
    return last


def trial(pair: Pair, work: Path, rate: int, packets: int, bpf: bool = True) -> Trial:
    """Send so many packets (rate 0: as fast as it goes) to a fresh server."""
    work.mkdir(parents=True, exist_ok=True)
    data, log, config = work / "data", work / "serve.log", work / "hepcat.toml"
    config.write_text(_CONFIG.format(data=data, dev=NEAR, bpf=int(bpf)))
    try:
        with Child("serve", "--config", str(config), within=pair.near, log=log) as server:
            _wait_ready(data, server, log)
            before = server.cpu_seconds()
            sent = run_json(
                "bench", "frames", "--dev", FAR, "--rate", str(rate), "--packets", str(packets),
                within=pair.far,
            )  # fmt: skip
            begin = time.perf_counter()
            counts = _settle(data, packets)
            elapsed = sent["seconds"] + time.perf_counter() - begin
            cpu = server.cpu_seconds() - before
            server.end()
        found = count_messages(data)
    finally:
        shutil.rmtree(data, ignore_errors=True)
    stored, lost = int(counts["stored"]), dict(counts["dropped"])
    return Trial(
        sent["rate"],
        packets,
        stored,
        found,
        stored / elapsed,
        lost,
        packets - found - sum(lost.values()),
        cpu / max(1, stored) * 1e6,
    )


def measure(context: Context) -> list[Row]:
    """As fast as the sender goes, then the highest rate at which nothing is lost."""
    seconds = 3 if context.quick else _SECONDS
    with Pair() as pair:
        work = context.work / "mirror"
        trials = (_say(context, trial(pair, work, 0, 250_000 * seconds)) for _ in range(_ATTEMPTS))
        fastest = max(trials, key=lambda one: one.stored_rate)
        best: Trial | None = None
        for rate in (_RATE, *_HIGHER):
            now = _reach(context, pair, rate, seconds)
            if now is None:
                break
            best = now
    return [_fastest(fastest), _best(best)]


def _reach(context: Context, pair: Pair, rate: int, seconds: int) -> Trial | None:
    """Try a rate, more than once: other work on the machine must not decide. None where it is too high."""
    for _ in range(_ATTEMPTS):
        now = _say(context, trial(pair, context.work / "mirror", rate, rate * seconds))
        if not now.lost and not now.uncounted and now.rate >= 0.97 * rate:
            return now
    return None


def _say(context: Context, one: Trial) -> Trial:
    context.say(
        f"  {one.rate:,.0f} a second sent, {one.stored:,} of {one.sent:,} stored, {one.found:,} found, lost "
        f"{one.lost}, not counted {one.uncounted}, {one.cpu_us:.2f} us CPU"
    )
    return one


def _fastest(one: Trial) -> Row:
    return Row(
        "mirror port into the lake, raw sender as fast as it goes",
        f"{one.stored_rate:,.0f} stored a second of {one.rate:,.0f} sent, {one.cpu_us:.2f} us CPU a packet",
        f"at least {_RATE:,} a second, none lost without being counted",
        f"{one.found:,} of {one.sent:,} found, {_named(one.lost)} counted as lost, {one.uncounted:,} neither",
        one.uncounted == 0 and one.stored_rate >= _RATE,
        one.stored_rate,
        {"sent_rate": one.rate, "uncounted": one.uncounted, "cpu_us": one.cpu_us, **one.lost},
    )


def _best(best: Trial | None) -> Row:
    what = "mirror port into the lake: highest rate of those tried at which every packet is stored"
    if best is None:
        return Row(what, f"not reached at {_RATE:,} a second", passed=False)
    return Row(
        what,
        f"{best.rate:,.0f} packets a second, {best.cpu_us:.2f} us CPU a packet, whole process",
        f"at least {_RATE:,} a second",
        f"{best.found:,} of {best.sent:,} found by a search",
        True,
        best.rate,
    )


def _named(lost: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in lost.items()) or "none"
