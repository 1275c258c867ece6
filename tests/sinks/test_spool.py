"""The spool on its own: order, limits, another process's files, damage; and the backlog around it."""

import os
import random
import time

import numpy as np
import pytest

from hepcat.sinks import spool as module
from hepcat.sinks.backlog import Backlog
from hepcat.sinks.block import Block, cut_blocks
from hepcat.sinks.spool import Spool

MANY = 2**30


def block(first: int, n: int = 5) -> Block:
    texts = [b"%06d;" % i for i in range(first, first + n)]
    return Block(b"".join(texts), np.cumsum([len(text) for text in texts]))


def texts(found: Block) -> list[int]:
    assert int(found.ends[-1]) == len(found.data)
    return [int(text) for text in found.data.split(b";")[:-1]]


def read_all(spool: Spool, done: bool = True) -> list[int]:
    found: list[int] = []
    while (one := spool.read()) is not None:
        found += texts(one)
        if done:
            spool.done(one)
    return found


def test_order_within_and_before(tmp_path):
    spool = Spool(tmp_path, MANY)
    for i in range(10, 30, 5):
        assert spool.append(block(i))
    assert spool.prepend([block(0), block(5)])
    assert spool.records == 30
    assert read_all(spool) == list(range(30))
    assert (spool.records, spool.octets) == (0, 0)
    assert not list(tmp_path.glob("*.spool"))
    spool.append(block(7))
    assert read_all(spool) == [7, 8, 9, 10, 11]


