"""What became of each call of a ladder: state, final status and the times that matter.

In: the arrows of one Call-ID in the order of time. Out: a `Leg`. What can go wrong: nothing; what the
capture does not show is None.

The rules are those of hepcat.search.calls, so that `search` and `flow` say the same about a call (a test
holds them together); there they are SQL over millions of messages, here they are about one call at hand.
Times are microseconds: post-dial delay from the first INVITE to the first 18x or 2xx (session request
delay, RFC 6076 section 4.3.1), ring time from the first 18x to the answer or the end, talk time from the
2xx to the first BYE.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hepcat.search.ladder import Arrow


@dataclass(frozen=True, slots=True)
class Leg:
    """One Call-ID of the picture. Times in microseconds."""

    index: int
    call_id: str
    method: str | None  # INVITE, else the method of the first message
    caller: str | None  # user part of From, else its host
    callee: str | None
    start: int
    end: int
    state: str | None  # one of hepcat.search.calls.STATES; None where there is nothing to tell
    status: int | None  # of the response that decided, so far
    reason: str | None
    post_dial_delay: int | None
    ring_time: int | None
    talk_time: int | None
    messages: int
    retransmissions: int
    copies: int

    @property
    def duration(self) -> int:
        """From the first to the last message."""
        return self.end - self.start

    @property
    def result(self) -> str:
        """`200 OK`, or the empty string where no response was seen."""
        return f"{self.status} {self.reason or ''}".strip() if self.status is not None else ""


@dataclass(frozen=True, slots=True)
class _Facts:
    """What of the messages decides about a call."""

    method: str | None
    ok: "Arrow | None"  # the first 2xx
    final: "Arrow | None"  # the last failure or redirection that is no challenge
    last_final: "Arrow | None"  # the last of either
    challenge: "Arrow | None"  # the last 401 or 407
    provisional: "Arrow | None"  # the last 1xx
    unanswered: bool  # a challenge after which the request was not repeated
    unregister: bool
    invite_at: int | None
    alert_at: int | None
    ok_at: int | None
    final_at: int | None
    cancel_at: int | None
    bye_at: int | None


def summarize(
    index: int, call_id: str, people: tuple[str | None, str | None], arrows: Sequence["Arrow"]
) -> Leg:
    """Return the summary of one Call-ID; `arrows` are all its messages in order, at least one."""
    facts = _facts(arrows)
    decisive = _decisive(facts)
    return Leg(
        index=index,
        call_id=call_id,
        method=facts.method,
        caller=people[0],
        callee=people[1],
        start=arrows[0].ts,
        end=arrows[-1].ts,
        state=_state(facts),
        status=decisive.status if decisive else None,
        reason=decisive.reason if decisive else None,
        post_dial_delay=_between(facts.invite_at, _least(facts.alert_at, facts.ok_at)),
        ring_time=_between(
            facts.alert_at,
            facts.ok_at if facts.ok_at is not None else _least(facts.final_at, facts.cancel_at),
        ),
        talk_time=_between(facts.ok_at, facts.bye_at),
        messages=len(arrows),
        retransmissions=sum(1 for a in arrows if a.retransmission),
        copies=sum(1 for a in arrows if a.copy_of is not None),
    )


def _facts(arrows: Sequence["Arrow"]) -> _Facts:
    """Gather the facts; a request counts before the responses of the same microsecond."""
    ordered = sorted(arrows, key=lambda a: (a.ts, a.status or 0))
    method = "INVITE" if any(a.method == "INVITE" for a in ordered) else ordered[0].method
    own = [a for a in ordered if a.method == method]
    requests = [a for a in own if a.status is None]
    challenges = [a for a in own if _challenges(a)]
    finals = [a for a in own if (a.status or 0) >= 200 and not _challenges(a)]
    challenge = challenges[-1] if challenges else None
    repeated = challenge is not None and bool(requests) and _after(requests[-1], challenge)
    return _Facts(
        method=method,
        ok=next((a for a in finals if (a.status or 0) < 300), None),
        final=next((a for a in reversed(finals) if (a.status or 0) >= 300), None),
        last_final=finals[-1] if finals else None,
        challenge=challenge,
        provisional=next((a for a in reversed(own) if 0 < (a.status or 0) < 200), None),
        unanswered=challenge is not None and not repeated,
        unregister=bool(requests) and _last_expires(requests) == 0,
        invite_at=_first(a for a in ordered if a.status is None and a.method == "INVITE"),
        alert_at=_first(a for a in ordered if a.method == "INVITE" and 180 <= (a.status or 0) < 190),
        ok_at=_first(a for a in ordered if a.method == "INVITE" and 200 <= (a.status or 0) < 300),
        final_at=_first(
            a for a in ordered if a.method == "INVITE" and (a.status or 0) >= 300 and not _challenges(a)
        ),
        cancel_at=_first(a for a in ordered if a.status is None and a.method == "CANCEL"),
        bye_at=_first(a for a in ordered if a.status is None and a.method == "BYE"),
    )


def _challenges(arrow: "Arrow") -> bool:
    return arrow.status in (401, 407)


def _after(request: "Arrow", challenge: "Arrow") -> bool:
    return (request.ts, 0) > (challenge.ts, challenge.status or 0)


def _last_expires(requests: Sequence["Arrow"]) -> int | None:
    return next((a.expires for a in reversed(requests) if a.expires is not None), None)


def _first(arrows: Iterable["Arrow"]) -> int | None:
    return next((a.ts for a in arrows), None)


def _least(*times: int | None) -> int | None:
    return min((t for t in times if t is not None), default=None)


def _between(start: int | None, end: int | None) -> int | None:
    return end - start if start is not None and end is not None and end >= start else None


def _decisive(facts: _Facts) -> "Arrow | None":
    """Return the response that the call's status is taken from."""
    if facts.method != "INVITE":
        challenge = facts.challenge if facts.unanswered else None
        return facts.last_final or challenge or facts.provisional or facts.challenge
    challenge = facts.challenge if facts.unanswered and facts.cancel_at is None else None
    return facts.ok or facts.final or challenge or facts.provisional or facts.challenge


def _state(facts: _Facts) -> str | None:
    """Say in a word what became of the call."""
    if facts.method == "INVITE":
        return _invite_state(facts)
    if facts.last_final is not None:
        return _plain_state(facts, facts.last_final.status or 0)
    if facts.unanswered:
        return "auth required"
    if facts.provisional is not None or facts.challenge is not None:
        return "trying"
    return "no reply" if facts.method is not None and facts.method != "ACK" else None


def _plain_state(facts: _Facts, status: int) -> str:
    if facts.method != "REGISTER":
        return "succeeded" if status < 300 else "failed"
    if status < 300:
        return "unregistered" if facts.unregister else "registered"
    if status < 400:
        return "redirected"
    return "failed" if 500 <= status < 600 else "rejected"


def _invite_state(facts: _Facts) -> str:
    if facts.ok is not None:
        return "completed" if facts.bye_at is not None else "in call"
    if facts.final is not None:
        return _failed_state(facts.final.status or 0)
    if facts.cancel_at is not None:
        return "cancelled"
    if facts.unanswered:
        return "auth required"
    if facts.alert_at is not None:
        return "ringing"
    return "trying" if facts.provisional is not None or facts.challenge is not None else "no reply"


def _failed_state(status: int) -> str:
    if status == 487:
        return "cancelled"
    if status in (486, 600):
        return "busy"
    if status in (408, 480):
        return "no answer"
    if status < 400:
        return "redirected"
    return "failed" if 500 <= status < 600 else "rejected"
