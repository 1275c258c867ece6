"""WebSocket: frames of every kind and cut, a real peer's octets, deflated messages, recorded captures."""

import asyncio
import random
import struct
import subprocess
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hepcat.wire.held as held
from hepcat.batch.drops import Drop
from hepcat.wire.columns import (
    FLOW_END,
    FLOW_GAP,
    FLOW_START,
    KIND_SEGMENT,
    MAX_ROWS_A_FRAME,
    PROTOCOL_SIP,
    PROTOCOL_WEBSOCKET,
    WANT_ALL,
    Datagrams,
    Packets,
)
from tests.support import SHARED, need
from tests.wire.make_streams import Cutter, Piece, Tap, in_pieces, sip
from tests.wire.make_tcp import at_times, cut

PLAIN = held.__file__.endswith(".py")
CLIENT, SERVER = ("127.0.0.1", 40000), ("127.0.0.1", 8080)
GET = (
    b"GET /ws HTTP/1.1\r\nHost: a\r\nupgrade:  WebSocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Protocol: sip\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
)
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def frame(payload: bytes, kind: int = TEXT, fin: bool = True, key: bytes = b"", bits: int = 0) -> bytes:
    """One frame, with the shortest length."""
    size = len(payload)
    head = bytes([fin << 7 | bits << 4 | kind])
    masked = 0x80 if key else 0
    if size < 126:
        head += bytes([masked | size])
    elif size < 65536:
        head += struct.pack("!BH", masked | 126, size)
    else:
        head += struct.pack("!BQ", masked | 127, size)
    if key:
        payload = bytes(octet ^ key[i % 4] for i, octet in enumerate(payload))
    return head + key + payload


def opened(**bounds: Any) -> Cutter:
    """A flow 0 behind its handshake."""
    cutter = Cutter(**bounds)
    cutter.feed(Piece(0, GET, FLOW_START), Piece(1, SWITCHING, FLOW_START))
    assert cutter.drops == {"WEBSOCKET_CONTROL": 2}
    assert list(cutter.flows.protocol[:2]) == [PROTOCOL_WEBSOCKET] * 2
    cutter.counts[:] = 0
    return cutter


@settings(max_examples=20 if PLAIN else 100, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 3000), min_size=1, max_size=4),
    payloads=st.lists(
        st.binary(max_size=400) | st.sampled_from([b"\r\n\r\n", sip(), sip() * 90]), max_size=8
    ),
    seed=st.integers(0, 2**32),
)
def test_messages_in_frames_of_any_cut(sizes: list[int], payloads: list[bytes], seed: int) -> None:
    chance = random.Random(seed)
    octets, control = bytearray(), 0
    for payload in payloads:
        cuts = sorted(chance.randrange(len(payload) + 1) for _ in range(chance.choice([0, 0, 1, 3])))
        parts = [payload[a:b] for a, b in zip([0, *cuts], [*cuts, len(payload)], strict=True)]
        for i, part in enumerate(parts):
            key = chance.choice([b"", chance.randbytes(4)])
            octets += frame(part, TEXT if i == 0 else 0, i == len(parts) - 1, key)
            if chance.random() < 0.3:
                octets += frame(
                    chance.randbytes(chance.randrange(126)), chance.choice([PING, PONG]), True, key
                )
                control += 1
    cutter = opened()
    pieces = in_pieces(bytes(octets), sizes, marks=0)
    while pieces:
        n = chance.randrange(1, 5)
        cutter.feed(*pieces[:n])
        pieces = pieces[n:]
    assert [octets for _, octets in cutter.messages] == payloads
    assert cutter.drops == ({"WEBSOCKET_CONTROL": control} if control else {})
    assert cutter.framer.held_octets == 0


def test_an_unmasked_message_in_one_stretch_is_not_copied() -> None:
    cutter = opened()
    cutter.feed(Piece(0, frame(sip()) + frame(sip(), key=b"abcd")))
    assert list(cutter.out.area[:2]) == [0, 1]


