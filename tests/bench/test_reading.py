"""The load of the agent's measurements is what it says, and what is timed reads all of it."""

from pathlib import Path

import numpy as np
import pytest

from hepcat.bench.calls import VARIES, call_frames, message, noise_frames, packets_of
from hepcat.bench.pcapfile import write_pcap
from hepcat.bench.reading import Reading, indexed_calls, read_random, stream_frames, time_file, time_streams
from hepcat.bench.traffic import Traffic
from hepcat.mmsg import _begins
from tests.lake.make import NOON


def test_calls_have_the_sizes_that_captagent_was_measured_with() -> None:
    frames = call_frames(1000)
    assert len(frames) == 6000
    octets = np.diff(frames.offsets) - 14
    assert (octets.min(), octets.max()) == (619 - VARIES, 1050 + VARIES)
    assert abs(octets.mean() - 765) < 1


def test_calls_make_no_more_pairs_than_other_traffic() -> None:
    """Else the agent's figure would hold on this load alone."""
    stream = Traffic(calls=1000).block(NOON + np.arange(6000))
    in_twos = [6000 / (len(_begins(np.diff(x.offsets), 1472)) - 1) for x in (call_frames(1000), stream)]
    assert in_twos[0] < 1.03 * in_twos[1]


def test_every_message_of_a_call_is_read_and_indexed() -> None:
    batch = indexed_calls(7)
    assert batch.n == 42
    assert not batch.malformed[:42].any()
    methods = [batch.text(row, "method") for row in range(42) if not batch.status[row]]
    assert methods.count(b"INVITE") == methods.count(b"ACK") == methods.count(b"BYE") == 7
    assert len({batch.text(row, "call_id") for row in range(42)}) == 7


def test_noise_holds_one_sip_in_fifty() -> None:
    frames = noise_frames(1000, 50)
    reading = Reading(index=True)
    reading.read(frames.data, packets_of(frames))
    assert reading.messages == 20
    assert not reading.frame_drops.any()


def test_streams_give_every_message_though_one_in_four_is_cut() -> None:
    frames = stream_frames(20, 8)
    assert len(frames) == 20 + 160 + 40
    timed = time_streams(20, 8)
    assert (timed.messages, timed.packets) == (160, 220)


def test_files_are_read_to_the_end(tmp_path: Path) -> None:
    write_pcap(tmp_path / "x.pcap", 5000, noise=0.5)
    timed = time_file(tmp_path / "x.pcap")
    assert (timed.packets, timed.messages) == (5000, 2500)
    assert time_file(tmp_path / "x.pcap", index=True).messages == 2500


def test_random_octets_are_rows_or_drops() -> None:
    timed = read_random(20_000, seed=7)
    assert timed.packets == 20_000
    assert 0 < timed.messages < 20_000 * 64


def test_a_message_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        message(1, 0, 300)
