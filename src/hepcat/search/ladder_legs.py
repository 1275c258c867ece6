"""What became of each call of a ladder: state, final status and the times that matter.

In: the arrows of one Call-ID in the order of time. Out: a `Leg`. What can go wrong: nothing; what the
capture does not show is None.

The result of a call is what its caller was told: the final response in the transaction of the last
INVITE that began the call, at the hop where that INVITE was seen first. A challenge (401, 407) is the
result only if no further INVITE followed. Times are microseconds: post-dial delay from the first INVITE to
the first 18x (RFC 6076 section 4.3 counts from the last INVITE sent; a caller waits from the first), ring
time from there to the 2xx, talk time from the 2xx to the first BYE.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hepcat.search.ladder import Arrow


@dataclass(frozen=True, slots=True)
class Leg:
    """One Call-ID of the picture. Times in microseconds."""

    index: int
    call_id: str
    method: str | None  # of the request that began it
    caller: str | None  # user part of From, else its host
    callee: str | None
    start: int
    end: int
    state: str
    status: int | None
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
        """`200 OK`, or the empty string where no final response was seen."""
        return f"{self.status} {self.reason or ''}".strip() if self.status is not None else ""


def summarize(
    index: int, call_id: str, people: tuple[str | None, str | None], arrows: Sequence["Arrow"]
) -> Leg:
    """Return the summary of one Call-ID; `arrows` are all its messages, at least one."""
    sent = [a for a in arrows if a.copy_of is None]
    begin = next((a for a in sent if a.is_request and not a.in_dialog), None)
    method = begin.method if begin else next((a.method for a in sent if a.method), None)
    final = _final(sent, method)
    times: tuple[int | None, int | None, int | None] = (None, None, None)
    state = _plain_state(final)
    if method == "INVITE":
        times = _times(sent, final)
        state = _call_state(sent, final)
    return Leg(
        index=index,
        call_id=call_id,
        method=method,
        caller=people[0],
        callee=people[1],
        start=arrows[0].ts,
        end=arrows[-1].ts,
        state=state,
        status=final.status if final else None,
        reason=final.reason if final else None,
        post_dial_delay=times[0],
        ring_time=times[1],
        talk_time=times[2],
        messages=len(arrows),
        retransmissions=sum(1 for a in arrows if a.retransmission),
        copies=len(arrows) - len(sent),
    )


def _final(sent: Sequence["Arrow"], method: str | None) -> "Arrow | None":
    """Return the response that decided the call, None where none was seen."""
    attempts = [a for a in sent if a.is_request and a.method == method and not a.in_dialog]
    dialog_cseqs = {(a.transaction, a.cseq) for a in sent if a.is_request and a.in_dialog}
    finals = [
        a
        for a in sent
        if not a.is_request
        and a.method == method
        and (a.status or 0) >= 200
        and (a.transaction, a.cseq) not in dialog_cseqs
    ]
    if not attempts:
        return finals[0] if finals else None
    last = attempts[-1].cseq
    first_hop = next(a.transaction for a in attempts if a.cseq == last)
    here = [a for a in finals if a.transaction == first_hop]
    if not here:  # its answers were not captured; another hop tells, a success before a failure
        here = sorted((a for a in finals if a.cseq == last), key=lambda a: (a.status or 0) >= 300)
    return here[0] if here else None


def _times(sent: Sequence["Arrow"], final: "Arrow | None") -> tuple[int | None, int | None, int | None]:
    """Return post-dial delay, ring time and talk time."""
    invite = next((a.ts for a in sent if a.is_request and a.method == "INVITE"), None)
    ringing = next((a.ts for a in sent if a.method == "INVITE" and 180 <= (a.status or 0) < 190), None)
    answer = final.ts if final is not None and 200 <= (final.status or 0) < 300 else None
    bye = next((a.ts for a in sent if a.is_request and a.method == "BYE"), None)

    def between(start: int | None, end: int | None) -> int | None:
        return end - start if start is not None and end is not None and end >= start else None

    return between(invite, ringing), between(ringing, answer), between(answer, bye)


def _call_state(sent: Sequence["Arrow"], final: "Arrow | None") -> str:
    """Say in a word what became of an INVITE."""
    status = final.status or 0 if final is not None else 0
    cancelled = any(a.is_request and a.method == "CANCEL" for a in sent)
    if status == 0:
        if cancelled:
            return "cancelled"
        return (
            "ringing"
            if any(a.method == "INVITE" and 180 <= (a.status or 0) < 190 for a in sent)
            else "calling"
        )
    if status < 300:
        return "completed" if any(a.is_request and a.method == "BYE" for a in sent) else "answered"
    if cancelled or status == 487:
        return "cancelled"
    if status < 400:
        return "redirected"
    if status in (401, 407):
        return "challenged"
    if status in (486, 600):
        return "busy"
    if status in (408, 480):
        return "no answer"
    return "rejected" if status in (403, 603, 607, 608) else "failed"


def _plain_state(final: "Arrow | None") -> str:
    """Say in a word what became of a request that begins no call."""
    status = final.status or 0 if final is not None else 0
    if status == 0:
        return "no reply"
    if status < 300:
        return "ok"
    if status < 400:
        return "redirected"
    return "challenged" if status in (401, 407) else "failed"
