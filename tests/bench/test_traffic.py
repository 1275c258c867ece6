"""The made-up traffic is good SIP: the decoder reads it, dialogs agree with themselves, counts hold."""

import functools
import re
import shutil
import socket
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from hepcat.batch.drops import Drop
from hepcat.batch.layout import Batch
from hepcat.bench.agents import AGENTS
from hepcat.bench.dialogs import MESSAGES, SCENARIOS
from hepcat.bench.generator import parse_target, send
from hepcat.bench.pcapfile import write_pcap
from hepcat.bench.traffic import Block, Traffic, Wrap
from hepcat.errors import HepcatError
from hepcat.mmsg import Receiver, set_receive_buffer
from hepcat.wire.hep import decode_hep

START = 1_750_000_000_000_000


@functools.cache
def messages(count: int = 3000, wrap: Wrap = "hep3", **options: object) -> tuple[Block, Batch, list[bytes]]:
    """A block of traffic, decoded, and its SIP messages."""
    traffic = Traffic(wrap=wrap, **options)  # type: ignore[arg-type]
    block = traffic.block(START + np.arange(count) * 100)
    batch = Batch.empty(count, len(block.buffer) + count)
    drops = np.zeros(len(Drop), dtype=np.int64)
    sizes = np.diff(block.offsets)
    assert decode_hep(block.buffer, block.offsets[:-1], sizes, count, START, batch, drops) == count
    assert not drops.any()
    assert batch.n == count
    return block, batch, [batch.text(i, "payload") or b"" for i in range(count)]


def header(message: bytes, name: str) -> str:
    found = re.search(rb"^%s: (.*?)\r$" % name.encode(), message, re.M)
    assert found, (name, message)
    return found.group(1).decode()


@pytest.mark.parametrize("wrap", ["hep1", "hep2", "hep3"])
def test_hep_is_read_back(wrap: Wrap) -> None:
    _, batch, texts = messages(500, wrap, node_id=77)
    assert all(b" SIP/2.0\r\n" in text or text.startswith(b"SIP/2.0 ") for text in texts)
    assert set(batch.family[:500].tolist()) == {2, 10}
    assert set(batch.ip_proto[:500].tolist()) == {17}
    assert batch.src_port[:500].min() > 0
    if wrap != "hep1":
        assert batch.ts[:500].tolist() == (START + np.arange(500) * 100).tolist()
        assert set(batch.node_id[:500].tolist()) == {77}


def test_counts_are_known_beforehand() -> None:
    """What the templates say of each message is what its text says."""
    block, _, texts = messages()
    said: Counter[tuple[str, int]] = Counter()
    for text in texts:
        start = text.split(b"\r\n", 1)[0].decode()
        status = int(start.split()[1]) if start.startswith("SIP/2.0") else 0
        method = header(text, "CSeq").split()[1]
        assert status or start.split()[0] == method
        said[method, status] += 1
    assert said == Traffic().methods(block.template)
    assert {status for _, status in said} >= {0, 100, 180, 200, 401, 404, 407, 486, 487, 503, 603}


def test_every_content_length_is_right() -> None:
    _, _, texts = messages()
    with_body = 0
    for text in texts:
        head, _, body = text.partition(b"\r\n\r\n")
        assert int(header(head + b"\r\n", "Content-Length")) == len(body)
        with_body += bool(body)
    assert with_body > 300


