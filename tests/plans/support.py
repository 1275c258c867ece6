"""What the tests of capture plans share: messages, a target that remembers, a run of a plan."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hepcat.batch.edit import apply_edits
from hepcat.batch.edits import Edits
from hepcat.batch.layout import Batch
from hepcat.plans.compiler import Plan, compile_plan
from hepcat.plans.plan import Environment, Work
from hepcat.wire.media import MediaTable
from tests.wire.make_batch import Datagram, make_batch

SDP = (
    b"v=0\r\no=alice 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n"
    b"m=audio 4000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
)


def sip(
    method: str = "INVITE",
    status: int = 0,
    call_id: str = "c1@example.com",
    from_user: str = "alice",
    to_user: str = "bob",
    agent: str = "Phone 1.0",
    headers: str = "",
    body: bytes = b"",
    body_type: str = "application/sdp",
) -> bytes:
    """A SIP message; with `status` a response to `method`."""
    start = f"SIP/2.0 {status} Reason" if status else f"{method} sip:{to_user}@example.com SIP/2.0"
    head = (
        f"{start}\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKx\r\n"
        f"From: <sip:{from_user}@example.com>;tag=a\r\nTo: <sip:{to_user}@example.com>\r\n"
        f"Call-ID: {call_id}\r\nCSeq: 1 {method}\r\nUser-Agent: {agent}\r\n{headers}"
    )
    if body:
        head += f"Content-Type: {body_type}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@dataclass
class Target:
    """An outlet that keeps what it was given: batches, rows and edits, and how the records look then."""

    calls: list[tuple[Batch, list[int], Edits | None]] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)

    def send(self, batch: Batch, rows: Any, edits: Edits | None = None) -> None:
        """Take rows."""
        assert rows.dtype == np.int64
        assert list(rows) == sorted(set(rows.tolist()))
        self.calls.append((batch, rows.tolist(), edits))
        seen = apply_edits(batch, rows, edits) if edits is not None else None
        for i, row in enumerate(rows.tolist()):
            if seen is None:
                record = {
                    "payload": batch.text(row, "payload"),
                    "hep_type": int(batch.hep_type[row]),
                    "tags": batch.text(row, "tags"),
                }
                record |= {"correlation_id": batch.text(row, "correlation_id"), "src": batch.address(row)}
            else:
                record = {"payload": seen.text(i, "payload"), "hep_type": int(seen.hep_type[i])}
                record |= {"correlation_id": seen.text(i, "correlation_id"), "src": seen.address(i)}
                record["tags"] = seen.text(i, "tags")
            self.records.append(record | {"row": row})

    @property
    def rows(self) -> list[int]:
        """All rows that were sent, in the order they were."""
        return [row for _, rows, _ in self.calls for row in rows]


class Replier:
    """Remembers what was answered."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, int, str]] = []

    def reply(self, batch: Batch, rows: Any, code: int, text: str) -> int:
        """Answer rows."""
        self.answers += [(int(row), code, text) for row in rows]
        return len(rows)


@dataclass
class Bench:
    """A plan bound to two targets, hepsocket and other."""

    plan: Plan
    targets: dict[str, Target]
    env: Environment
    log: list[tuple[str, str]]

    def run(self, *datagrams: Datagram | bytes | Batch) -> Work:
        """Run the plan on one batch."""
        batch = datagrams[0] if isinstance(datagrams[0], Batch) else make_batch(*datagrams)  # type: ignore[arg-type]
        runner = self.plan.bind(self.env)
        work = runner.run(batch, int(batch.ts[: batch.n].max()) if batch.n else 0)
        both = work.sent & work.dropped
        assert not both.any(), "a row is sent or dropped, never both"
        return work

    @property
    def sent(self) -> list[int]:
        """Rows sent to hepsocket."""
        return self.targets["hepsocket"].rows


def bench(
    text: str,
    regexps: Mapping[str, str] | None = None,
    custom_headers: tuple[str, ...] = (),
    name: str | None = None,
    **env: Any,
) -> Bench:
    """Compile a plan for the targets hepsocket and other."""
    targets = {"hepsocket": Target(), "other": Target()}
    log: list[tuple[str, str]] = []
    plan = compile_plan(text, "test.cfg", list(targets), regexps or {}, custom_headers, name)
    env.setdefault("media", MediaTable())
    env.setdefault("replier", Replier())
    environment = Environment(targets, log=lambda level, line: log.append((level, line)), **env)
    return Bench(plan, targets, environment, log)


def true_for(condition: str, *datagrams: Datagram | bytes | Batch, **options: Any) -> list[bool]:
    """Return for each record whether a condition is true."""
    made = bench(f'capture {{ if ({condition}) send_hep("hepsocket"); }}', **options)
    work = made.run(*datagrams)
    return [row in made.sent for row in range(work.batch.n)]
