"""A stream of made-up SIP in HEP (or in frames of a pcap file): endless, and the same for the same seed.

In: a seed, how many dialogs go on at once, what to wrap the messages in. Out: blocks of messages in the
order in which they would pass a capture agent, those of different dialogs interleaved as in life: each
dialog runs by its own clock (hepcat.bench.dialogs gives the mean delays), and the blocks are sorted by
that clock. What is in the messages: hepcat.bench.agents. The kernel writes them; numpy does the rest.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from hepcat.bench.agents import AGENTS, Agent, Side, World
from hepcat.bench.dialogs import MESSAGES, SCENARIOS, Scenario
from hepcat.bench.fill import fill_messages
from hepcat.bench.templates import IP_SUM, Builder, Op, Program, random, size, time

Wrap = Literal["hep1", "hep2", "hep3", "pcap"]
Octets = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]

#: New dialogs that are drawn at once.
_CHUNK: Final = 8192
#: The longest pause within a dialog, in means (talk times are exponential; this bounds what is pending).
_LONGEST: Final = 5.0
#: Messages of others between two of a dialog, on average, at the least.
_APART: Final = 40.0
#: The key of the dialogs' numbers that are no dialog: noise in a pcap file.
_NOISE_KEY: Final = 99


@dataclass(frozen=True, slots=True)
class Block:
    """Messages in order: message i is buffer[offsets[i]:offsets[i + 1]]."""

    buffer: Octets
    offsets: Int64
    template: Int32
    dialog: Int64

    def __len__(self) -> int:
        return len(self.template)


class Traffic:
    """The stream. One thread; `events` and `block` go on where the last call ended."""

    def __init__(
        self,
        seed: int = 1,
        calls: int = 1000,
        wrap: Wrap = "hep3",
        key: str = "",
        node_id: int = 2001,
        noise: float = 0.0,
    ) -> None:
        """Build the templates (about a tenth of a second).

        calls: dialogs that go on at once. key: HEP authentication key (HEP 3). node_id: capture agent
        id (HEP 2 and 3). noise: share of frames that are no SIP (pcap). Raises ValueError for a value
        out of its range.
        """
        if calls < 1 or not 0 <= noise < 1 or not 0 <= node_id < 2**32:
            raise ValueError("calls must be positive, noise in 0..1, node_id 32 bits")
        self.seed = seed & (2**63 - 1)
        self.wrap = wrap
        self.noise = noise
        builder = Builder()
        world = World(builder)
        #: what each template is: (method of the CSeq, status; 0 is a request)
        self.kinds: list[tuple[str, int]] = []
        # No hop of IPv6 in a pcap: its UDP checksum is mandatory (RFC 8200 section 8.1), and not computed.
        agents = [agent for agent in AGENTS if wrap != "pcap" or agent.family == 4]
        self._first = np.array(
            [[self._add(builder, world, s, a, key, node_id) for a in agents] for s in SCENARIOS],
            dtype=np.int32,
        )
        self._noise_template = self._add_noise(builder) if wrap == "pcap" else -1
        self.program: Program = builder.build()
        #: octets of the longest message, and the templates that begin a dialog
        self.widest = int(self.program.octets.max())
        self.firsts = self._first.ravel()
        self._plan(agents, calls)

    def _add(
        self, builder: Builder, world: World, scenario: Scenario, agent: Agent, key: str, node: int
    ) -> int:
        """Add the templates of a scenario as an agent speaks it; return the number of the first."""
        fields = world.fields(agent)
        first = len(self.kinds)
        for step in scenario.steps:
            source, target = world.way(agent.family, step.way)
            frame = _frame(self.wrap, agent.family, source, target, builder, key, node)
            message = MESSAGES[step.message]
            builder.template(frame, message.text, fields)
            self.kinds.append((message.method, message.status))
        return first

    def _add_noise(self, builder: Builder) -> int:
        """Add one template of RTP (RFC 3550): what a pcap of a VoIP host is full of."""
        addresses: list[Op | bytes] = [random(_NOISE_KEY, 8, "octets")]
        rtp: list[Op | bytes] = [b"\x80\x08", random(_NOISE_KEY + 1, 170, "octets")]
        ports: list[Op | bytes] = [b"\x4e", random(_NOISE_KEY + 2, 1, "octets"), b"\x9c\x40"]
        self.kinds.append(("", 0))
        return builder.template([*_pcap_headers(addresses, ports), *rtp], "", {})

    def _plan(self, agents: list[Agent], calls: int) -> None:
        """Lay out what drawing dialogs needs: shares, delays, and the pace that keeps `calls` going."""
        self._dice = np.random.default_rng(self.seed)
        self._steps = np.array([len(s.steps) for s in SCENARIOS])
        self._delays = np.zeros((len(SCENARIOS), int(self._steps.max())))
        for i, scenario in enumerate(SCENARIOS):
            self._delays[i, : len(scenario.steps)] = [step.delay for step in scenario.steps]
        weights = np.array([s.weight for s in SCENARIOS], dtype=np.float64)
        self._scenario_edges = np.cumsum(weights / weights.sum())
        shares = np.array([a.weight for a in agents])
        self._agent_edges = np.cumsum(shares / shares.sum())
        weights /= weights.sum()
        # Little's law: dialogs going on = dialogs started a second x their mean duration.
        self._gap = float(weights @ self._delays.sum(axis=1)) / calls
        # Few calls make a slow network, in which an answer would follow its request with nothing between.
        apart = _APART * self._gap / float(weights @ self._steps)
        self._delays[:, 1:] = np.maximum(self._delays[:, 1:], apart)
        self._clock = 0.0
        self._started = 0
        self._when: npt.NDArray[np.float64] = np.zeros(0)
        self._waiting: Int32 = np.zeros(0, dtype=np.int32)
        self._whose: Int64 = np.zeros(0, dtype=np.int64)
        self._ready: tuple[Int32, Int64] = (self._waiting, self._whose)

    def _draw(self) -> None:
        """Start another chunk of dialogs; put what comes before the next chunk's first in order."""
        dice = self._dice
        starts = self._clock + np.cumsum(dice.exponential(self._gap, _CHUNK))
        self._clock = float(starts[-1])
        scenario = np.searchsorted(self._scenario_edges, dice.random(_CHUNK)).clip(0, len(SCENARIOS) - 1)
        agent = np.searchsorted(self._agent_edges, dice.random(_CHUNK)).clip(0, self._first.shape[1] - 1)
        pauses = dice.standard_exponential((_CHUNK, self._delays.shape[1])).clip(0.2, _LONGEST)
        when = starts[:, None] + np.cumsum(self._delays[scenario] * pauses, axis=1)
        step = np.arange(self._delays.shape[1])
        there = step[None, :] < self._steps[scenario][:, None]
        template = self._first[scenario, agent][:, None] + step[None, :].astype(np.int32)
        dialog = np.broadcast_to((self._started + np.arange(_CHUNK))[:, None], there.shape)
        self._started += _CHUNK
        when = np.concatenate([self._when, when[there]])
        template = np.concatenate([self._waiting, template[there]])
        dialog = np.concatenate([self._whose, dialog[there]])
        now = when <= self._clock
        order = np.argsort(when[now], kind="stable")
        self._ready = (
            np.concatenate([self._ready[0], template[now][order]]),
            np.concatenate([self._ready[1], dialog[now][order]]),
        )
        later = ~now
        self._when, self._waiting, self._whose = when[later], template[later], dialog[later]

    def events(self, count: int) -> tuple[Int32, Int64]:
        """Return the next `count` messages as (template, dialog), without writing them."""
        fresh = round(count * (1 - self.noise)) if self._noise_template >= 0 else count
        while len(self._ready[0]) < fresh:
            self._draw()
        template, dialog = self._ready[0][:fresh], self._ready[1][:fresh]
        self._ready = (self._ready[0][fresh:], self._ready[1][fresh:])
        if fresh == count:
            return template, dialog
        places = np.sort(self._dice.integers(0, fresh + 1, count - fresh))
        numbers = self._dice.integers(2**40, 2**41, count - fresh)
        return (
            np.insert(template, places, np.int32(self._noise_template)),
            np.insert(dialog, places, numbers),
        )

    def block(self, ts: Int64) -> Block:
        """Write the next len(ts) messages, captured at these times (microseconds, UTC)."""
        template, dialog = self.events(len(ts))
        return self.write(template, dialog, ts)

    def write(self, template: Int32, dialog: Int64, ts: Int64, out: Octets | None = None) -> Block:
        """Write these messages into `out`, or into a new buffer."""
        if out is None:
            out = np.empty(self.room(template), dtype=np.uint8)
        offsets = np.empty(len(template) + 1, dtype=np.int64)
        p = self.program
        fill_messages(
            p.ops, p.template_start, p.pool, p.entries, p.table_start, self.seed,
            np.ascontiguousarray(template), np.ascontiguousarray(dialog), np.ascontiguousarray(ts),
            out, offsets,
        )  # fmt: skip
        return Block(out, offsets, template, dialog)

    def room(self, template: Int32) -> int:
        """Return the octets that these messages may take at most."""
        return int(self.program.octets[template].sum())

    def methods(self, template: Int32) -> Counter[tuple[str, int]]:
        """Count messages by (method of the CSeq, status; 0 is a request). Noise is ("", 0)."""
        return self.count(np.bincount(template, minlength=len(self.kinds)))

    def count(self, counts: npt.NDArray[np.int64]) -> Counter[tuple[str, int]]:
        """The same from messages by template."""
        total: Counter[tuple[str, int]] = Counter()
        for i in np.flatnonzero(counts):
            total[self.kinds[i]] += int(counts[i])
        return total