@pytest.mark.parametrize("size", [1, 10, 5000])
def test_the_handshake_is_read_however_it_is_cut_and_frames_follow_at_once(size: int) -> None:
    cutter = Cutter()
    for flow, head in ((0, GET), (1, SWITCHING)):
        for piece in in_pieces(head + frame(sip(), key=b"wxyz"), [size], flow):
            cutter.feed(piece)
    assert cutter.messages == [(0, sip()), (1, sip())]
    assert cutter.drops == {"WEBSOCKET_CONTROL": 2}
    assert cutter.framer.held_octets == 0


def test_a_refused_upgrade_is_no_websocket() -> None:
    cutter = Cutter()
    cutter.feed(Piece(1, b"HTTP/1.1 403 No\r\nUpgrade: websocket\r\n\r\n" + frame(sip()), FLOW_START))
    assert cutter.messages == []
    assert cutter.drops == {"TCP_OTHER": 1}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (frame(b"x", bits=1), "WEBSOCKET_MALFORMED"),
        (frame(b"x", bits=2), "WEBSOCKET_MALFORMED"),
        (frame(b"x", kind=3), "WEBSOCKET_MALFORMED"),
        (frame(b"x", kind=11), "WEBSOCKET_MALFORMED"),
        (frame(b"x", kind=PING, fin=False), "WEBSOCKET_MALFORMED"),
        (frame(bytes(126), kind=CLOSE), "WEBSOCKET_MALFORMED"),
        (b"\x81\x7f" + b"\xff" * 8, "WEBSOCKET_MALFORMED"),
        (b"\x81\x7f" + b"\x7f" + b"\xff" * 7, "WEBSOCKET_BOUND"),
    ],
)
@pytest.mark.parametrize("size", [1, 5000])
def test_frames_that_cannot_be_cost_the_rest_of_their_stretch(bad: bytes, reason: str, size: int) -> None:
    cutter = opened()
    for piece in in_pieces(frame(sip(), fin=False) + bad, [size], marks=0):
        cutter.feed(piece)
    cutter.feed(Piece(0, frame(sip("BYE"), key=b"1234")))
    assert [octets for _, octets in cutter.messages] == [sip("BYE")]
    assert cutter.drops[reason] == 1 or size == 1  # octet by octet, junk may look like frames
    assert set(cutter.drops) <= {reason, "STREAM_SKIPPED", "WEBSOCKET_MALFORMED"}
    assert cutter.framer.held_octets == 0


def test_order_of_frames_that_breaks_the_protocol_costs_single_messages() -> None:
    cutter = opened()
    cutter.feed(
        Piece(0, frame(b"no beginning", kind=0, fin=False) + frame(b"of it", kind=0) + frame(b"one")),
        Piece(0, frame(b"never ended", fin=False) + frame(b"two") + frame(b"three", kind=BINARY)),
    )
    assert [octets for _, octets in cutter.messages] == [b"one", b"two", b"three"]
    assert cutter.drops == {"WEBSOCKET_MALFORMED": 2}


def test_messages_over_the_bound_are_passed_over_and_sync_is_kept() -> None:
    cutter = opened(max_message=1000)
    cutter.feed(Piece(0, frame(bytes(1001))), Piece(0, frame(bytes(1000))))
    for _ in range(50):
        cutter.feed(Piece(0, frame(bytes(500), kind=0, fin=False)))  # no beginning: counted once
    cutter.feed(Piece(0, frame(b"", kind=0)), Piece(0, frame(bytes(900), fin=False)))
    for _ in range(50):
        cutter.feed(Piece(0, frame(bytes(500), kind=0, fin=False)))
        assert cutter.framer.held_octets <= 1000
    cutter.feed(Piece(0, frame(b"", kind=0) + frame(b"fine")))
    assert [len(octets) for _, octets in cutter.messages] == [1000, 4]
    assert cutter.drops == {"WEBSOCKET_BOUND": 2, "WEBSOCKET_MALFORMED": 1}


