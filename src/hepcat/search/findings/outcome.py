"""Rules about how requests ended: failures, silence, the reason of hanging up, and how long dialling took."""

from collections.abc import Iterator
from typing import Final

from hepcat.search.findings.causes import (
    CHECKS,
    NORMAL_CAUSES,
    cause_words,
    causes,
    given_reasons,
    sentences,
)
from hepcat.search.findings.finding import ERROR, NOTE, WARNING, Severity, Told, rule
from hepcat.search.findings.scene import GIVE_UP, Call, Exchange, Hop, Scene
from hepcat.search.ladder import Arrow
from hepcat.search.render.escape import safe_line
from hepcat.search.render.words import seconds

#: A person decided so, or was not there: nothing is broken.
_HUMAN: Final = frozenset({480, 486, 600, 603})
#: What a server says after it waited in vain for the next one.
_IN_VAIN: Final = frozenset({408, 500, 503, 504})
#: Post-dial delay that people hang up at: ITU-T E.721 table 1 has 8 s on average for international calls.
LONG_DIALLING: Final = 8_000_000
#: What comes so long after an INVITE belongs to another call of the same Call-ID. Microseconds.
_ANOTHER_CALL: Final = 3_600_000_000
VERY_LONG_DIALLING: Final = 15_000_000
#: Sendings without any response that are silence, and not the end of the capture.
_SILENT: Final = 3


def result(arrow: Arrow) -> str:
    """`486 Busy Here`, safe to show."""
    return f"{arrow.status} {safe_line(arrow.reason, 60)}".strip()


def _failed(arrow: Arrow | None) -> bool:
    return arrow is not None and (arrow.status or 0) >= 300 and arrow.status not in (401, 407)


def refused_offer(exchange: Exchange) -> bool:
    """Say whether the media offered were refused (488, 606): codec_mismatch tells that with the offer."""
    final = exchange.final
    return exchange.method in ("INVITE", "UPDATE") and final is not None and final.status in (488, 606)


def _source(exchange: Exchange, status: int | None) -> list[Arrow]:
    """Return where a response was first seen, and where it was passed on."""
    return [a for a in exchange.responses if a.status == status and not a.retransmission]


def _where(scene: Scene, said: list[Arrow]) -> str:
    """`pbx → sbc (#8), passed on sbc → phone (#9)`."""
    words = scene.way(said[0])
    return f"{words}, passed on {scene.way(said[-1])}" if len(said) > 1 else words


def _reasons(scene: Scene, said: list[Arrow]) -> list[str]:
    """Return the reasons given where they were given first: a proxy may take them out, or put some in."""
    for arrow in said:
        given = given_reasons(scene.headers(arrow))
        if given:
            return given
    return []


def _lost(call: Call) -> Exchange | None:
    """Return the exchange whose failure is the call's end; none where it succeeded or goes on."""
    if call.leg.method == "INVITE" and any(e.answer for e in call.initial):
        return None
    last = next((e for e in reversed(call.initial) if e.final is not None), None)
    return last if last is not None and _failed(last.final) else None


@rule(
    "final_failure",
    "Final failure",
    "RFC 3261 section 21, RFC 3326, ITU-T Q.850",
    """The call, or another request outside of a dialog, ended with 3xx to 6xx. Says who said so first, the
    reasons given (Reason with its Q.850 cause in words, Warning, Retry-After) and what to check. A
    caller who gave up and a redirection are notes; busy, declined and nobody there are warnings.""",
)
def final_failure(scene: Scene, call: Call) -> Iterator[Told]:
    """Tell how the call ended."""
    lost = _lost(call)
    if lost is None:
        yield from _given_up(scene, call)
        return
    final = lost.final
    assert final is not None
    said = _source(lost, final.status) or [final]
    cancel = call.beside(lost, "CANCEL")
    if final.status == 487 and cancel is not None and cancel.request is not None:
        yield _cancelled(scene, lost, cancel.request, said)
        return
    severity: Severity = ERROR
    if (final.status or 0) < 400 or call.leg.method == "OPTIONS":
        severity = NOTE
    elif final.status in _HUMAN:
        severity = WARNING
    detail = [f"{_where(scene, said)}", *_reasons(scene, said)]
    if (final.status or 0) < 400:
        contact = scene.header(said[0], "contact")
        detail.append(f"Contact: {safe_line(contact, 120)}" if contact else "No Contact says where to")
    yield Told(
        severity,
        f"{safe_line(call.leg.method, 20)} failed: {result(final)}"
        if (final.status or 0) >= 400
        else f"Redirected: {result(final)}",
        sentences(*detail, CHECKS.get(final.status or 0, "")),
        said,
    )