def _frame(
    wrap: Wrap, family: int, source: Side, target: Side, builder: Builder, key: str, node: int
) -> list[Op | bytes]:
    """Return what stands in front of the SIP message."""
    src, src_port = source.fields(builder)
    dst, dst_port = target.fields(builder)
    if wrap == "pcap":
        return _pcap_headers([src, dst], [src_port, dst_port])
    hep_family = 10 if family == 6 else 2
    if wrap in ("hep1", "hep2"):
        length = 8 + (32 if family == 6 else 8) + (12 if wrap == "hep2" else 0)
        start: list[Op | bytes] = [
            bytes((int(wrap[3]), length, hep_family, 17)),
            src_port,
            dst_port,
            src,
            dst,
        ]
        if wrap == "hep1":
            return start
        # Known senders write the time and the id in the order of their host: little-endian.
        return [
            *start,
            time(little=True),
            time(True, little=True),
            (node & 0xFFFF).to_bytes(2, "little"),
            b"\0\0",
        ]
    first = 5 if family == 6 else 3
    chunks: list[Op | bytes] = [b"HEP3", size(2, 4), _chunk(1, bytes((hep_family,))), _chunk(2, b"\x11")]
    for number, value in ((first, src), (first + 1, dst), (7, src_port), (8, dst_port)):
        length = 2 if number in (7, 8) else 16 if family == 6 else 4
        chunks += [_chunk_head(number, length), value]
    chunks += [_chunk_head(9, 4), time(), _chunk_head(10, 4), time(True), _chunk(11, b"\x01")]
    chunks.append(_chunk(12, node.to_bytes(4, "big")))
    if key:
        chunks.append(_chunk(14, key.encode()))
    return [*chunks, b"\0\0\0\x0f", size(2, 4)]


def _chunk_head(number: int, length: int) -> bytes:
    """Vendor 0, type, length with these six octets (reference: HEP 3)."""
    return b"\0\0" + number.to_bytes(2, "big") + (length + 6).to_bytes(2, "big")


def _chunk(number: int, body: bytes) -> bytes:
    return _chunk_head(number, len(body)) + body


def _pcap_headers(addresses: list[Op | bytes], ports: list[Op | bytes]) -> list[Op | bytes]:
    """A pcap record's header (little-endian, microseconds), Ethernet, IPv4 (RFC 791) and UDP (RFC 768)."""
    return [
        time(little=True),
        time(True, little=True),
        size(4, -8, little=True),
        size(4, -4, little=True),
        bytes.fromhex("020000000001020000000002") + b"\x08\x00",
        b"\x45\x00",
        size(2, 2),
        b"\x00\x01\x40\x00\x40\x11",
        IP_SUM,
        *addresses,
        *ports,
        size(2, 4),
        b"\0\0",  # no UDP checksum: allowed over IPv4
    ]