@pytest.mark.parametrize("key", [b"", b"\x9a\x01\x7f\xe0"])
@pytest.mark.parametrize("size", [1, 3, 5000])
@pytest.mark.parametrize("first", [sip(), sip("200"), b"\r\n\r\n", b"\r\n"])
def test_streams_joined_in_the_middle_are_known_by_a_frame_that_holds_sip(
    key: bytes, size: int, first: bytes
) -> None:
    cutter = Cutter()
    for piece in in_pieces(
        frame(first, key=key) + frame(sip("BYE"), key=key), [size], 0, FLOW_START | FLOW_GAP
    ):
        cutter.feed(piece)
    assert [octets for _, octets in cutter.messages] == [first, sip("BYE")]
    assert cutter.flows.protocol[0] == PROTOCOL_WEBSOCKET
    assert cutter.drops == {}


def test_a_gap_costs_the_message_and_the_next_frame_is_found_at_a_stretch() -> None:
    cutter = opened()
    cutter.feed(Piece(0, frame(sip(), fin=False)), Piece(0, b"lost sync" * 9 + frame(sip()), FLOW_GAP))
    cutter.feed(Piece(0, frame(b"any text", key=b"abcd")), Piece(0, frame(sip("BYE"))))
    assert [octets for _, octets in cutter.messages] == [b"any text", sip("BYE")]
    assert cutter.drops == {"STREAM_PARTIAL": 1, "STREAM_SKIPPED": 1}
    cutter.feed(Piece(0, frame(sip(), fin=False), FLOW_END), Piece(0, sip("ACK"), FLOW_START))
    assert cutter.messages[-1] == (0, sip("ACK"))
    assert cutter.flows.protocol[0] == PROTOCOL_SIP


class Deflater:
    """The sender's side of RFC 7692."""

    def __init__(self, takeover: bool = True) -> None:
        self.takeover, self.context = takeover, zlib.compressobj(wbits=-15)

    def __call__(self, payload: bytes) -> bytes:
        if not self.takeover:
            self.context = zlib.compressobj(wbits=-15)
        return (self.context.compress(payload) + self.context.flush(zlib.Z_SYNC_FLUSH))[:-4]


def test_deflated_messages_with_their_windows_come_out_in_order() -> None:
    cutter, deflate = opened(), {flow: Deflater() for flow in (0, 1)}
    sent, pieces = [], []
    for i in range(20):
        flow, text = i % 2, sip("OPTIONS", f"call-{i}", b"v=0\r\n" * 50)
        packed = deflate[flow](text)
        if i % 3:
            octets = frame(packed, bits=4, key=b"abcd" if flow == 0 else b"")
        else:
            octets = frame(packed[:30], bits=4, fin=False) + frame(b"", PING) + frame(packed[30:], kind=0)
        pieces.append(Piece(flow, octets))
        sent.append((flow, text))
        if i % 5 == 0:
            pieces.append(Piece(flow, frame(b"plain")))
            sent.append((flow, b"plain"))
    cutter.feed(*pieces[:9])
    cutter.feed(*pieces[9:])
    assert cutter.messages == sent
    assert set(cutter.drops) == {"WEBSOCKET_CONTROL"}


def test_deflated_messages_that_cannot_be_inflated_are_counted() -> None:
    cutter, deflate = opened(max_message=4000), Deflater()
    lost, found = deflate(sip()), deflate(sip())
    cutter.feed(
        Piece(0, frame(lost, bits=4)[:-1]), Piece(0, frame(found, bits=4), FLOW_GAP)
    )  # without its window
    cutter.feed(Piece(0, frame(b"\xff\xff\xff", bits=4)), Piece(0, frame(Deflater()(sip("BYE")), bits=4)))
    bomb = Deflater()(bytes(3_000_000))
    cutter.feed(
        Piece(0, frame(bomb, bits=4) + frame(b"after")), Piece(0, frame(Deflater()(sip("ACK")), bits=4))
    )
    assert [octets for _, octets in cutter.messages] == [sip("BYE"), b"after", sip("ACK")]
    assert cutter.drops == {"STREAM_PARTIAL": 1, "WEBSOCKET_MALFORMED": 2, "WEBSOCKET_BOUND": 1}