def test_files_are_bounded_and_go_when_delivered(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FILE_OCTETS", 200)
    spool = Spool(tmp_path, MANY)
    for i in range(0, 100, 5):
        spool.append(block(i))
    before = len(list(tmp_path.glob("*.spool")))
    assert before > 5
    assert all(path.stat().st_size < 320 for path in tmp_path.glob("*.spool"))
    for _ in range(10):
        spool.done(spool.read())
    assert len(list(tmp_path.glob("*.spool"))) < before
    assert sum(path.stat().st_size for path in tmp_path.glob("*.spool")) == spool.octets


def test_the_limit(tmp_path):
    spool = Spool(tmp_path, 1000)
    n = 0
    while spool.append(block(5 * n)):
        n += 1
    assert 5 < n < 20
    assert spool.octets <= 1000
    assert read_all(spool) == list(range(5 * n))
    assert spool.append(block(0))


@pytest.mark.parametrize("politely", [True, False])
def test_another_process_goes_on_where_this_one_ended(tmp_path, politely):
    """Also after kill -9: what was delivered is not read again, not even of a block cut in two."""
    spool = Spool(tmp_path, MANY)
    for i in range(0, 20, 5):
        spool.append(block(i))
    spool.done(spool.read())
    spool.keep(spool.read().rest(2))
    spool.read()  # on its way, not acknowledged
    if politely:
        spool.close()
    else:
        os.close(spool._lock)  # what the kernel does
    again = Spool(tmp_path, MANY)
    assert again.records == 13
    assert read_all(again) == list(range(7, 20))
    assert again.take_damage() == (0, 0)


def test_a_file_that_is_full_while_it_is_read_remembers_what_was_delivered(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FILE_OCTETS", 150)
    spool = Spool(tmp_path, MANY)
    for i in range(0, 10, 5):
        spool.append(block(i))
    one = spool.read()
    for i in range(10, 60, 5):
        spool.append(block(i))
    spool.done(one)
    os.close(spool._lock)
    assert sum(file.fd >= 0 for file in spool._files) <= 2
    assert read_all(Spool(tmp_path, MANY)) == list(range(5, 60))


def test_one_agent_has_it(tmp_path):
    spool = Spool(tmp_path, MANY)
    with pytest.raises(BlockingIOError):
        Spool(tmp_path, MANY)
    spool.close()
    Spool(tmp_path, MANY).close()


def written(folder, blocks=4):
    spool = Spool(folder, MANY)
    for i in range(blocks):
        spool.append(block(5 * i))
    spool.close()
    (path,) = folder.glob("*.spool")
    return path


def test_a_flipped_bit_costs_its_block(tmp_path):
    path = written(tmp_path)
    octets = bytearray(path.read_bytes())
    octets[octets.index(b"000007")] ^= 1
    path.write_bytes(octets)
    spool = Spool(tmp_path, MANY)
    assert spool.records == 20
    assert read_all(spool) == [*range(5), *range(10, 20)]
    assert spool.take_damage() == (5, 0)


def test_a_torn_end_costs_the_last_block(tmp_path):
    path = written(tmp_path)
    path.write_bytes(path.read_bytes()[:-3])
    spool = Spool(tmp_path, MANY)
    assert read_all(spool) == list(range(15))
    assert spool.take_damage() == (5, 0)
    assert not list(tmp_path.glob("*.spool"))


def test_a_file_whose_blocks_were_all_delivered_goes(tmp_path):
    path = written(tmp_path, 1)
    octets = path.read_bytes()
    path.write_bytes(octets[:16] + len(octets).to_bytes(8, "little") + octets[24:])
    spool = Spool(tmp_path, MANY)
    assert (spool.records, spool.octets, spool.take_damage()) == (0, 0, (0, 0))
    assert not list(tmp_path.glob("*.spool"))


@pytest.mark.parametrize("octets", [b"", b"x" * 31, b"y" * 500, b"hepcat-spool-1\n\0" + b"\xff" * 16])
def test_a_file_that_is_none_is_set_aside(tmp_path, octets):
    written(tmp_path)
    (tmp_path / "0000000000000000001.spool").write_bytes(octets)
    spool = Spool(tmp_path, MANY)
    assert spool.take_damage() == (1, 1)
    assert read_all(spool) == list(range(20))
    assert [path.name for path in tmp_path.glob("*.damaged")] == ["0000000000000000001.damaged"]


@pytest.mark.parametrize("seed", range(40))
def test_any_damage_is_counted_and_what_is_read_was_written(tmp_path, seed):
    rng = random.Random(seed)
    path = written(tmp_path)
    octets = bytearray(path.read_bytes())
    for _ in range(rng.randrange(1, 4)):
        octets[rng.randrange(len(octets))] = rng.randrange(256)
    if rng.random() < 0.3:
        del octets[rng.randrange(len(octets)) :]
    path.write_bytes(octets)
    spool = Spool(tmp_path, MANY)
    held = spool.records
    found = read_all(spool)
    damaged, uncounted = spool.take_damage()
    assert len(found) + damaged == held + uncounted
    assert spool.records == 0
    assert found == sorted(set(found))
    assert set(found) <= set(range(20))


def test_a_disk_without_room_leaves_nothing_of_a_block(tmp_path, monkeypatch):
    spool = Spool(tmp_path, MANY)
    spool.append(block(0))
    real = module.os.pwrite

    def short(fd, octets, at):
        if at > 200:
            raise OSError(28, "No space left on device")
        return real(fd, octets[:20], at)

    with monkeypatch.context() as patch:
        patch.setattr(module.os, "pwrite", short)
        with pytest.raises(OSError, match="space"):  # noqa: PT012
            for i in range(5, 50, 5):
                spool.append(block(i))
    held = spool.records
    spool.append(block(held))
    assert read_all(spool) == list(range(held + 5))
    assert spool.take_damage() == (0, 0)


def test_backlog_counts_damage_and_what_an_earlier_process_left(tmp_path):
    path = written(tmp_path)
    octets = bytearray(path.read_bytes())
    octets[-2] ^= 1
    path.write_bytes(octets)
    backlog = Backlog("t", 2**20, tmp_path, MANY)
    backlog.start()
    backlog.put([block(100)])
    found: list[int] = []
    while one := backlog.take(0.05) or backlog.take(0.05):
        found += texts(one)
        backlog.done([one])
    assert found == [*range(15), *range(100, 105)]
    counts = backlog.counts()
    assert (counts.taken, counts.sent, counts.waiting, counts.drops.sum()) == (25, 20, 0, 5)
    backlog.finish()


def settle(backlog: Backlog) -> None:
    """Wait until no more has to be spooled."""
    end = time.monotonic() + 60
    while backlog._is_pressed() or backlog._moving:
        assert time.monotonic() < end
        time.sleep(0.0005)


def test_backlog_keeps_order_while_memory_spools(tmp_path):
    """Blocks go through memory or the disk as it comes; they leave in order, given back or not."""
    rng = random.Random(3)
    backlog = Backlog("t", 4000, tmp_path, MANY)
    backlog.start()
    found: list[int] = []
    for i in range(0, 3000, 5):
        backlog.put([block(i)])
        settle(backlog)
        if rng.random() < 0.3:
            taken = [one for one in (backlog.take(1), backlog.take(0)) if one]
            if taken and taken[0].records > 2 and rng.random() < 0.5:
                backlog.give_back(taken, 2)
                found += texts(taken[0])[:2]
            else:
                backlog.done(taken)
                found += [n for one in taken for n in texts(one)]
    while one := backlog.take(0.2):
        found += texts(one)
        backlog.done([one])
    assert found == list(range(3000))
    counts = backlog.counts()
    assert (counts.sent, counts.waiting) == (3000, 0)
    assert counts.spooled > 500
    backlog.finish()


def test_backlog_ends_with_blocks_everywhere(tmp_path):
    """Given back from memory, lent by the spool, in the spool, in memory: the next one has all in order."""
    backlog = Backlog("t", 3000, tmp_path, MANY)
    backlog.start()
    backlog.put([block(0), block(5)])
    first = [backlog.take(0), backlog.take(0)]
    for i in range(10, 60, 5):
        backlog.put([block(i)])
        settle(backlog)
    assert backlog.counts().spooled
    backlog.give_back(first, 3)
    first = [backlog.take(0.1) for _ in range(4)]
    assert first[2].place is not None
    backlog.give_back(first, 0)
    backlog.finish()
    counts = backlog.counts()
    assert (counts.taken, counts.sent, counts.waiting) == (60, 3, 57)
    again = Spool(tmp_path, MANY)
    assert read_all(again) == list(range(3, 60))


def test_blocks_are_cut_at_messages():
    rng = random.Random(1)
    for _ in range(50):
        parts = [rng.randbytes(rng.choice([0, 1, 50, 300])) for _ in range(rng.randrange(1, 60))]
        buffer = np.frombuffer(b"??" + b"".join(parts), dtype=np.uint8)
        offsets = 2 + np.cumsum([0, *map(len, parts)])
        blocks = cut_blocks(buffer, offsets, 256)
        assert b"".join(one.data for one in blocks) == b"".join(parts)
        cut = [one.data[a:b] for one in blocks for a, b in zip([0, *one.ends], one.ends, strict=False)]
        assert cut == [part for part in parts if part]
        assert all(len(one.data) <= 256 or one.records == 1 for one in blocks)
        for one in blocks:
            for octets in range(len(one.data) + 1):
                whole = one.whole_within(octets)
                assert whole == sum(int(end) <= octets for end in one.ends)
