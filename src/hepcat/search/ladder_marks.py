"""Which messages belong together: transactions, retransmissions, copies, forwards, forks.

In: messages in the order of time. Out: `Marks` for each. What can go wrong: nothing; where a message has
no branch or CSeq, only identical octets count as the same message.

- Transaction: the same Call-ID, branch, CSeq number and method (RFC 3261 section 17.1.3); ACK goes with
  its INVITE where it has its branch (17.1.1.3). A proxy adds a Via, so each hop has its own.
- Retransmission: the same transaction, method and status from the same endpoint to the same endpoint
  again. A response with another To tag is another branch of a fork (16.7), and a provisional response
  with another body or RSeq (RFC 3262) is news, so neither is a retransmission.
- Copy: the same octets between the same endpoints, seen by another capture point within T1, or again by
  the same one within 20 ms: sooner than any SIP timer fires (17.1.1.2, T1 is 500 ms), so it is the
  capture that saw one message twice.
- Forward: the same octets between other endpoints: a NAT, a load balancer, a tunnel.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from hepcat.search.ladder_hosts import Endpoint

T1: Final = 500_000  # RFC 3261 section 17.1.1.1, microseconds
#: Twice within this time at one capture point is a capture of both sides of an interface.
SAME_INSTANT: Final = 20_000
#: How many of the latest sendings of a message are looked at for a copy: bounds hostile floods.
_LOOK_BACK: Final = 16
_RSEQ: Final = re.compile(rb"\nrseq[ \t]*:[ \t]*(\d{1,10})", re.IGNORECASE)
_HEADER_END: Final = re.compile(rb"\r?\n\r?\n")


class Message(NamedTuple):
    """What the marks are read from."""

    ts: int
    leg: int
    src: Endpoint
    dst: Endpoint
    point: tuple[Any, ...]  # capture point: node id, node name, VLAN
    method: str | None
    status: int | None
    branch: str | None
    cseq: str | None
    from_tag: str | None
    to_tag: str | None
    payload: bytes


@dataclass(slots=True)
class Marks:
    """What is said about one message; numbers of messages count from 0."""

    transaction: int
    retransmission: int = 0  # 1 for the first retransmission
    retransmission_of: int | None = None
    copy_of: int | None = None
    forward_of: int | None = None
    in_dialog: bool = False
    dialog: int | None = None  # 1, 2, ...: which branch of a fork answered; None where only one did


@dataclass(slots=True)
class _Sending:
    """One sending of a message, and the capture points that saw it."""

    index: int
    ts: int
    payload: bytes
    points: set[tuple[Any, ...]]


def mark(messages: Sequence[Message]) -> list[Marks]:
    """Return the marks of each message, in order."""
    transactions: dict[tuple[Any, ...], int] = {}
    sendings: dict[tuple[Any, ...], list[_Sending]] = {}
    octets: dict[tuple[int, bytes], int] = {}
    marks = []
    for index, message in enumerate(messages):
        marks_of = Marks(_transaction(message, transactions))
        marks_of.in_dialog = message.status is None and bool(message.to_tag) and message.method != "ACK"
        _find_sending(index, message, sendings, marks_of)
        first = octets.setdefault((message.leg, message.payload), index)
        if first != index and marks_of.copy_of is None and not marks_of.retransmission:
            marks_of.forward_of = first
        marks.append(marks_of)
    _mark_forks(messages, marks)
    return marks


def _transaction(message: Message, known: dict[tuple[Any, ...], int]) -> int:
    """Return the number of the message's transaction."""
    number = (message.cseq or "").split(None, 1)[:1]
    identity = message.branch or (message.from_tag, message.src if message.cseq is None else None)
    method = message.method
    if method == "ACK" and (message.leg, identity, *number, "INVITE") in known:
        method = "INVITE"
    return known.setdefault((message.leg, identity, *number, method), len(known))


def _sending_key(message: Message) -> tuple[Any, ...]:
    """Return what two sendings of one message have in common."""
    key = (message.leg, message.src, message.dst, message.method, message.status, message.cseq)
    if message.cseq is None or message.branch is None:
        return (*key, message.payload)
    if message.status is None:
        return (*key, message.branch)
    if message.status >= 200:
        return (*key, message.branch, message.to_tag)
    end = _HEADER_END.search(message.payload)
    head, body = (
        (message.payload[: end.start()], message.payload[end.end() :]) if end else (message.payload, b"")
    )
    rseq = _RSEQ.search(head)
    return (*key, message.branch, message.to_tag, rseq[1] if rseq else None, body)


def _find_sending(
    index: int, message: Message, known: dict[tuple[Any, ...], list[_Sending]], marks: Marks
) -> None:
    """Say whether the message is new, a copy of a sending, or one more sending of the same message."""
    before = known.setdefault(_sending_key(message), [])
    best: _Sending | None = None
    for sending in reversed(before[-_LOOK_BACK:]):
        age = message.ts - sending.ts
        if age > T1:
            break
        if sending.payload == message.payload and (
            message.point not in sending.points or age <= SAME_INSTANT
        ):
            best = sending
            break
    if best is not None:
        best.points.add(message.point)
        marks.copy_of = best.index
        return
    if before:
        marks.retransmission = len(before)
        marks.retransmission_of = before[0].index
    before.append(_Sending(index, message.ts, message.payload, {message.point}))


def _mark_forks(messages: Sequence[Message], marks: Sequence[Marks]) -> None:
    """Number the early dialogs where one INVITE got responses with several To tags (RFC 3261 12.1)."""
    tags: dict[int, dict[str, int]] = {}
    answers = []
    for message, own in zip(messages, marks, strict=True):
        if message.method == "INVITE" and message.to_tag and 101 <= (message.status or 0) < 300:
            seen = tags.setdefault(own.transaction, {})
            seen.setdefault(message.to_tag, len(seen) + 1)
            answers.append((message, own))
    for message, own in answers:
        if len(tags[own.transaction]) > 1 and message.to_tag:
            own.dialog = tags[own.transaction][message.to_tag]