def test_windows_of_many_flows_are_bounded() -> None:
    flows = 600
    cutter = Cutter(flows)
    for flow in range(flows):
        cutter.feed(Piece(flow, GET + frame(Deflater()(sip()), bits=4), FLOW_START))
    assert len(cutter.messages) == flows
    assert len(cutter.framer._inflater._contexts) == 256
    answer = (
        SWITCHING[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n\r\n"
    )
    alone = Cutter(flows)
    for flow in range(flows):
        alone.feed(Piece(flow, answer + frame(Deflater()(sip()), bits=4), FLOW_START))
    assert len(alone.messages) == flows
    assert len(alone.framer._inflater._contexts) == 0


# ---- a real peer


async def talk(compression: str | None, recorded: dict[str, bytearray]) -> tuple[list[Any], list[Any]]:
    """Let a real client and server exchange messages through a relay that records their octets."""
    websockets = pytest.importorskip("websockets")
    got: list[Any] = []

    async def serve(connection: Any) -> None:
        async for message in connection:
            got.append(message)
            await connection.send(message)
            if isinstance(message, str):
                await connection.send([message[:7], message[7:9], message[9:]])

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str) -> None:
        while octets := await reader.read(1000):
            recorded[name] += octets
            writer.write(octets)
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(reader, back, "client"), pump(there, writer, "server"))

    sent: list[Any] = [
        sip("INVITE", "real", b"v=0\r\n" * 40).decode(),
        b"\r\n\r\n",
        sip("200").decode(),
        sip("BYE", "x", b"y" * 30000).decode(),
        random.Random(1).randbytes(2000),
    ]
    server = await websockets.serve(serve, "127.0.0.1", 0, compression=compression, subprotocols=["sip"])
    port = server.sockets[0].getsockname()[1]
    front = await asyncio.start_server(relay, "127.0.0.1", 0)
    address = f"ws://127.0.0.1:{front.sockets[0].getsockname()[1]}/"
    async with websockets.connect(address, compression=compression, subprotocols=["sip"]) as client:
        for message in sent:
            await client.send(message)
            await (await client.ping())
            for _ in range(2 if isinstance(message, str) else 1):
                got.append(await client.recv())
        await client.send(iter([b"three ", b"part ", b"message"]))
        await client.recv()
    front.close()
    server.close()
    await server.wait_closed()
    return [*sent, b"three part message"], got


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_a_real_client_and_server(compression: str | None) -> None:
    recorded = {"client": bytearray(), "server": bytearray()}
    sent, _ = asyncio.run(asyncio.wait_for(talk(compression, recorded), 60))
    assert (b"permessage-deflate" in recorded["server"]) == (compression is not None)
    plain = [text.encode() if isinstance(text, str) else text for text in sent]
    back = [octets for text in sent for octets in ([text.encode()] * 2 if isinstance(text, str) else [text])]
    chance = random.Random(2)
    for size in (1460, 7):
        segments = cut(CLIENT, SERVER, 5, bytes(recorded["client"]), [size])
        segments += cut(SERVER, CLIENT, 2**32 - 9, bytes(recorded["server"]), [size + 100])
        for i in range(len(segments) - 1):
            j = min(len(segments) - 1, i + chance.randrange(3))
            segments[i], segments[j] = segments[j], segments[i]
        tap, segments = Tap(), at_times(segments)
        while segments:
            tap.feed_segments(segments[:200])
            segments = segments[200:]
        assert [octets for port, octets in tap.messages if port == CLIENT[1]] == plain
        assert [octets for port, octets in tap.messages if port == SERVER[1]] == back
        assert set(tap.drops) <= {"TCP_CONTROL", "WEBSOCKET_CONTROL"}