def _cancelled(scene: Scene, lost: Exchange, cancel: Arrow, said: list[Arrow]) -> Told:
    request = lost.request
    waited = f" after {seconds(cancel.ts - request.ts)}" if request is not None else ""
    return Told(
        NOTE,
        f"Cancelled by the caller{waited}",
        sentences(scene.way(cancel), *given_reasons(scene.headers(cancel))),
        [cancel, *said],
    )


def _given_up(scene: Scene, call: Call) -> Iterator[Told]:
    """A CANCEL of which the 487 was not seen."""
    for invite in reversed(call.initial):
        cancel = call.beside(invite, "CANCEL")
        if cancel is not None and cancel.request is not None and invite.final is None:
            yield _cancelled(scene, invite, cancel.request, [])
            return


@rule(
    "request_failed",
    "Other requests that failed",
    "RFC 3261 sections 12.2 and 21",
    """A request within the dialog (re-INVITE, UPDATE, BYE, REFER, INFO ...), or one of several outside of
    it, got 3xx to 6xx, challenges aside. Requests of one method with one status are one finding.""",
)
def request_failed(scene: Scene, call: Call) -> Iterator[Told]:
    """Tell each method and status once."""
    lost = _lost(call)
    groups: dict[tuple[str | None, int | None], list[Exchange]] = {}
    for exchange in call.exchanges:
        first = exchange.method == "INVITE" and not exchange.in_dialog
        if exchange is lost or first or exchange.request is None or exchange.method == "CANCEL":
            continue
        final = exchange.final
        if final is not None and _failed(final) and not refused_offer(exchange):
            groups.setdefault((exchange.method, final.status), []).append(exchange)
    for (method, status), failed in groups.items():
        said = _source(failed[0], status)
        times = f", {len(failed)} times" if len(failed) > 1 else ""
        yield Told(
            NOTE if method == "OPTIONS" or status == 491 else WARNING,
            f"{safe_line(method, 20)} failed: {result(said[0])}{times}",
            sentences(_where(scene, said), *_reasons(scene, said), CHECKS.get(status or 0, "")),
            [said[0], *(a for e in failed[1:] for a in _source(e, status)[:1])],
        )


@rule(
    "failed_attempt",
    "An attempt failed, another was answered",
    "RFC 3261 section 16.7",
    """The call was answered, but before that a target said 4xx to 6xx (487 and challenges aside). The
    caller waited for it.""",
)
def failed_attempt(scene: Scene, call: Call) -> Iterator[Told]:
    """Tell each host that refused once."""
    if call.leg.method != "INVITE":
        return
    answered = next((e.answer for e in call.initial if e.answer is not None), None)
    if answered is None:
        return
    seen: set[tuple[int, int | None]] = set()
    for exchange in call.initial:
        for hop in exchange.hops:
            final = hop.final
            if final is None or not _failed(final) or final.status == 487 or final.ts > answered.ts:
                continue
            if (final.status or 0) < 400 or (final.src, final.status) in seen:
                continue
            seen.add((final.src, final.status))
            yield Told(
                NOTE,
                f"{scene.host(final.src)} refused first: {result(final)}",
                sentences(
                    f"{scene.way(final)}, answered later by {scene.host(answered.src)}",
                    *given_reasons(scene.headers(final)),
                ),
                [final, answered],
            )


@rule(
    "release_cause",
    "Hung up for an unusual reason",
    "RFC 3326, ITU-T Q.850",
    """A BYE has a Reason header whose Q.850 cause is not normal clearing (16, 31), or a SIP cause of 400
    or more: not a person hung up, but a network or a timer.""",
)
def release_cause(scene: Scene, call: Call) -> Iterator[Told]:
    """Tell the reason of the first BYE that has one."""
    for exchange in call.exchanges:
        if exchange.method != "BYE" or exchange.request is None:
            continue
        for protocol, cause, text in causes(scene.headers(exchange.request)):
            odd = protocol.upper() == "Q.850" and cause is not None and cause not in NORMAL_CAUSES
            if odd or (protocol.upper() == "SIP" and (cause or 0) >= 400):
                yield Told(
                    WARNING,
                    f"Hung up with {cause_words(protocol, cause, text)}",
                    sentences(
                        f"BYE {scene.way(exchange.request)}",
                        f"Check {scene.host(exchange.request.src)} and what lies behind it: it gave up",
                    ),
                    [exchange.request],
                )
                return