def test_dialogs_agree_with_themselves() -> None:
    """One Call-ID a dialog; tags, branches and CSeq as RFC 3261 sections 8.1, 9.1, 12 and 17 ask."""
    block, _, texts = messages(6000, calls=50)
    dialogs: defaultdict[int, list[bytes]] = defaultdict(list)
    for dialog, text in zip(block.dialog.tolist(), texts, strict=True):
        dialogs[dialog].append(text)
    assert len({header(d[0], "Call-ID") for d in dialogs.values()}) == len(dialogs) > 500
    checked = Counter[str]()
    for parts in dialogs.values():
        assert len({header(text, "Call-ID") for text in parts}) == 1
        tags = {
            re.sub(r".*tag=", "", header(t, "From")) for t in parts if header(t, "CSeq").split()[1] != "BYE"
        }
        assert len(tags) <= 1
        branches: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        for text in parts:
            number, method = header(text, "CSeq").split()
            branch = re.findall(rb"branch=([^;\r]+)", text)[-1].decode()
            assert branch.startswith("z9hG4bK")
            branches[number, method].add(branch)
            if text.startswith((b"INVITE", b"REGISTER", b"OPTIONS", b"CANCEL")):
                assert "tag=" not in header(text, "To")
            if text.startswith((b"BYE", b"ACK")):
                assert "tag=" in header(text, "To")
        for (number, method), seen in branches.items():
            if method != "ACK":
                assert len(seen) == 1, (method, seen)
            elif any(t.startswith((b"SIP/2.0 4", b"SIP/2.0 5", b"SIP/2.0 6")) for t in parts):
                # section 17.1.1.3: the ACK of a failure goes in the INVITE's transaction
                same = seen <= branches.get((number, "INVITE"), seen)
                checked["nack" if same else "ack"] += 1
            if method == "CANCEL" and (number, "INVITE") in branches:
                assert seen == branches[number, "INVITE"]
    assert checked["nack"] > 50


def test_calls_are_interleaved() -> None:
    block, _, _ = messages(3000, calls=1000)
    neighbours = np.count_nonzero(np.diff(block.dialog) == 0)
    assert neighbours < 0.05 * 3000
    traffic = Traffic(calls=5000)
    traffic.events(60_000)
    _, later = traffic.events(60_000)
    assert len(set(later.tolist())) > 5000  # some thousand dialogs are under way at any time


def test_the_same_seed_gives_the_same_stream() -> None:
    ts = START + np.arange(700)

    def stream(seed: int, pieces: int) -> bytes:
        traffic = Traffic(seed=seed)
        parts = [traffic.block(piece) for piece in np.array_split(ts, pieces)]
        return b"".join(p.buffer[: int(p.offsets[-1])].tobytes() for p in parts)

    assert stream(3, 1) == stream(3, 7)
    assert stream(3, 1) != stream(4, 1)


def test_identities_have_entropy() -> None:
    """No two dialogs share tags or branches, and compression sees as much randomness as in life."""
    block, _, texts = messages(3000, calls=3000)
    dialogs = {d: t for d, t in zip(block.dialog.tolist(), texts, strict=True) if t.startswith(b"INVITE")}
    invites = list(dialogs.values())
    for name, pattern in (("tag", rb"From: .*tag=(\S+)"), ("branch", rb"branch=(\S+?);rport\r")):
        values = [found[1] for t in invites if (found := re.search(pattern, t))]
        assert len(set(values)) > 0.98 * len(values) > 100, name


def test_sizes_are_those_of_life() -> None:
    _, _, texts = messages()
    assert 550 < np.mean([len(t) for t in texts]) < 700
    assert 850 < np.mean([len(t) for t in texts if t.startswith(b"INVITE")]) < 1100


def test_every_message_and_agent_is_used() -> None:
    assert {step.message for s in SCENARIOS for step in s.steps} == set(MESSAGES)
    _, _, texts = messages(4000)
    together = b"".join(texts)
    assert all(agent.agent in together for agent in AGENTS)


def test_key_goes_along() -> None:
    block = Traffic(key="a secret").block(START + np.arange(5))
    assert block.buffer.tobytes().count(b"\0\0\0\x0e\0\x0ea secret") == 5


def test_pcap_is_read_by_another_program(tmp_path: Path) -> None:
    """Sizes and the IPv4 checksum, by a reader written here; tshark's word is in the import's tests."""
    path = tmp_path / "made.pcap"
    counts = write_pcap(path, 1000, noise=0.25)
    data = path.read_bytes()
    at, packets, sip = 24, 0, 0
    while at < len(data):
        length = int.from_bytes(data[at + 8 : at + 12], "little")
        frame = data[at + 16 : at + 16 + length]
        assert int.from_bytes(data[at + 12 : at + 16], "little") == length == len(frame)
        assert int.from_bytes(frame[16:18], "big") == length - 14
        total = sum(int.from_bytes(frame[i : i + 2], "big") for i in range(14, 34, 2))
        assert (total & 0xFFFF) + (total >> 16) in (0xFFFF, 0x1FFFE)
        assert int.from_bytes(frame[38:40], "big") == length - 34
        sip += b"SIP/2.0" in frame
        packets, at = packets + 1, at + 16 + length
    assert packets == 1000
    assert sip == 750 == sum(n for (method, _), n in counts.items() if method)


