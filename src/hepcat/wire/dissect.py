"""From frames to messages: the kernels of this room, wired in order, a window of packets at a time.

In: a window (octets, `Packets` in it). Out: `Found`: rows of whole messages (UDP payloads; messages cut
from TCP, WebSocket, TLS and SCTP), in the order of the packets that completed them. What can go wrong is
counted in `drops`, and everything held back is bounded by the options. Time is the packets' own.

    frames -> UDP datagrams -----------------------------------------> (join) -+
           -> IP fragments -> whole packets -> frames again                    |
           -> SCTP chunks -> messages ------------------------------------------+-> Found
           -> TCP segments -> stretches -> (TLS -> stretches) -> messages ------+

One `Dissector` belongs to one thread; the octets of `Found` are void after the next window.
"""

from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from hepcat.batch.drops import Drop
from hepcat.wire.columns import (
    AREA_ARENA,
    AREA_WINDOW,
    DATAGRAM_COLUMNS,
    KIND_CHUNK,
    KIND_DATAGRAM,
    KIND_FRAGMENT,
    KIND_SEGMENT,
    MAX_ROWS_A_FRAME,
    PROTOCOL_TLS,
    TUNNELS_ALL,
    WANT_CHUNKS,
    WANT_DATAGRAMS,
    WANT_FRAGMENTS,
    WANT_SEGMENTS,
    Arena,
    Array,
    Datagrams,
    Packets,
    Stretches,
)
from hepcat.wire.frames import decode_frames, port_mask

#: "Later than anything": what is held is given up.
END_OF_TIME: Final = 2**62
#: Fragments of fragments: a packet put together may hold, within a tunnel, fragments again.
MAX_ROUNDS: Final = 4
_NO_PORTS: Final = np.zeros(0, dtype=np.uint16)


@dataclass(frozen=True, slots=True)
class DissectOptions:
    """What is read, and the bounds of what is held. Sizes in octets, times in microseconds.

    tunnels: TUNNEL_* bits. ports: uint16 (low, high) pairs of the innermost packet that are wanted, none:
    all. join: SIP spread over unmarked UDP datagrams is put together.
    """

    fragments: bool = True
    tcp: bool = True
    tls: bool = True
    sctp: bool = True
    websocket: bool = True
    join: bool = False
    tunnels: int = TUNNELS_ALL
    ports: Array = field(default_factory=lambda: _NO_PORTS)
    fragment_octets: int = 4 << 20
    fragment_timeout: int = 15_000_000
    streams: int = 10_000
    stream_octets: int = 16 << 20
    stream_idle: int = 600_000_000
    stream_gap: int = 2_000_000
    message: int = 65_535
    tls_octets: int = 8 << 20
    tls_wait: int = 5_000_000

    @property
    def want(self) -> int:
        """The kinds of rows asked of the frame decoder."""
        return (
            WANT_DATAGRAMS
            | (WANT_FRAGMENTS if self.fragments else 0)
            | (WANT_SEGMENTS if self.tcp else 0)
            | (WANT_CHUNKS if self.sctp else 0)
        )


@dataclass(slots=True)
class Found:
    """Whole messages: rows[0..n) of `datagrams`, whose octets lie in `window` or `arena` (area).

    carried: packets of the window that gave a row of any kind; the others were counted as drops.
    """

    window: Array
    arena: Array
    datagrams: Datagrams
    carried: int

    def octets(self, area: int) -> Array:
        """Return the buffer of an area."""
        return self.window if area == AREA_WINDOW else self.arena


