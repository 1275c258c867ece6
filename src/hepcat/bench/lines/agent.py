"""The agent from frames on a veth pair to HEP over UDP, on one core; its memory at rest and under load.

The agent runs on one core, the sender of frames and the counting sink on another. Rates rise until 1 % of
the packets is lost. The baseline is captagent 6.4.3, which is not run here: its figures were taken with the
same calls, on a veth pair and with a counting sink on loopback as well.
"""

import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from hepcat.bench.measure import Context, Row, Skipped
from hepcat.bench.namespaces import FAR, NEAR, Pair
from hepcat.bench.processes import Child, Watch, run_json
from hepcat.mmsg import Sender

NAME = "agent: frames to HEP over UDP"

#: captagent 6.4.3: highest rate with less than 1 % loss, and CPU a packet, microseconds: 18 to 22.
CAPTAGENT_RATE: Final = 48_000
CAPTAGENT_CPU: Final = 20.0
_CAPTAGENT: Final = "captagent, measured elsewhere and not run here"
_TIMES: Final = 4
_CPU_SHARE: Final = 5
_LOSS: Final = 0.01
#: The bare sender: octets of a datagram (the mean of the calls as HEP), and how many at once.
_BARE_OCTETS: Final = 850
_BARE_BATCH: Final = 1024
_REST: Final = 60
_LOADED: Final = 120
#: Packets a second to try, until twice in a row too many are lost.
_RATES: Final = (100_000, 150_000, 192_500, 210_000, 230_000, 260_000, 300_000, 350_000, 400_000)
#: What captagent's shipped plan does: SIP of some size is sent, and media addresses are learnt from its SDP.
_PLAN: Final = """capture[sip] {
    if (msg_check("size", "100")) {
        if (parse_sip()) {
            send_hep("hepsocket");
            if (sip_has_sdp()) {
                check_rtcp_ipport();
            }
        }
    }
    drop;
}
"""


@dataclass(frozen=True, slots=True)
class Trial:
    """One run. rate: that was really sent. rest, loaded: resident memory, octets."""

    rate: float
    sent: int
    received: int
    cpu_us: float
    rest: int
    loaded: int

    @property
    def loss(self) -> float:
        """Share of the packets that did not reach the sink."""
        return 1 - self.received / self.sent


def cores() -> tuple[int, int]:
    """Return the core for the agent and that for sender and sink. Raises Skipped where there is one only."""
    if not hasattr(os, "sched_getaffinity") or not hasattr(socket, "AF_PACKET"):
        raise Skipped("packet sockets and affinity are Linux's")
    there = sorted(os.sched_getaffinity(0))
    if len(there) < 2:
        raise Skipped("it takes two cores: one for the agent, one for its peers")
    return there[0], there[1]


def trial(pair: Pair, work: Path, rate: int, packets: int) -> Trial:
    """Send so many packets at this rate to a fresh agent."""
    own, other = cores()
    plan = work / "agent.cfg"
    plan.write_text(_PLAN)
    with Child("bench", "sink", "--buffer", str(32 << 20), within=pair.near, cpu=other) as sink:
        to = f"udp://127.0.0.1:{sink.line()['port']}"
        with Child(
            "agent", "--dev", NEAR, "--filter", "port 5060", "--to", to, "--plan", str(plan),
            "--cpu", str(own), within=pair.near, log=work / "agent.log",
        ) as agent:  # fmt: skip
            assert agent.process.stdout is not None
            if not agent.process.stdout.readline():
                raise RuntimeError(f"the agent did not start; see {work / 'agent.log'}")
            time.sleep(1)
            rest, before = agent.rss(), agent.cpu_seconds()
            watch = Watch(agent)
            sent = run_json(
                "bench", "frames", "--dev", FAR, "--rate", str(rate), "--packets", str(packets),
                within=[*pair.far, "taskset", "-c", str(other)],
            )  # fmt: skip
            time.sleep(0.3)
            cpu = agent.cpu_seconds() - before
            loaded = max(watch.end().most(), agent.rss())
            agent.end()
        sink.process.terminate()
        got = int(sink.line()["received"])
    return Trial(sent["rate"], sent["frames"], got, cpu / max(1, got) * 1e6, rest, loaded)