def test_send_over_udp_and_tcp() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
        sink.bind(("127.0.0.1", 0))
        set_receive_buffer(sink, 8 << 20)
        sent = send(Traffic(), f"udp://127.0.0.1:{sink.getsockname()[1]}", messages=1000)
        receiver = Receiver(sink, slots=1024, slot_octets=4096)
        assert receiver.receive() == sent.messages == 1000
        assert int(receiver.lengths[:1000].sum()) == sent.octets
        assert sum(sent.methods.values()) == 1000
    with socket.create_server(("127.0.0.1", 0)) as server:
        sent = send(Traffic(), f"tcp://127.0.0.1:{server.getsockname()[1]}", messages=50)
        connection, _ = server.accept()
        with connection:
            stream = b"".join(iter(lambda: connection.recv(65536), b""))
    assert stream.startswith(b"HEP3")
    assert len(stream) == sent.octets


def test_pace_is_kept_roughly() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
        sink.bind(("127.0.0.1", 0))
        sent = send(Traffic(), f"udp://127.0.0.1:{sink.getsockname()[1]}", rate=2000, seconds=0.5)
    assert sent.messages <= 1000
    assert sent.messages > 50  # a busy machine sends fewer
    assert 0.4 < sent.seconds < 30


@pytest.mark.parametrize("to", ["http://x", "udp://", "udp://127.0.0.1:notaport", "tcp://127.0.0.1:9/path"])
def test_wrong_targets_are_explained(to: str) -> None:
    with pytest.raises(HepcatError):
        parse_target(to, 3)


def test_hep2_has_no_framing_for_tcp() -> None:
    with pytest.raises(HepcatError, match="TCP"):
        parse_target("tcp://127.0.0.1", 2)


def test_both_modes_write_the_same() -> None:
    code = (
        "import numpy as np, hashlib; from hepcat.bench.traffic import Traffic;"
        "b = Traffic().block(np.arange(300) + 1750000000000000);"
        "print(hashlib.sha256(b.buffer[:b.offsets[-1]].tobytes()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"HEPCAT_PURE": pure},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for pure in ("0", "1")
    }
    assert len(digests) == 1


def test_a_buffer_too_small_is_a_loud_error() -> None:
    """Ours to prevent: the kernel never writes past the end."""
    traffic = Traffic()
    template, dialog = traffic.events(10)
    whole = traffic.write(template, dialog, START + np.arange(10))
    for octets in (0, 1, 500, int(whole.offsets[-1]) - 1):
        small = np.zeros(octets, dtype=np.uint8)
        with pytest.raises(IndexError):
            traffic.write(template, dialog, START + np.arange(10), small)
    exact = np.zeros(int(whole.offsets[-1]), dtype=np.uint8)
    traffic.write(template, dialog, START + np.arange(10), exact)
    assert exact.tobytes() == whole.buffer[: len(exact)].tobytes()


@pytest.mark.peer
@pytest.mark.skipif(not shutil.which("tshark"), reason="tshark is not installed")
def test_tshark_agrees_on_every_message(tmp_path: Path) -> None:
    """An independent decoder sees the same methods, a right length everywhere and nothing malformed."""
    path = tmp_path / "made.pcap"
    counts = write_pcap(path, 1500, noise=0.1)
    command = ["tshark", "-r", str(path), "-Y", "sip", "-T", "fields"]
    for field in ("sip.CSeq.method", "sip.Status-Code", "_ws.malformed", "ip.checksum.status"):
        command += ["-e", field]
    done = subprocess.run(
        [*command, "-o", "ip.check_checksum:TRUE"], capture_output=True, text=True, check=True
    )
    seen: Counter[tuple[str, int]] = Counter()
    for line in done.stdout.splitlines():
        method, status, malformed, checksum = line.split("\t")
        assert not malformed
        assert checksum in ("1", "Good")
        seen[method, int(status or 0)] += 1
    assert seen == Counter({kind: n for kind, n in counts.items() if kind[0]})
