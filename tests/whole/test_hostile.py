"""Hostile input over the real socket: a million mutated HEP datagrams and TCP streams."""

import os
import random
import socket
from pathlib import Path

import pytest

from tests.support import Server, wait_for
from tests.whole.sender import INVITE, hep3

DATAGRAMS = 1_000_000
PARTS = 50
STREAMS = 300


def resident(pid: int) -> int:
    """Return the resident memory of a process in KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def mutated(count: int, seed: int) -> list[bytes]:
    """Return datagrams that began well: bits flipped, cut, lengthened, spliced, or random."""
    chance = random.Random(seed)
    good = [hep3(INVITE.format(n).encode(), kind=chance.choice((1, 1, 5, 100, 53))) for n in range(50)]
    good += [
        b"\x02\x1c\x02\x11\x13\xc4\x13\xc4" + os.urandom(20) + INVITE.format(1).encode(),
        b"\x01\x10\x02\x11\x13\xc4\x13\xc4" + os.urandom(8) + INVITE.format(2).encode(),
    ]
    out = []
    for _ in range(count):
        octets = bytearray(chance.choice(good))
        for _ in range(chance.randrange(1, 6)):
            match chance.randrange(5):
                case 0:
                    octets[chance.randrange(len(octets))] = chance.randrange(256)
                case 1 if len(octets) > 8:
                    octets[chance.randrange(4, 120) % len(octets)] = chance.choice((0, 1, 5, 6, 127, 255))
                case 2:
                    del octets[chance.randrange(len(octets)) :]
                case 3:
                    octets += chance.randbytes(chance.randrange(40))
                case 4:
                    at = chance.randrange(len(octets) + 1)
                    octets[at:at] = chance.choice(good)[: chance.randrange(60)]
            if not octets:
                break
        out.append(bytes(octets[:60_000]))
    return out


def accounted(server: Server) -> tuple[int, int]:
    """Return what was received and what was stored or dropped under a name."""
    return server.total("hepcat_received_total"), server.total("hepcat_stored_total") + server.total(
        "hepcat_dropped_total"
    )


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_million_mutated_datagrams(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        assert server.process is not None
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            early = 0
            for part in range(PARTS):
                for octets in mutated(DATAGRAMS // PARTS, seed=part):
                    sock.sendto(octets, ("127.0.0.1", server.port))
                if part == PARTS // 4:
                    early = resident(server.process.pid)
        wait_for(lambda: accounted(server)[0] >= DATAGRAMS, 60, "everything received")
        wait_for(lambda: accounted(server)[0] == accounted(server)[1], 60, "received = stored + dropped")
        assert accounted(server)[0] == DATAGRAMS
        assert resident(server.process.pid) < early + 150_000, "memory grows"
        stored = server.total("hepcat_stored_total")
        assert DATAGRAMS // 100 < stored < DATAGRAMS
        drops = {k: v for k, v in server.metrics().items() if k.startswith("hepcat_dropped_total") and v}
        assert sum(v for k, v in drops.items() if '"kernel"' in k) < DATAGRAMS // 10, "hardly any was read"
        assert len(drops) >= 6, f"the mutations are all alike: {drops}"
        found = sum(server.count("", "--table", table) for table in ("sip", "rtcp", "log", "other"))
        assert found == stored
        assert server.stop() == 0
    assert "Traceback" not in server.log.read_text()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_mutated_streams(tmp_path: Path) -> None:
    chance = random.Random(3)
    pool = mutated(3_000, seed=4)
    good = hep3(INVITE.format(424242).encode())
    with Server(tmp_path) as server:
        assert server.process is not None
        early = 0
        for number in range(STREAMS):
            if number == STREAMS // 4:
                early = resident(server.process.pid)
            with socket.create_connection(("127.0.0.1", server.port)) as sock:
                stream = b"".join(chance.choice(pool) for _ in range(40))
                try:
                    for at in range(0, len(stream), 1 + chance.randrange(4_000)):
                        sock.sendall(stream[at : at + 4_000])
                except OSError:
                    continue  # the server may well end such a stream
        with socket.create_connection(("127.0.0.1", server.port)) as sock:
            for octet in good:
                sock.sendall(bytes([octet]))
            wait_for(lambda: server.count("call_id:424242") == 1, 60, "a good message after the bad ones")
        wait_for(lambda: accounted(server)[0] == accounted(server)[1], 60, "received = stored + dropped")
        assert resident(server.process.pid) < early + 100_000, "memory grows"
        assert server.stop() == 0
    assert "Traceback" not in server.log.read_text()
