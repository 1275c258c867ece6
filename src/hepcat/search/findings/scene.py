"""A ladder as the rules read it: calls, what was asked in them (exchanges), and the hops that carried it.

In: a Ladder. Out: `Scene`. What can go wrong: nothing; a message without a usable CSeq is an exchange of
its own transaction.

- Copies (the same message captured twice) are left out, so nothing counts twice.
- Hop: one transaction, that is one branch (RFC 3261 section 17), with every sending of its messages. The
  same octets between other addresses (a NAT, a load balancer) belong to the same hop.
- Exchange: the request of one user agent (Call-ID, From tag, CSeq) on all hops that were captured.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from hepcat.search.findings.headers import Headers, number, read_headers
from hepcat.search.ladder import Arrow, Ladder
from hepcat.search.ladder_legs import Leg
from hepcat.search.ladder_marks import T1
from hepcat.search.render.escape import safe_line

#: Timers B, F and H: a transaction that got nothing by then is given up (RFC 3261 section 17, 64*T1).
GIVE_UP: Final = 64 * T1
#: A line end would end the finding's line; longer names are cut.
_NAME: Final = 60


@dataclass(slots=True)
class Hop:
    """One transaction. Lists are in order of time and hold retransmissions too."""

    transaction: int
    requests: list[Arrow] = field(default_factory=list)
    responses: list[Arrow] = field(default_factory=list)
    acks: list[Arrow] = field(default_factory=list)  # of a failure: they have the INVITE's branch

    @property
    def request(self) -> Arrow | None:
        """Its first sending."""
        return self.requests[0] if self.requests else None

    @property
    def final(self) -> Arrow | None:
        """The first final response."""
        return next((a for a in self.responses if (a.status or 0) >= 200), None)


@dataclass
class Exchange:
    """One request of one user agent and what became of it, on every hop, the first hop first. Complete once
    it is made: what is asked of it is kept."""

    method: str | None
    key: tuple[str | None, str | None]  # From tag and CSeq number: CANCEL and ACK share the INVITE's
    hops: list[Hop] = field(default_factory=list)
    acks: list[Arrow] = field(default_factory=list)  # on all hops, those of a 2xx too

    @functools.cached_property
    def request(self) -> Arrow | None:
        """The first sending on the first hop where the request was seen."""
        return next((hop.requests[0] for hop in self.hops if hop.requests), None)

    @property
    def in_dialog(self) -> bool:
        """Whether the request had a To tag."""
        return self.request is not None and self.request.in_dialog

    @functools.cached_property
    def responses(self) -> list[Arrow]:
        """All responses on all hops, in order of time."""
        return sorted((a for hop in self.hops for a in hop.responses), key=_moment)

    @functools.cached_property
    def answer(self) -> Arrow | None:
        """The first 2xx."""
        return next((a for a in self.responses if 200 <= (a.status or 0) < 300), None)

    @functools.cached_property
    def final(self) -> Arrow | None:
        """What the sender of the request was told: the final response on its hop, else any; a 2xx first."""
        return self.answer or next((hop.final for hop in self.hops if hop.final is not None), None)

    @property
    def challenged(self) -> bool:
        """Whether it ended with 401 or 407."""
        final = self.final
        return final is not None and final.status in (401, 407)


@dataclass(slots=True)
class Call:
    """One leg: its messages without copies, and its exchanges in order of time."""

    leg: Leg
    arrows: list[Arrow]
    exchanges: list[Exchange]
    known: dict[tuple[str | None, str | None, str | None], Exchange]

    @property
    def initial(self) -> list[Exchange]:
        """The exchanges that the call is about: of its method, outside of a dialog."""
        return [e for e in self.exchanges if e.method == self.leg.method and e.request and not e.in_dialog]

    def beside(self, exchange: Exchange, method: str) -> Exchange | None:
        """Return the exchange of another method with the same From tag and CSeq number."""
        return self.known.get((*exchange.key, method))

    @property
    def end(self) -> int:
        """When its last message was."""
        return self.leg.end


def finds_its_way(arrow: Arrow) -> bool:
    """Say whether the addresses in the SDP are no promise: ICE (RFC 8839) finds those that work."""
    return b"\na=ice-ufrag:" in arrow.payload or b"\na=candidate:" in arrow.payload


class Scene:
    """A ladder made ready for the rules; `told` are the messages that an earlier rule has explained."""

    def __init__(self, ladder: Ladder) -> None:
        self.ladder = ladder
        self.told: set[int] = set()
        self.chains: dict[int, list[object]] = {}  # what authentication.py found out about each call
        self._headers: dict[int, Headers] = {}
        of_leg: list[list[Arrow]] = [[] for _ in ladder.legs]
        for arrow in ladder.arrows:
            if arrow.copy_of is None:
                of_leg[arrow.leg].append(arrow)
        self.calls = [_call(leg, arrows) for leg, arrows in zip(ladder.legs, of_leg, strict=True)]

    def headers(self, arrow: Arrow) -> Headers:
        """Return the headers of a message, read once."""
        if arrow.index not in self._headers:
            self._headers[arrow.index] = read_headers(arrow.payload)
        return self._headers[arrow.index]

    def header(self, arrow: Arrow, name: str) -> str | None:
        """Return the first value of a header."""
        values = self.headers(arrow).get(name)
        return values[0] if values else None

    def header_number(self, arrow: Arrow, name: str) -> int | None:
        """Return the number that a header begins with."""
        value = self.header(arrow, name)
        return None if value is None else number(value.partition(";")[0].partition("(")[0])

    def host(self, index: int) -> str:
        """Return the name of a host, safe to show."""
        return safe_line(self.ladder.hosts[index].name, _NAME)

    def way(self, arrow: Arrow) -> str:
        """`phone → sbc (#4)`."""
        return f"{self.host(arrow.src)} → {self.host(arrow.dst)} (#{arrow.index + 1})"


def _moment(arrow: Arrow) -> tuple[int, int]:
    """Order messages by time; a request goes before responses of the same microsecond."""
    return arrow.ts, arrow.status or 0


def _call(leg: Leg, arrows: Sequence[Arrow]) -> Call:
    ordered = sorted(arrows, key=_moment)
    exchanges: dict[tuple[str | None, str | None, str | None], Exchange] = {}
    hops: dict[int, Hop] = {}
    for arrow in ordered:
        method = "INVITE" if arrow.method == "ACK" else arrow.method
        key = _key(arrow)
        exchange = exchanges.get((*key, method))
        if exchange is None:
            exchange = exchanges[(*key, method)] = Exchange(method, key)
        if arrow.method == "ACK":
            exchange.acks.append(arrow)
            if arrow.transaction in hops:
                hops[arrow.transaction].acks.append(arrow)
            continue
        hop = hops.get(arrow.transaction)
        if hop is None:
            hop = hops[arrow.transaction] = Hop(arrow.transaction)
            exchange.hops.append(hop)
        (hop.requests if arrow.is_request else hop.responses).append(arrow)
    return Call(leg, ordered, [e for e in exchanges.values() if e.hops], exchanges)


def _key(arrow: Arrow) -> tuple[str | None, str | None]:
    digits = (arrow.cseq or "").split(None, 1)[:1]
    if not digits:
        return None, f"transaction {arrow.transaction}"
    return arrow.from_tag, digits[0].lstrip("0")
