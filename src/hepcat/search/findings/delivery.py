"""Rules about messages that got lost, crossed each other, or went round in circles."""

from collections.abc import Iterator
from typing import Final

from hepcat.search.findings.causes import sentences
from hepcat.search.findings.finding import ERROR, NOTE, WARNING, Told, rule
from hepcat.search.findings.outcome import result
from hepcat.search.findings.scene import Call, Exchange, Scene
from hepcat.search.ladder import Arrow
from hepcat.search.render.escape import safe_line
from hepcat.search.render.words import plural, seconds

#: How long after a final response an ACK may still be on its way, where the response was not repeated.
_ACK_LATE: Final = 4_000_000  # T2, RFC 3261 section 17.1.2.2
#: Repetitions of one message that are a storm, and those that mean that nothing gets through.
STORM: Final = 3
SEVERE: Final = 6
#: Retransmissions are at most T2 apart; what is further apart is a sender that repeats its branch.
_APART: Final = 5_000_000


@rule(
    "no_ack",
    "No ACK",
    "RFC 3261 sections 13.2.2.4, 13.3.1.4 and 17.1.1.3",
    """A final response to INVITE was not acknowledged: it was repeated, or the call went on for 4 s,
    without ACK; or a 2xx was repeated twice after an ACK that did not reach its sender. Without the ACK
    of a 2xx the callee hangs up after 32 s.""",
)
def no_ack(scene: Scene, call: Call) -> Iterator[Told]:
    """Tell it of 2xx for the whole path, of failures for each hop."""
    for exchange in call.exchanges:
        if exchange.method != "INVITE" or exchange.request is None:
            continue
        if exchange.answer is not None:
            told = _unacknowledged(scene, call, exchange, exchange.answer)
            if told is not None:
                yield told
            continue
        for hop in exchange.hops:
            final = hop.final
            if final is None or hop.acks or not hop.requests:
                continue
            sent = [a for a in hop.responses if a.status == final.status]
            if len(sent) > 1 or call.end - final.ts >= _ACK_LATE:
                scene.told.update(a.index for a in sent)
                yield Told(
                    WARNING,
                    f"No ACK for {result(final)}",
                    sentences(
                        f"{scene.way(final)}, sent {plural(len(sent), 'time')}",
                        f"Check that responses of {scene.host(final.src)} reach {scene.host(final.dst)}",
                    ),
                    sent,
                )


def _unacknowledged(scene: Scene, call: Call, exchange: Exchange, answer: Arrow) -> Told | None:
    """Look at the hop where the 2xx came from: the ACK goes all the way."""
    sent = [a for a in exchange.responses if a.status == answer.status and a.src == answer.src]
    there = [a for a in exchange.acks if a.dst == answer.src]
    if there:
        return None
    first = exchange.acks[0] if exchange.acks else None
    if first is None and len(sent) < 2 and call.end - answer.ts < _ACK_LATE:
        return None
    after = [a for a in sent if first is not None and a.ts > first.ts]
    if first is not None and len(after) < 2:
        return None  # another path, perhaps one that is not captured
    scene.told.update(a.index for a in exchange.responses if a.status == answer.status)
    scene.told.update(a.index for a in exchange.acks)
    detail = [f"{scene.way(answer)}, sent {plural(len(sent), 'time')}"]
    if first is None:
        detail.append("Check that the answer reaches the caller, and where its Contact and Record-Route lead")
    else:
        detail.append(f"The ACK got as far as {scene.way(first)}; check where that host routes it")
    return Told(
        ERROR, f"No ACK for {result(answer)}", sentences(*detail), [answer, *sent[1:], *exchange.acks]
    )


@rule(
    "retransmissions",
    "Retransmission storm",
    "RFC 3261 sections 17.1.1.2, 17.1.2.2 and 13.3.1.4 (timers A, E, G)",
    """A message was repeated three times or more by its transaction (error from six on): it, or what
    should answer it, gets lost. Copies of the capture and the same message on other hops do not count.
    Silence and missing ACKs, which have rules of their own, are not told again.""",
)
def retransmissions(scene: Scene, call: Call) -> Iterator[Told]:
    """Tell each pair of hosts once, with the worst message."""
    chains: dict[int, list[Arrow]] = {}
    for arrow in call.arrows:
        if arrow.retransmission_of is not None:
            chains.setdefault(arrow.retransmission_of, []).append(arrow)
    pairs: dict[tuple[int, int], list[list[Arrow]]] = {}
    for of, again in chains.items():
        first = scene.ladder.arrows[of]
        if of in scene.told or len(again) < STORM or _repeats_itself(scene, first, again):
            continue
        pairs.setdefault((first.src, first.dst), []).append([first, *again])
    for storms in pairs.values():
        worst = max(storms, key=len)
        more = f", and {plural(len(storms) - 1, 'other message')}" if len(storms) > 1 else ""
        many = len(worst) - 1
        yield Told(
            ERROR if many >= SEVERE else WARNING,
            f"{safe_line(worst[0].label, 60)} repeated {plural(many, 'time')}{more}",
            sentences(
                f"{scene.way(worst[0])} within {seconds(worst[-1].ts - worst[0].ts)}",
                "Check for packet loss or overload there, and that what answers it comes back the same way",
            ),
            worst,
        )


