"""Rules about what the session descriptions agree on (RFC 3264): codecs, directions, media addresses."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from hepcat.search.findings.causes import given_reasons, sentences
from hepcat.search.findings.finding import ERROR, NOTE, WARNING, Told, rule
from hepcat.search.findings.outcome import refused_offer, result
from hepcat.search.findings.scene import Call, Exchange, Hop, Scene, finds_its_way
from hepcat.search.ladder import Arrow
from hepcat.search.render.escape import safe_line
from hepcat.search.sdp import Media

#: Formats that carry no speech or picture of their own.
_BESIDE: Final = frozenset({"TELEPHONE-EVENT", "CN", "RED", "ULPFEC", "RTX", "FLEXFEC-03"})
_UNSPECIFIED: Final = ("0.0.0.0", "::")


class _Pair(NamedTuple):
    """One stream as it was offered and answered."""

    offer: Arrow
    offered: Media
    answer: Arrow
    answered: Media


def _codecs(media: Media) -> set[str]:
    """Return the codecs of a stream in capital letters; the annexes of G.729 are one codec."""
    names = {codec.upper() for codec in media.codecs}
    return {"G729" if name.startswith("G729") and name != "G729E" else name for name in names}


def _speech(media: Media) -> set[str]:
    return _codecs(media) - _BESIDE


def _listed(media: Media) -> str:
    return safe_line(" ".join(media.codecs[:10]), 100) or "no codec"


def _described(hop: Hop, exchange: Exchange) -> tuple[Arrow, Arrow] | None:
    """Return offer and answer on a hop: INVITE and response, or 2xx and ACK (RFC 3261 section 13.2.1)."""
    told = [a for a in hop.responses if a.sdp is not None]
    last = next((a for a in told if 200 <= (a.status or 0) < 300), told[0] if told else None)
    if last is None or hop.request is None:
        return None
    if hop.request.sdp is not None:
        return hop.request, last
    ack = next((a for a in exchange.acks if a.sdp is not None and a.dst == last.src), None)
    return (last, ack) if ack is not None and (last.status or 0) >= 200 else None


def _pairs(hop: Hop, exchange: Exchange) -> list[_Pair]:
    """Return the streams of a hop, offered and answered, by their order (RFC 3264 section 6)."""
    described = _described(hop, exchange)
    if described is None:
        return []
    offer, answer = described
    if offer.sdp is None or answer.sdp is None:
        return []
    streams = zip(offer.sdp.media, answer.sdp.media, strict=False)
    return [_Pair(offer, mine, answer, theirs) for mine, theirs in streams if mine.kind == theirs.kind]


def _exchanges(call: Call) -> Iterator[Exchange]:
    return (e for e in call.exchanges if e.method in ("INVITE", "UPDATE") and e.request is not None)


@rule(
    "codec_mismatch",
    "Codecs do not match",
    "RFC 3264 section 6.1, RFC 3261 sections 21.4.26 (488) and 21.6.4 (606)",
    """An answer accepts a stream but has no codec in common with the offer, or another transport (RTP/AVP
    against RTP/SAVP); or the offer was refused with 488 or 606. Says what was offered.""",
)
def codec_mismatch(scene: Scene, call: Call) -> Iterator[Told]:
    """Tell the first stream of each exchange, or the refusal."""
    for exchange in _exchanges(call):
        final = exchange.final
        if final is not None and refused_offer(exchange):
            offer = exchange.request
            media = offer.sdp.media if offer is not None and offer.sdp is not None else ()
            offered = "; ".join(
                f"{safe_line(m.kind, 20)} {_listed(m)} {safe_line(m.protocol, 30)}" for m in media[:3]
            )
            said = exchange.responses
            first = next(a for a in said if a.status == final.status)
            yield Told(
                WARNING if exchange.in_dialog else ERROR,
                f"Offer refused: {result(final)}",
                sentences(
                    scene.way(first),
                    f"Offered: {offered}" if offered else "There was no offer in the request",
                    *given_reasons(scene.headers(first)),
                ),
                [a for a in (first, offer) if a is not None],
            )
            continue
        yield from _mismatches(scene, exchange)


def _mismatches(scene: Scene, exchange: Exchange) -> Iterator[Told]:
    for hop in exchange.hops:
        for pair in _pairs(hop, exchange):
            mine, theirs = pair.offered, pair.answered
            if not mine.port or not theirs.port or not mine.codecs or not theirs.codecs:
                continue
            ways = (
                f"Offer {scene.way(pair.offer)}: {_listed(mine)}. "
                f"Answer {scene.way(pair.answer)}: {_listed(theirs)}"
            )
            kind = safe_line(mine.kind, 20)
            if mine.protocol.upper() != theirs.protocol.upper():
                title = (
                    f"Transports do not match ({kind}): {safe_line(mine.protocol, 30)} offered, "
                    f"{safe_line(theirs.protocol, 30)} answered"
                )
            elif "RTP" in mine.protocol.upper() and not _speech(mine) & _speech(theirs):
                title = f"No common codec ({kind})"
            else:
                continue
            yield Told(
                ERROR,
                title,
                sentences(ways, "Check the codec lists of both sides"),
                [pair.answer, pair.offer],
            )
            return


def _agreed(call: Call) -> tuple[Exchange, list[_Pair]] | None:
    """Return what the first answered INVITE agreed on, on the caller's hop."""
    for exchange in call.initial:
        if exchange.method == "INVITE" and exchange.answer is not None and exchange.hops:
            return exchange, _pairs(exchange.hops[0], exchange)
    return None