@rule(
    "no_response",
    "No response",
    "RFC 3261 sections 17.1.1.2 and 17.1.2.2 (timers A, B, E, F)",
    """A request got no response at all: not on the only hop captured, or not on one of several although it
    was sent three times or more, or the hop before was told 408, 500, 503 or 504. Error where that kept
    the call from being answered and was repeated or lasted 32 s; else the capture may end there, and it
    is a warning.""",
)
def no_response(scene: Scene, call: Call) -> Iterator[Told]:
    """Tell each method and host that is silent once."""
    groups: dict[tuple[str | None, int], list[Hop]] = {}
    for exchange in call.exchanges:
        for hop in _silent(exchange):
            groups.setdefault((exchange.method, hop.requests[-1].dst), []).append(hop)
    answered = call.leg.method == "INVITE" and any(e.answer for e in call.initial)
    for (method, _), hops in groups.items():
        worst = max(hops, key=lambda hop: len(hop.requests))
        first, last = worst.requests[0], worst.requests[-1]
        sure = len(worst.requests) >= _SILENT or call.end - first.ts >= GIVE_UP
        serious = sure and method == call.leg.method and not answered
        times = f"sent {'once' if len(worst.requests) == 1 else f'{len(worst.requests)} times'}"
        if last.ts > first.ts:
            times += f" over {seconds(last.ts - first.ts)}"
        more = f" ({len(hops)} requests)" if len(hops) > 1 else ""
        scene.told.update(a.index for hop in hops for a in hop.requests)
        yield Told(
            ERROR if serious else WARNING,
            f"No response to {safe_line(method, 20) or 'a message'} from {scene.host(last.dst)}{more}",
            sentences(
                f"{scene.way(first)}: {times}",
                f"Check that {scene.host(last.dst)} is reachable there and listens (routing, firewall, "
                "transport), and that responses find their way back (Via, rport) and are captured"
                if sure
                else "It was not repeated: the capture may end here",
            ),
            [first, *worst.requests[1:]],
        )


def _silent(exchange: Exchange) -> list[Hop]:
    """Return the hops of an exchange where nothing came back, if that means something."""
    quiet = [hop for hop in exchange.hops if hop.requests and not hop.responses]
    if not quiet or len(quiet) == len(exchange.hops):
        return quiet[-1:]
    final = exchange.final
    in_vain = final is None or final.status in _IN_VAIN
    return [hop for hop in quiet if in_vain or len(hop.requests) >= _SILENT]


@rule(
    "no_final_response",
    "No final response",
    "RFC 3261 sections 13.3.1.1 and 16.7 (timer C)",
    """A request got provisional responses and then nothing: neither an answer nor a failure, and no
    CANCEL. The call may still be ringing; else somebody forgot it.""",
)
def no_final_response(scene: Scene, call: Call) -> Iterator[Told]:
    """Tell what was said last."""
    for exchange in call.exchanges:
        request, said = exchange.request, exchange.responses
        if request is None or exchange.final is not None or not said or request.index in scene.told:
            continue
        if call.beside(exchange, "CANCEL") is not None and exchange.method == "INVITE":
            continue
        if any(hop.request is not None and hop.request.index in scene.told for hop in exchange.hops):
            continue  # the silent hop behind it was told
        last = said[-1]
        yield Told(
            WARNING,
            f"No final response to {safe_line(request.method, 20)}: {result(last)} was the last",
            sentences(
                f"{scene.way(last)}, {seconds(last.ts - request.ts)} after the request",
                f"{seconds(call.end - last.ts)} later it was still open"
                if call.end > last.ts
                else "It may go on after the end of the capture",
            ),
            [last, request],
        )


@rule(
    "post_dial_delay",
    "Very long post-dial delay",
    "RFC 6076 section 4.3.1, ITU-T E.721",
    """From the first INVITE to the first 18x or 2xx it took 8 s or more (error from 15 s on). Says behind
    which hop most of the time went. Nothing is said from an hour on: then two calls have one Call-ID.""",
)
def post_dial_delay(scene: Scene, call: Call) -> Iterator[Told]:
    """Tell where the time went."""
    delay = call.leg.post_dial_delay
    if delay is None or not LONG_DIALLING <= delay < _ANOTHER_CALL:
        return
    for exchange in call.initial:
        alert = next((a for a in exchange.responses if 180 <= (a.status or 0) < 300), None)
        if alert is None or exchange.request is None:
            continue
        first = call.initial[0].request or exchange.request
        hop = next(hop for hop in exchange.hops if alert in hop.responses)
        detail = [f"First INVITE {scene.way(first)}, {result(alert)} {scene.way(alert)}"]
        if hop.request is not None:
            behind = alert.ts - hop.request.ts
            detail.append(f"{seconds(behind)} of it at or behind {scene.host(alert.src)}")
            before = delay - behind
            if before > behind:
                detail.append(
                    f"{seconds(before)} went before it was asked: look at attempts and retransmissions"
                )
        severity: Severity = ERROR if delay >= VERY_LONG_DIALLING else WARNING
        yield Told(severity, f"Post-dial delay {seconds(delay)}", sentences(*detail), [alert, first])
        return