def _repeats_itself(scene: Scene, first: Arrow, again: list[Arrow]) -> bool:
    """Say whether these are no retransmissions: news of progress, or a branch that is used anew."""
    if (first.status or 200) < 200 and scene.header(first, "rseq") is None:
        return True
    return (again[-1].ts - first.ts) // len(again) > _APART


@rule(
    "cancel_race",
    "CANCEL crossed the answer",
    "RFC 3261 sections 9.1 and 15",
    """On one hop there was both a CANCEL and a 2xx to its INVITE. The caller gave up while the callee
    picked up; the call exists and must be ended with BYE. Error where no BYE followed.""",
)
def cancel_race(scene: Scene, call: Call) -> Iterator[Told]:
    """Compare hop with hop: a proxy cancels other branches than the one that answered."""
    for invite in call.exchanges:
        cancel = call.beside(invite, "CANCEL") if invite.method == "INVITE" else None
        if cancel is None:
            continue
        sent = {(a.src, a.dst): a for hop in reversed(cancel.hops) for a in hop.requests[:1]}
        for hop in invite.hops:
            ok = hop.final
            request = hop.request
            if ok is None or request is None or (ok.status or 0) >= 300:
                continue
            given_up = sent.get((request.src, request.dst))
            if given_up is None:
                continue
            bye = next((e.request for e in call.exchanges if e.method == "BYE" and e.request), None)
            first = "CANCEL first" if given_up.ts <= ok.ts else "the answer first"
            scene.told.add(ok.index)
            yield Told(
                WARNING if bye is not None else ERROR,
                f"CANCEL crossed {result(ok)}",
                sentences(
                    f"CANCEL {scene.way(given_up)}, {result(ok)} {scene.way(ok)}: {first}, "
                    f"{seconds(abs(ok.ts - given_up.ts))} apart",
                    f"BYE {scene.way(bye)} ended it"
                    if bye is not None
                    else "No BYE followed: check that the caller ends such a call: it stays up",
                ),
                [given_up, ok],
            )
            return


@rule(
    "loop",
    "Routing loop",
    "RFC 3261 sections 16.3, 21.4.20 (482) and 21.4.21 (483); RFC 5393",
    """A server said 482 or 483; or Max-Forwards reached 0; or the same request, with the same Request-URI,
    passed the same two hosts again with a lower Max-Forwards.""",
)
def loop(scene: Scene, call: Call) -> Iterator[Told]:
    """Tell one loop an exchange, of a method once."""
    methods: set[str | None] = set()
    for exchange in call.exchanges:
        if exchange.method in methods:
            continue
        requests = [hop.requests[0] for hop in exchange.hops if hop.requests]
        left = {a.index: scene.header_number(a, "max-forwards") for a in requests}
        said = [a for a in exchange.responses if a.status in (482, 483) and not a.retransmission]
        again = _passes_again(requests, left)
        spent = [a for a in requests if left[a.index] == 0]
        if not (said or again or (spent and exchange.method != "OPTIONS")):
            continue
        methods.add(exchange.method)
        detail = [scene.way(a) for a in said[:1]]
        if again:
            detail.append(
                f"{scene.host(again[0].src)} → {scene.host(again[0].dst)} {plural(len(again), 'time')} "
                f"(#{again[0].index + 1} to #{again[-1].index + 1}), one Request-URI: check that routing"
            )
        if spent:
            detail.append(f"Max-Forwards 0 in {scene.way(spent[0])}")
        if not again:
            detail.append("Check which servers send the request to each other, and the first Max-Forwards")
        what = result(said[0]) if said else "the same request again" if again else "Max-Forwards ran out"
        yield Told(
            NOTE if exchange.method == "OPTIONS" else ERROR,
            f"{safe_line(exchange.method, 20)} goes in circles: {what}",
            sentences(*detail),
            [*said[:1], *again, *spent],
        )


def _passes_again(requests: list[Arrow], left: dict[int, int | None]) -> list[Arrow]:
    """Return the requests that passed the same hosts with fewer and fewer Max-Forwards; none if no loop."""
    ways: dict[tuple[int, int, str | None], list[Arrow]] = {}
    for arrow in requests:
        before = ways.setdefault((arrow.src, arrow.dst, arrow.ruri), [])
        now, then = left[arrow.index], left[before[-1].index] if before else None
        if not before or (now is not None and then is not None and now < then):
            before.append(arrow)
    longest = max(ways.values(), key=len, default=[])
    return longest if len(longest) > 1 else []


@rule(
    "malformed",
    "Malformed messages",
    "RFC 3261 section 25",
    "Messages that break the grammar, and how (column malformed). They are read as far as they can be.",
)
def malformed(scene: Scene, call: Call) -> Iterator[Told]:
    """Tell each defect of each sender once."""
    groups: dict[tuple[str, int], list[Arrow]] = {}
    for arrow in call.arrows:
        if arrow.malformed and not arrow.retransmission and arrow.forward_of is None:
            groups.setdefault((arrow.malformed, arrow.src), []).append(arrow)
    for (defect, _), arrows in groups.items():
        yield Told(
            NOTE,
            f"{plural(len(arrows), 'malformed message')} from {scene.host(arrows[0].src)}: "
            f"{safe_line(defect, 60)}",
            sentences(f"First {scene.way(arrows[0])}"),
            arrows,
        )