@rule(
    "no_telephone_event",
    "No telephone-event",
    "RFC 4733",
    """A call was answered with speech, but offer and answer have not both telephone-event: key presses
    (DTMF) go inband or by INFO, if at all.""",
)
def no_telephone_event(scene: Scene, call: Call) -> Iterator[Told]:
    """Tell who lacks it."""
    agreed = _agreed(call)
    for pair in agreed[1] if agreed else ():
        if pair.offered.kind != "audio" or not pair.answered.port or not pair.offered.port:
            continue
        lacking = [
            a
            for a, m in ((pair.offer, pair.offered), (pair.answer, pair.answered))
            if "TELEPHONE-EVENT" not in _codecs(m)
        ]
        if lacking:
            who = " and ".join(scene.way(a) for a in lacking)
            detail = sentences(
                f"Not in {who}", "Matters for menus and voice mail: check how key presses are sent"
            )
            yield Told(NOTE, "Key presses (telephone-event) were not agreed on", detail, lacking)
        return


@rule(
    "one_way_media",
    "Media in one direction, or none",
    "RFC 3264 sections 5.1, 6 and 8.4",
    """The answer refuses the audio (port 0); or the first offer or answer is sendonly, recvonly or
    inactive, or has the address 0.0.0.0; or a side was put on hold later and not taken back.""",
)
def one_way_media(scene: Scene, call: Call) -> Iterator[Told]:
    """Tell the first reason, and a hold that stays."""
    agreed = _agreed(call)
    for pair in agreed[1] if agreed else ():
        if pair.offered.kind != "audio" or not pair.offered.port:
            continue
        if not pair.answered.port:
            detail = sentences(f"{scene.way(pair.answer)} has port 0", f"Offered: {_listed(pair.offered)}")
            yield Told(NOTE, "The audio was refused", detail, [pair.answer, pair.offer])
            return
        for arrow, media in ((pair.answer, pair.answered), (pair.offer, pair.offered)):
            if media.direction != "sendrecv" or _nowhere(arrow, media):
                how = media.direction if media.direction != "sendrecv" else f"address {media.address}"
                detail = sentences(
                    f"{scene.way(arrow)} is {how}",
                    "Check whether that is meant (hold, announcement, monitoring)",
                )
                yield Told(NOTE, f"Audio goes one way from the start: {how}", detail, [arrow])
                return
    yield from _held(scene, call)


def _nowhere(arrow: Arrow, media: Media) -> bool:
    """Say whether the address asks for silence, as holding was done before RFC 3264; with ICE it does not."""
    return media.address in _UNSPECIFIED and not finds_its_way(arrow)


def _held(scene: Scene, call: Call) -> Iterator[Told]:
    last: dict[str | None, Arrow] = {}
    for exchange in _exchanges(call):
        request = exchange.request
        if (
            request is not None
            and exchange.in_dialog
            and request.sdp is not None
            and exchange.answer is not None
        ):
            last[request.from_tag] = request
    for arrow in last.values():
        live = [m for m in arrow.sdp.media if m.port] if arrow.sdp is not None else []
        if live and all(m.direction in ("sendonly", "inactive") or _nowhere(arrow, m) for m in live):
            detail = sentences(f"{scene.way(arrow)}", "No later offer of that side takes it back")
            yield Told(NOTE, "Put on hold, and not taken back", detail, [arrow])


@rule(
    "media_changed",
    "Media address changed",
    "RFC 3264 section 8.3, RFC 3261 section 13.2.1",
    """One side's media address or port differs between two session descriptions of the same dialog:
    between 18x and 2xx of one transaction, where it must not (warning), or with a re-INVITE or UPDATE
    (note). A firewall or a device may not follow.""",
)
def media_changed(scene: Scene, call: Call) -> Iterator[Told]:
    """Compare what a side sends on one hop with what it sent before; each change is told of one hop."""
    before: dict[tuple[int, int, str | None, int, str], tuple[Arrow, str]] = {}
    told: dict[tuple[str | None, str | None], Told] = {}
    for arrow in call.arrows:
        if arrow.sdp is None or arrow.faint or arrow.forward_of is not None:
            continue
        own = arrow.from_tag if arrow.is_request else arrow.to_tag
        for number, media in enumerate(arrow.sdp.media):
            if not media.port or media.address is None or media.address in _UNSPECIFIED:
                continue
            key = (arrow.src, arrow.dst, own, number, media.kind)
            then = before.get(key)
            before[key] = (arrow, media.place)
            if then is None or then[1] == media.place:
                continue
            event = (own, arrow.cseq)
            if event not in told:
                told[event] = _change(scene, then[0], arrow, then[1], media)
    yield from told.values()


def _change(scene: Scene, then: Arrow, now: Arrow, place: str, media: Media) -> Told:
    same = not now.is_request and then.transaction == now.transaction
    kind, old, new = (safe_line(text, 60) for text in (media.kind, place, media.place))
    return Told(
        WARNING if same else NOTE,
        f"Media address changed ({kind}): {old}, then {new}",
        sentences(
            f"{scene.way(then)}, then {scene.way(now)}",
            "Within one transaction the answer must stay the same: the caller may play the first one only"
            if same
            else "Check that firewalls and the other side follow",
        ),
        [now, then],
    )