# ---- captures


def read_file(name: str) -> Tap:
    """Read a capture through the frame decoder, the reassembler and the framer."""
    from hepcat.sources.pcap_windows import Progress, Windows, open_capture
    from hepcat.wire.frames import decode_frames

    path = SHARED / "captures" / f"{name}.pcap"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    tap, drops, packets = Tap(), np.zeros(len(Drop), dtype=np.int64), Packets.empty(1000)
    with open_capture(path) as file:
        windows = Windows(file, path, Progress(size=path.stat().st_size))
        while windows.next_packets(packets):
            found = Datagrams.empty(packets.n + MAX_ROWS_A_FRAME)
            decode_frames(windows.data, packets, found, drops, WANT_ALL)
            rows = np.flatnonzero(found.kind[: found.n] == KIND_SEGMENT)
            tap.arena.reset()
            tap.stretches.n = 0
            tap.tcp.feed(windows.data, found, rows, tap.arena, tap.stretches, tap.counts)
            tap.read(windows.data, tap.stretches)
    return tap


def tshark(name: str, *fields: str) -> list[list[str]]:
    """Fields of a capture as tshark reads it, a list of values each, over all packets."""
    need("tshark")
    command = [
        "tshark",
        "-r",
        str(SHARED / "captures" / f"{name}.pcap"),
        "-T",
        "fields",
        "-E",
        "occurrence=a",
    ]
    for field in fields:
        command += ["-e", field]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    columns: list[list[str]] = [[] for _ in fields]
    for line in lines:
        for column, value in zip(columns, line.split("\t"), strict=True):
            column += [part for part in value.split(",") if part]
    return columns


@pytest.mark.peer
@pytest.mark.parametrize(
    "name",
    ["zeek-broker-websocket", "zeek-two-binary-fragments", "zeek-reply-ping-coalesced", "suricata-websocket"],
)
def test_captures_of_websocket_as_tshark_reads_them(name: str) -> None:
    tap = read_file(name)
    kinds, fins, sizes, extended = tshark(
        name,
        "websocket.opcode",
        "websocket.fin",
        "websocket.payload_length",
        "websocket.payload_length_ext_16",
    )
    longer, lengths, open_ = iter(extended), [], 0
    control = 0
    for kind, fin, size in zip(kinds, fins, sizes, strict=True):
        if int(kind) >= 8:
            control += 1
            continue
        open_ += int(next(longer)) if size == "126" else int(size)
        if fin == "1":
            lengths.append(open_)
            open_ = 0
    assert [len(octets) for _, octets in tap.messages] == lengths
    assert tap.drops["WEBSOCKET_CONTROL"] == control + 2  # and the handshake's two heads
    assert set(tap.drops) == {"TCP_CONTROL", "WEBSOCKET_CONTROL"}


@pytest.mark.peer
def test_captures_of_sip_and_diameter_over_tcp_as_tshark_reads_them() -> None:
    tap = read_file("suricata-sip-tcp")
    methods, statuses, lengths = tshark(
        "suricata-sip-tcp", "sip.Method", "sip.Status-Code", "tcp.reassembled.length"
    )
    assert [octets.split(b" ")[0].decode() for _, octets in tap.messages] == [*methods, "SIP/2.0"]
    assert [octets.split(b" ")[1].decode() for _, octets in tap.messages][1:] == statuses
    assert [len(octets) for _, octets in tap.messages][:1] == [int(length) for length in lengths]
    assert set(tap.drops) == {"TCP_CONTROL"}
    tap = read_file("ndpi-diameter")
    (lengths,) = tshark("ndpi-diameter", "diameter.length")
    assert [len(octets) for _, octets in tap.messages] == [int(length) for length in lengths]
    assert tap.drops == {}