def bare_send(seconds: float = 1.0) -> float:
    """Return the CPU microseconds of nothing but sendmmsg of as many octets to such a sink, on such cores.

    Datagram by datagram: the agent itself sends them in pairs where it can.
    """
    own, other = cores()
    allowed = os.sched_getaffinity(0)
    octets = np.zeros(_BARE_BATCH * _BARE_OCTETS, dtype=np.uint8)
    offsets = np.arange(_BARE_BATCH + 1, dtype=np.int64) * _BARE_OCTETS
    with (
        Child("bench", "sink", "--buffer", str(32 << 20), cpu=other) as sink,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
    ):
        sock.connect(("127.0.0.1", int(sink.line()["port"])))
        sender, sent = Sender(sock), 0
        os.sched_setaffinity(0, {own})
        try:
            end, before = time.perf_counter() + seconds, time.process_time()
            while time.perf_counter() < end:
                sent += sender.send(octets, offsets, 0, _BARE_BATCH)
            spent = time.process_time() - before
        finally:
            os.sched_setaffinity(0, allowed)
    return spent / sent * 1e6


def measure(context: Context) -> list[Row]:
    """Find the highest rate; each that fails is tried twice more: other work must not decide."""
    best: Trial | None = None
    loaded = 0
    bare = bare_send()
    context.say(f"  bare sendmmsg: {bare:.2f} us CPU")
    with Pair() as pair:
        for rate in _RATES:
            for _ in range(3):
                now = trial(pair, context.work, rate, max(200_000, rate * (2 if context.quick else 5)))
                loaded = max(loaded, now.loaded)
                context.say(
                    f"  {rate:,} a second: {now.rate:,.0f} sent, {now.loss:.2%} lost, {now.cpu_us:.2f} us CPU"
                )
                if now.loss < _LOSS and now.rate >= 0.9 * rate:
                    break
            if now.loss < _LOSS and (best is None or now.rate > best.rate):
                best = now
            if now.loss >= _LOSS or now.rate < 0.9 * rate:  # too much for the agent, or for the sender
                break
    if best is None:
        raise RuntimeError(f"at {_RATES[0]:,} packets a second, {now.loss:.1%} are lost")
    return [_rate(best), _cpu(best, bare), *_memory(best, loaded)]


def _rate(best: Trial) -> Row:
    times = best.rate / CAPTAGENT_RATE
    return Row(
        "agent, frame to HEP/UDP out on one core: highest rate with less than 1 % loss",
        f"{best.rate:,.0f} packets a second, {best.loss:.2%} lost of {best.sent:,}",
        f"at least {_TIMES} times captagent's {CAPTAGENT_RATE:,}",
        f"{times:.1f} times as many ({_CAPTAGENT})",
        times >= _TIMES,
        best.rate,
    )


def _cpu(best: Trial, bare: float) -> Row:
    return Row(
        "whole-process CPU of that, the kernel's delivery on loopback included",
        f"{best.cpu_us:.2f} us a packet; sendmmsg alone, one by one: {bare:.2f} us",
        f"at most a fifth of captagent's 18 to 22 us: {CAPTAGENT_CPU / _CPU_SHARE:.0f} us",
        f"1/{CAPTAGENT_CPU / best.cpu_us:.1f} ({_CAPTAGENT})",
        best.cpu_us <= CAPTAGENT_CPU / _CPU_SHARE,
        best.cpu_us,
        {"bare_send": bare},
    )


def _memory(best: Trial, loaded: int) -> list[Row]:
    rows: list[Any] = [
        ("agent at rest", best.rest, _REST),
        ("agent under load, the most of all rates", loaded, _LOADED),
    ]
    return [
        Row(
            f"resident memory, {what}",
            f"{octets / 2**20:.0f} MiB",
            f"at most {most} MiB",
            "",
            octets <= most * 2**20,
            octets / 2**20,
        )
        for what, octets, most in rows
    ]