class Dissector:
    """Reads one worker's packets.

    frame_drops, drops: int64, indexed by Drop, added to: packets that gave no row at all; and what was lost
    afterwards, in the unit of the stage that counts it.
    """

    def __init__(
        self, options: DissectOptions, drops: Array, frame_drops: Array, secrets: Any = None, keep: Any = None
    ) -> None:
        """secrets: of TLS (hepcat.wire.tls.Secrets), None where none are known. keep: the user's filter
        (hepcat.wire.bpf.BpfProgram for raw IP), applied to packets that were put together from fragments.
        """
        self.options = options
        self.drops = drops
        self.frame_drops = frame_drops
        self.arena = Arena()
        self._keep = keep
        self._secrets = secrets
        self._rows = Datagrams.empty(4096)
        self._more = Datagrams.empty(256)
        self._whole = Packets.empty(64)
        self._fragments: Any = None
        self._chunks: Any = None
        self._streams: Any = None
        self._joiner: Any = None

    def read(self, data: Array, packets: Packets) -> Found:
        """Return the messages that these packets complete."""
        options, rows = self.options, self._rows
        rows.n = 0
        self._more.n = 0
        self.arena.reset()
        first = 0
        while first < packets.n:
            rows.grow(min(packets.n - first, 8192) + MAX_ROWS_A_FRAME)
            first = decode_frames(
                data,
                packets,
                rows,
                self.frame_drops,
                options.want,
                options.tunnels,
                AREA_WINDOW,
                first,
                self.drops,
            )
        carried = _packets_with_rows(rows)
        kinds = rows.kind[: rows.n]
        plain = not kinds.any()
        if not plain:
            if options.fragments:
                self._put_together(data)
            # The last packet's time, not the latest one: a wrong one in between shall not end every stream.
            plain = self._assemble(data, int(packets.ts[packets.n - 1]), packets.n - 1)
        if options.join and rows.n:
            plain = self._join(data) and plain
        found = rows if plain else self._merge()
        return Found(data, self.arena.data, self._chosen(found), carried)

    def expire(self, now_us: int) -> Found:
        """Return what still waits (streams that end without FIN), and count what never became whole."""
        self._rows.n = self._more.n = 0
        self.arena.reset()
        nothing = np.zeros(0, dtype=np.uint8)
        if self._fragments is not None:
            self._fragments.expire(now_us, self.drops)
        if self._chunks is not None:
            self._chunks.expire(now_us, self.drops)
        if self._streams is not None:
            self._streams.expire(now_us, nothing, self.arena, self._more, self.drops)
        if self._joiner is not None:
            self._joiner.expire(now_us, self.arena, self._more, self.drops)
        return Found(nothing, self.arena.data, self._chosen(self._merge()), 0)

    def _chosen(self, found: Datagrams) -> Datagrams:
        """Leave out what is on no wanted port."""
        if not len(self.options.ports) or not found.n:
            return found
        mask = np.zeros(found.n, dtype=np.uint8)
        port_mask(found, self.options.ports, mask)
        kept = np.flatnonzero(mask)
        self.drops[Drop.FILTER] += found.n - len(kept)
        return found if len(kept) == found.n else take(found, kept)

    # ---- fragments

    def _put_together(self, data: Array) -> None:
        """Replace the fragments that complete a datagram by what that datagram carries."""
        if self._fragments is None:
            from hepcat.wire.fragments import Defragmenter

            self._fragments = Defragmenter(
                max_octets=self.options.fragment_octets, timeout_us=self.options.fragment_timeout
            )
        rows, first = self._rows, 0
        for turn in range(MAX_ROUNDS + 1):
            waiting = np.flatnonzero(rows.kind[first : rows.n] == KIND_FRAGMENT) + first
            if not len(waiting):
                return
            if turn == MAX_ROUNDS:
                self.drops[Drop.TUNNEL_DEPTH] += len(waiting)
                return
            first = rows.n
            self._rebuild(data, waiting)

    def _rebuild(self, data: Array, waiting: Array) -> None:
        """Feed fragments; decode the packets that became whole behind the rows that are there."""
        rows, whole, defragmenter = self._rows, self._whole, self._fragments
        whole.n = 0
        if len(whole.offset) < len(waiting):
            whole = self._whole = Packets.empty(2 * len(waiting))
        count = defragmenter.feed(data, rows, waiting, self.arena, whole, self.drops)
        if not count:
            return
        packet, depth = np.asarray(defragmenter.packet_of)[:count], np.asarray(defragmenter.depth_of)[:count]
        if self._keep is not None:
            whole, packet, depth = self._filter(whole, packet, depth)
        at, done = rows.n, 0
        while done < whole.n:
            rows.grow(whole.n - done + MAX_ROWS_A_FRAME)
            done = decode_frames(
                self.arena.data,
                whole,
                rows,
                self.drops,
                self.options.want,
                self.options.tunnels,
                AREA_ARENA,
                done,
            )
        made = rows.packet[at : rows.n]
        rows.depth[at : rows.n] += depth[made].astype(np.uint8)
        rows.packet[at : rows.n] = packet[made]

    def _filter(self, whole: Packets, packet: Array, depth: Array) -> tuple[Packets, Array, Array]:
        """Apply the user's filter to outermost packets: in the kernel it could not see their ports."""
        mask = np.zeros(whole.n, dtype=np.uint8)
        self._keep.mask(self.arena.data, whole, mask)
        kept = np.flatnonzero((mask != 0) | (depth > 0))
        self.drops[Drop.FILTER] += whole.n - len(kept)
        if len(kept) == whole.n:
            return whole, packet, depth
        return take_packets(whole, kept), packet[kept], depth[kept]

    # ---- SCTP and TCP

    def _assemble(self, data: Array, now_us: int, last: int) -> bool:
        """Cut messages out of associations and streams; return whether all rows are datagrams after all.

        now_us, last: time and number of the window's last packet.
        """
        rows, kinds = self._rows, self._rows.kind[: self._rows.n]
        chunks = np.flatnonzero(kinds == KIND_CHUNK)
        if len(chunks):
            if self._chunks is None:
                from hepcat.wire.sctp import SctpAssembler

                self._chunks = SctpAssembler()
            self._chunks.feed(data, rows, chunks, self.arena, self._more, self.drops)
        segments = np.flatnonzero(kinds == KIND_SEGMENT)
        if len(segments):
            self._read_streams(data, segments, now_us, last)
        return not kinds.any()

    def _read_streams(self, data: Array, segments: Array, now_us: int, last: int) -> None:
        if len(self.options.ports):
            mask = np.zeros(self._rows.n, dtype=np.uint8)
            port_mask(self._rows, self.options.ports, mask)
            wanted = segments[mask[segments] != 0]
            self.drops[Drop.FILTER] += len(segments) - len(wanted)
            segments = wanted
        if self._streams is None:
            self._streams = StreamReader(self.options, self._secrets)
        self._streams.feed(data, self._rows, segments, (now_us, last), self.arena, self._more, self.drops)

    def _join(self, data: Array) -> bool:
        """Put SIP together that its sender spread over datagrams; return whether nothing changed."""
        if self._joiner is None:
            from hepcat.wire.join import DatagramJoiner

            self._joiner = DatagramJoiner()
        rows = self._rows
        udp = np.flatnonzero((rows.kind[: rows.n] == KIND_DATAGRAM) & (rows.ip_proto[: rows.n] == 17))
        before = self._more.n
        self._joiner.feed(data, rows, udp, self.arena, self._more, self.drops)
        if not self._joiner.changed:
            self._more.n = before
            return True
        rows.kind[udp] = KIND_FRAGMENT  # what stands in `more` now stands for them
        return False

    def _merge(self) -> Datagrams:
        """Return the datagrams among the rows and those of `more` in one table, by packet."""
        rows, more = self._rows, self._more
        kept = np.flatnonzero(rows.kind[: rows.n] == KIND_DATAGRAM)
        packet = np.concatenate([rows.packet[kept], more.packet[: more.n]])
        order = np.argsort(packet, kind="stable")
        merged = Datagrams.empty(0)
        merged.n = len(order)
        for name in (*(name for name, _ in DATAGRAM_COLUMNS), "src_ip", "dst_ip"):
            column = np.concatenate([getattr(rows, name)[kept], getattr(more, name)[: more.n]])
            setattr(merged, name, column[order])
        return merged


