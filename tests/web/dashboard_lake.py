"""An hour of a small network, ending now: calls, registrations, a quarter of an hour with trouble."""

import random
import time
from pathlib import Path
from typing import Any

from hepcat.bench.dialogs import BACK, DOWN, MESSAGES, ON, SCENARIOS, UP, Scenario
from hepcat.stores.lake.importer import ImportWriter
from tests.lake.make import Record, build

SECOND = 1_000_000
HOUR = 3600 * SECOND
AGENTS = ("Yealink SIP-T46U 108.86", "Zoiper v2.10", "Cisco-CP8851/14.2", "PolyEdge-350 8.1", "FreePBX-16.0")
PHRASES = {100: "Trying", 180: "Ringing", 183: "Session Progress", 200: "OK", 401: "Unauthorized",
           404: "Not Found", 407: "Proxy Authentication Required", 480: "Temporarily Unavailable",
           486: "Busy Here", 487: "Request Terminated", 503: "Service Unavailable",
           603: "Decline"}  # fmt: skip


def hour_of_calls(
    data: Path, until: int | None = None, dialogs: int = 2500, seed: int = 7
) -> tuple[int, int]:
    """Fill a new lake; return its range in microseconds."""
    end = until or time.time_ns() // 1000 // SECOND * SECOND
    rng = random.Random(seed)
    trouble = end - HOUR // 2
    records: list[Record] = []
    for number in range(dialogs):
        at = end - HOUR + int(HOUR * rng.random() ** 0.9)
        scenario = rng.choices(SCENARIOS, [one.weight for one in SCENARIOS])[0]
        if trouble < at < trouble + HOUR // 6 and scenario.name == "answered" and rng.random() < 0.8:
            scenario = next(one for one in SCENARIOS if one.name == "unavailable")
        records += dialog(
            rng, seed * 1_000_000 + number, scenario, at, slow=trouble < at < trouble + HOUR // 6
        )
    records = sorted((record for record in records if record["ts"] < end), key=lambda record: record["ts"])
    with ImportWriter(data) as writer:
        writer.append(build(records))
        writer.commit()
    return end - HOUR, end


def dialog(rng: random.Random, number: int, scenario: Scenario, at: int, slow: bool) -> list[Record]:
    """Make the messages of one dialog."""
    phone, gateway, proxy = f"10.0.{number % 3}.{number % 40 + 1}", "10.9.0.1", "10.5.0.1"
    ways = {UP: (phone, proxy), DOWN: (proxy, phone), ON: (proxy, gateway), BACK: (gateway, proxy)}
    agent = rng.choices(AGENTS, (8, 5, 3, 2, 1))[0]
    found: list[Record] = []
    for step in scenario.steps:
        message = MESSAGES[step.message]
        at += round(SECOND * step.delay * rng.uniform(0.5, 1.6) * (2.5 if slow else 1))
        found.append(_record(number, message.method, message.status, ways[step.way], at, agent, step.message))
    return found


def _record(
    number: int, method: str, status: int, way: tuple[str, str], at: int, agent: str, name: str
) -> Record:
    cseq = f"{2 if 'auth' in name or method == 'BYE' else 1} {method}"
    first = (
        f"SIP/2.0 {status} {PHRASES.get(status, 'Other')}"
        if status
        else f"{method} sip:b@example.org SIP/2.0"
    )
    lines = [first, f"Call-ID: dialog-{number}", f"CSeq: {cseq}"]
    record: dict[str, Any] = {
        "payload": "\r\n".join([*lines, "", ""]).encode(),
        "ts": at,
        "status": status,
        "flags": 2 if status else 1,
        "src_ip": way[0],
        "dst_ip": way[1],
        "src_port": 5060,
        "dst_port": 5060,
        "method": method.encode(),
        "call_id": f"dialog-{number}".encode(),
        "cseq": cseq.encode(),
        "via_1_branch": f"z9hG4bK{number}-{cseq.replace(' ', '')}".encode(),
        "from_user": b"alice",
        "from_domain": b"example.org",
        "to_user": b"bob",
        "to_domain": b"example.org",
        "user_agent": (agent if not status else "Gateway 3.1").encode(),
    }
    if status:
        record["reason_phrase"] = PHRASES.get(status, "Other").encode()
    if status > 100 or method in ("BYE", "ACK"):
        record["to_tag"] = b"tt"
    return record
