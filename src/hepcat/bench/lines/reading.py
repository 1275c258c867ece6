"""The agent's parts: ring and port filter, capture files, TCP streams, plans; and random octets as frames.

CPU times of one thread. The ring is that of a veth pair in namespaces, filled by a sender on another core.
"""

import sys
import time
from pathlib import Path
from typing import Final

from hepcat.bench.lines.agent import cores
from hepcat.bench.measure import Context, Row, Skipped
from hepcat.bench.namespaces import FAR, NEAR, Pair
from hepcat.bench.pcapfile import write_pcap
from hepcat.bench.processes import Child, run_json
from hepcat.bench.reading import Timed, indexed_calls, time_file, time_streams

NAME = "the agent's parts"

_RANDOM: Final = 10_000_000
_STREAMS: Final = 1_000
#: One SIP message in so many packets of RTP.
_EVERY: Final = 50
_RATE: Final = 200_000


def measure(context: Context) -> list[Row]:
    """Each part; the ring is skipped where there are no namespaces."""
    rows = []
    for part in (_ring, _files, _streams, _plan, _random):
        context.say(f"  {part.__name__[1:]}")
        rows += part(context)
    return rows


def _ring(context: Context) -> list[Row]:
    what = f"ring to mask of a port filter on RTP noise (1 SIP in {_EVERY} packets)"
    must = "at most 0.3 us a packet"
    count = 500_000 if context.quick else 2_000_000
    try:
        own, other = cores()
        with (
            Pair() as pair,
            Child(
                "bench", "ring", "--dev", NEAR, "--packets", str(count), within=pair.near, cpu=own
            ) as child,
        ):
            child.line()
            sent = run_json(
                "bench", "frames", "--dev", FAR, "--noise", str(_EVERY), "--rate", str(_RATE),
                "--packets", str(count + count // 10), within=[*pair.far, "taskset", "-c", str(other)],
            )  # fmt: skip
            timed = Timed(**child.line())
    except Skipped as reason:
        return [Row(what, f"skipped: {reason}", must)]
    us = timed.per_packet()
    share = timed.messages / max(1, timed.packets)
    whole = timed.packets >= count and abs(share - 1 / _EVERY) < 0.002
    return [
        Row(
            what,
            f"{us:.3f} us of CPU a packet at {sent['rate']:,.0f} packets a second, waiting included; "
            f"{timed.messages:,} of {timed.packets:,} taken",
            must,
            "",
            whole and us <= 0.3,
            us,
        )
    ]


def _files(context: Context) -> list[Row]:
    packets = 200_000 if context.quick else 1_000_000
    file = context.work / "agent.pcap"
    write_pcap(file, packets, calls=20_000)
    try:
        found = min((time_file(file) for _ in range(3)), key=lambda t: t.cpu_seconds)
        indexed = min((time_file(file, index=True) for _ in range(2)), key=lambda t: t.cpu_seconds)
        rows = [_file_row(file, packets, found, indexed)]
    finally:
        file.unlink()
    return rows


def _file_row(file: Path, packets: int, found: Timed, indexed: Timed) -> Row:
    rate = found.packets / found.cpu_seconds
    return Row(
        f"pcap file in, SIP over UDP found ({packets:,} packets, {file.stat().st_size / 1e6:,.0f} MB)",
        f"{rate / 1e6:.1f} million packets a second a core; copied and indexed as well "
        f"{1 / indexed.per_packet():.2f} million",
        "at least 1 million",
        "",
        rate >= 1e6 and found.messages == indexed.messages == packets,
        rate,
    )


def _streams(context: Context) -> list[Row]:
    timed = time_streams(_STREAMS, 20 if context.quick else 60)
    us = timed.per_message()
    return [
        Row(
            f"SIP over TCP, {_STREAMS:,} streams at once: reassembly, framing, copy and index",
            f"{us:.2f} us of CPU a message ({timed.messages:,} messages in {timed.packets:,} segments)",
            "at most 2 us",
            "",
            us <= 2.0,
            us,
        )
    ]


def _plan(context: Context) -> list[Row]:
    from hepcat.plans.measure import bench_plan

    us = bench_plan(indexed_calls(320), seconds=0.5 if context.quick else 2.0)
    return [
        Row(
            "capture plan of 20 functions, a batch of 1,920 messages",
            f"{us:.2f} us a message",
            "at most 0.5 us",
            "",
            us <= 0.5,
            us,
        )
    ]


def _random(context: Context) -> list[Row]:
    """In a process of its own: where it crashed, the others would still be measured."""
    count = _RANDOM // 10 if context.quick else _RANDOM
    begin = time.perf_counter()
    try:
        timed, words = Timed(**run_json("bench", "random", "--packets", str(count))), ""
    except RuntimeError as error:
        timed, words = Timed(0, 0, 0.0), str(error)
        print(words, file=sys.stderr)
    return [
        Row(
            f"random octets as frames, {count:,} of them",
            f"{1 if words else 0} crashes; {timed.messages:,} rows came of {timed.packets:,} frames, "
            f"each of the others was counted as a drop; {time.perf_counter() - begin:.0f} s",
            "no crash, every frame accounted for",
            words[-100:],
            not words and timed.packets == count,
            float(timed.packets),
        )
    ]