class StreamReader:
    """TCP segments to messages: reassembly, TLS where there are secrets, framing."""

    def __init__(self, options: DissectOptions, secrets: Any = None) -> None:
        from hepcat.wire.tcp import TcpReassembler

        self._tcp = TcpReassembler(
            max_streams=options.streams,
            max_octets=options.stream_octets,
            idle_us=options.stream_idle,
            gap_us=options.stream_gap,
        )
        self._options = options
        self._framer = self._new_framer()
        self._inner: Any = None  # frames what was decrypted
        # The same flows with protocols of their own: the outer ones go on saying TLS.
        self._inner_flows = replace(self._tcp.flows, protocol=np.zeros_like(self._tcp.flows.protocol))
        self._tls: Any = None
        self._secrets = secrets
        self._stretches = Stretches.empty(1024)
        self._plain = Stretches.empty(64)

    def feed(
        self,
        data: Array,
        found: Datagrams,
        rows: Array,
        now: tuple[int, int],
        arena: Arena,
        out: Datagrams,
        drops: Array,
    ) -> None:
        """Read SEGMENT rows; append the messages that they complete to `out`.

        now: time and number of the window's last packet. What its time sets free comes behind the segments.
        """
        stretches, (now_us, last) = self._stretches, now
        stretches.n = 0
        self._tcp.feed(data, found, rows, arena, stretches, drops)
        fed = stretches.n
        self._tcp.expire(now_us, arena, stretches, drops)
        stretches.packet[fed : stretches.n] = last
        self._frame(data, now_us, arena, out, drops)

    def expire(self, now_us: int, data: Array, arena: Arena, out: Datagrams, drops: Array) -> None:
        """Give up what is waited for since before the bounds of time."""
        self._stretches.n = 0
        self._tcp.expire(now_us, arena, self._stretches, drops)
        self._frame(data, now_us, arena, out, drops)

    def _frame(self, data: Array, now_us: int, arena: Arena, out: Datagrams, drops: Array) -> None:
        stretches, flows = self._stretches, self._tcp.flows
        rows = np.arange(stretches.n, dtype=np.int64)
        if stretches.n:
            self._framer.classify(stretches, rows, data, arena, flows)
            secret = flows.protocol[stretches.flow[: stretches.n]] == PROTOCOL_TLS
            if secret.any():
                self._decrypt(rows[secret], data, arena, out, drops)
                rows = rows[~secret]
            self._framer.feed(stretches, rows, data, arena, flows, out, drops)
        if self._tls is not None:
            self._plain.n = 0
            self._tls.expire(now_us, arena, flows, self._plain, drops)
            self._frame_plain(arena, out, drops)

    def _decrypt(self, rows: Array, data: Array, arena: Arena, out: Datagrams, drops: Array) -> None:
        if self._secrets is None or not self._options.tls:
            drops[Drop.TLS_NO_KEY] += len(rows)
            return
        if self._tls is None:
            from hepcat.wire.tls import TlsDecryptor

            self._tls = TlsDecryptor(
                self._secrets, max_octets=self._options.tls_octets, wait_us=self._options.tls_wait
            )
            self._inner = self._new_framer()
        self._plain.n = 0
        self._tls.feed(self._stretches, rows, data, arena, self._tcp.flows, self._plain, drops)
        self._frame_plain(arena, out, drops)

    def _new_framer(self) -> Any:
        from hepcat.wire.framing import Framer

        options = self._options
        return Framer(
            max_flows=2 * options.streams,
            max_octets=options.stream_octets,
            max_message=options.message,
            websocket=options.websocket,
        )

    def _frame_plain(self, arena: Arena, out: Datagrams, drops: Array) -> None:
        """Frame what was decrypted; the flows keep saying TLS, so this framer keeps its own protocols."""
        if self._plain.n:
            rows = np.arange(self._plain.n, dtype=np.int64)
            nothing, flows = np.zeros(0, dtype=np.uint8), self._inner_flows
            self._inner.classify(self._plain, rows, nothing, arena, flows)
            self._inner.feed(self._plain, rows, nothing, arena, flows, out, drops)


def take(found: Datagrams, rows: Array) -> Datagrams:
    """Return these rows only."""
    chosen = Datagrams.empty(0)
    chosen.n = len(rows)
    for name in (*(name for name, _ in DATAGRAM_COLUMNS), "src_ip", "dst_ip"):
        setattr(chosen, name, getattr(found, name)[rows])
    return chosen


def take_packets(packets: Packets, rows: Array) -> Packets:
    """Return these packets only."""
    return Packets(
        len(rows),
        *(getattr(packets, name)[rows] for name in ("offset", "captured", "original", "ts", "link", "vlan")),
    )


def _packets_with_rows(rows: Datagrams) -> int:
    """Count the packets that gave at least one row; rows of a packet stand together."""
    if not rows.n:
        return 0
    return int(np.count_nonzero(np.diff(rows.packet[: rows.n]))) + 1
