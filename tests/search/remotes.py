"""The same messages in the lake and in databases, and what has to be equal in both."""

import contextlib
import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from hepcat.batch.layout import Batch
from hepcat.batch.schema import FIELD_INDEX, HEP_SIP
from hepcat.config.databases import DatabaseSettings
from hepcat.search.memory import Local, Memory
from hepcat.search.remote_searcher import RemoteSearcher
from hepcat.search.searcher import Searcher
from hepcat.search.sql_remote import SqlRemote
from hepcat.stores.lake.arrow import to_arrow
from hepcat.stores.sql.ddl import ensure_table
from hepcat.wire.sip import index_sip
from tests.search.support import NOON
from tests.servers import Servers
from tests.stores.sql_support import Database, file_database, fresh

SECOND = 1_000_000
#: What stands where a CSeq should: numbers and methods that are none, or written in another way.
_CSEQS = (
    b"CSeq: x INVITE", b"CSeq: 1  INVITE", b"CSeq: 1\tINVITE", b"CSeq: 99999999999 INVITE", b"",
    b"CSeq: 1 A B", b"CSeq: 007 invite", b"CSeq: 1 FOO.BAR-1", b"CSeq: 12345678 ABCDEFGHIJKLMNOPQRSTUVWXYZ",
)  # fmt: skip
KINDS: tuple[str, ...] = ("mariadb", "mariadb-original", "postgres", "postgres-original", "sqlite", "odbc")


@dataclass(frozen=True)
class Message:
    """One captured message."""

    payload: bytes
    ts: int = NOON
    src: tuple[str, int] = ("10.1.2.3", 5060)
    dst: tuple[str, int] = ("192.168.0.9", 5070)
    ip_proto: int = 17
    node_id: int = 2001
    correlation_id: bytes = b""
    hep_type: int = HEP_SIP


@dataclass
class Call:
    """Makes the messages of a call."""

    call_id: str
    at: int
    caller: str = "alice"
    callee: str = "bob"
    domain: str = "example.org"
    ua: str = "Test UA 1.0"
    more: str = ""
    src: tuple[str, int] = ("10.1.2.3", 5060)
    dst: tuple[str, int] = ("192.168.0.9", 5070)
    messages: list[Message] = field(default_factory=list)

    def _add(self, start: str, method: str, number: int, back: bool, more: str = "", **options: Any) -> None:
        lines = [
            start,
            f"Via: SIP/2.0/UDP {self.src[0]}:5060;branch=z9hG4bK{self.call_id[:8]}{number}",
            f'From: "A" <sip:{self.caller}@{self.domain}>;tag=f{self.at % 997}',
            f"To: <sip:{self.callee}@{self.domain}>{';tag=t1' if back else ''}",
            f"Call-ID: {self.call_id}",
            f"CSeq: {number} {method}",
            *(
                [f"Contact: <sip:{self.caller}@{self.src[0]}:5062>"]
                if method == "INVITE" and not back
                else []
            ),
            *([f"{'Server' if back else 'User-Agent'}: {self.ua}"] if self.ua else []),
            *([more] if more else []),
            *([self.more] if self.more else []),
            "Content-Length: 0",
            "",
            "",
        ]
        octets = "\r\n".join(lines).encode("utf-8", "surrogateescape")
        self.at += 37_013
        ends = (self.dst, self.src) if back else (self.src, self.dst)
        self.messages.append(Message(octets, self.at, *ends, **options))

    def ask(self, method: str, number: int = 1, more: str = "", **options: Any) -> "Call":
        self._add(f"{method} sip:{self.callee}@{self.domain} SIP/2.0", method, number, False, more, **options)
        return self

    def say(
        self, status: int, phrase: str, method: str = "INVITE", number: int = 1, more: str = ""
    ) -> "Call":
        self._add(f"SIP/2.0 {status} {phrase}", method, number, True, more)
        return self

    def wait(self, us: int) -> "Call":
        self.at += us
        return self


def usual() -> list[Message]:
    """Calls of every usual kind, over two days."""
    found: list[Message] = []
    for i in range(24):
        at = NOON + i * 7_200 * SECOND // 2 + i * 1_000_003
        caller, callee = f"+49891{i:03d}", ("bob", "Bob", "carol", "+4930999")[i % 4]
        call = Call(f"c{i}-{i * 7919}@10.1.2.{i}", at, caller, callee, ("example.org", "Example.COM")[i % 2])
        call.src = (f"10.1.{i % 3}.{i}", 5060 + i % 2)
        if i % 5 == 1:
            call.src, call.dst = ("2001:db8::1", 5060), (f"2001:db8:0:{i}::2", 5061)
        call.ua = ("Test UA 1.0", "sipp", "", "O'Reilly 100%_x\\")[i % 4]
        kind = i % 6
        if kind in (0, 1):
            call.ask("INVITE", more="P-Asserted-Identity: <sip:+4930111@x.de>").say(100, "Trying").say(
                180, "Ringing"
            )
            call.wait(2 * SECOND).say(200, "OK").ask("ACK").wait(30 * SECOND).ask("BYE", 2).say(
                200, "OK", "BYE", 2
            )
        elif kind == 2:
            call.ask("INVITE").say(100, "Trying").say(486, "Busy Here").ask("ACK")
        elif kind == 3:
            call.ask("REGISTER", more="Expires: 3600").say(401, "Unauthorized", "REGISTER")
            call.ask(
                "REGISTER", 2, more='Authorization: Digest username="alice@x", realm="x"\r\nExpires: 3600'
            )
            call.say(200, "OK", "REGISTER", 2, more="Expires: 3600")
        elif kind == 4:
            call.ask("OPTIONS", 4_100_000_000).say(200, "OK", "OPTIONS", 4_100_000_000)
        else:
            call.ask("INVITE", correlation_id=b"leg-7", node_id=7, ip_proto=6)
            call.more = "X-CID: c0-0@10.1.2.0\r\nSession-ID: ab12cd"
            call.say(503, "Service Unavailable", more="Reason: Q.850;cause=34").ask("ACK")
        found += call.messages
    return found


def hostile() -> list[Message]:
    """What is meant to go wrong."""
    at = NOON + 100 * 3600 * SECOND
    calls = [
        Call("quote'\"`;--@x", at, "o'brien", "100%_\\x"),
        Call("Quote'\"`;--@x", at + SECOND, "O'Brien", "100x__x"),
        Call("%_!@x", at + 2 * SECOND, "al_ce", "al%ce"),
        Call("back\\slash\\'@x", at + 3 * SECOND, "a\\b", "a\\\\b"),
        Call("umlaut-ä@x", at + 4 * SECOND, "jürgen", "JÜRGEN", ua="Größe ÄÖÜ ß"),
        Call("smile-😀@x", at + 5 * SECOND, "😀", "x", ua="😀 phone"),
        Call("bad-\udcff\udcfe@x", at + 6 * SECOND, "b\udcffd", "x\udc80"),
        Call("nul-\0@x", at + 7 * SECOND, "n\0l", "\0", ua="be\0fore"),
        Call("L" * 119, at + 8 * SECOND, "l" * 99, "m" * 100),
        Call("L" * 120, at + 9 * SECOND, "l" * 100, "m" * 101),
        Call("L" * 121, at + 10 * SECOND, "l" * 101, "M" * 101),
        Call("L" * 120 + "z", at + 11 * SECOND, "l" * 300, "x"),
        Call("?*[a-z]@x", at + 12 * SECOND, "*", "?", ua="[a] *"),
        Call("a?c@x", at + 13 * SECOND, "bob", "B?b"),
        Call("trail@x", at + 14 * SECOND, "bob", "bobby", more="Subject: two\r\n words\r\nX-Foo: Bar\tBaz"),
        Call("tab\t@x", at + 15 * SECOND, "bob", "bo", ua="semi;colon:x"),
        Call("long-ua@x", at + 16 * SECOND, ua="u" * 300 + "END"),
        Call("big@x", at + 17 * SECOND, more="X-Big: " + "y" * 1300 + "needle"),
    ]  # fmt: skip
    found: list[Message] = []
    for call in calls:
        found += call.ask("INVITE").say(200, "OK").messages
    odd = Call("odd@x", at + 20 * SECOND)
    odd.ask("INVITE").ask("invite").ask("FOO.BAR-1").say(200, "OK", "INVITE")
    found += odd.messages
    for cseq in _CSEQS:
        base = odd.messages[-1]
        payload = base.payload.replace(b"CSeq: 1 INVITE", cseq)
        found.append(replace(base, payload=payload, ts=base.ts + 1 + len(found)))
    same = Call("same@x", at + 30 * SECOND).ask("INVITE").say(100, "Trying").say(180, "Ringing").messages
    found += [replace(message, ts=at + 31 * SECOND) for message in same for _ in range(3)]
    found.append(Message(b"OPTIONS sip:x SIP/2.0\r\nCSeq: 1 OPTIONS\r\n\r\n", at + 40 * SECOND))  # no Call-ID
    found.append(replace(found[0], src=("::1", 0), dst=("::ffff:1.2.3.4", 65535), ts=at + 41 * SECOND))
    found.append(replace(found[0], ip_proto=132, ts=at + 42 * SECOND, node_id=4294967294))
    return found


def fitting(messages: Sequence[Message], kind: str) -> list[Message]:
    """Return the messages that a kind of store keeps octet by octet: the original's text has not all."""
    if not kind.endswith("-original"):
        return list(messages)
    return [m for m in messages if len(m.payload) <= 1500 and not set(m.payload) & {0, 0x80, 0xF0, 0xFF}]


def batch_of(messages: Sequence[Message], lake: bool, nul: bytes = b"\0") -> Batch:
    """Make a batch. lake: as the lake would have it from a node of that name, ids filled as the table has.

    nul: what a NUL in a text column becomes.
    """
    node = b"homer01" if lake else b""
    payloads = [message.payload for message in messages]
    corr = [message.correlation_id for message in messages]
    if lake:
        first = batch_of(messages, False)
        corr = [c or first.text(i, "call_id") or b"" for i, c in enumerate(corr)]
        corr = [c.replace(b"\0", nul) for c in corr]
    records = [p + c + node for p, c in zip(payloads, corr, strict=True)]
    octets = b"".join(records)
    batch = Batch.empty(len(messages), len(octets))
    batch.buffer[:] = np.frombuffer(octets, np.uint8)
    batch.start[1:] = np.cumsum([len(record) for record in records])
    batch.n = len(messages)
    for i, message in enumerate(messages):
        size, more = len(payloads[i]), len(corr[i])
        batch.fields[i, FIELD_INDEX["payload"]] = (0, size)
        batch.fields[i, FIELD_INDEX["correlation_id"]] = (size, more) if more else (0, 0)
        batch.fields[i, FIELD_INDEX["node_name"]] = (size + more, len(node)) if node else (0, 0)
        src, dst = (ipaddress.ip_address(a) for a, _ in (message.src, message.dst))
        batch.family[i] = 2 if src.version == 4 else 10
        for column, address in ((batch.src_ip, src), (batch.dst_ip, dst)):
            packed = address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed
            column[i] = np.frombuffer(packed, np.uint8)
        batch.ts[i], batch.ip_proto[i], batch.node_id[i] = message.ts, message.ip_proto, message.node_id
        batch.src_port[i], batch.dst_port[i], batch.hep_type[i] = (
            message.src[1],
            message.dst[1],
            message.hep_type,
        )
    index_sip(batch)
    return batch


def lake_of(messages: Sequence[Message], kind: str) -> Searcher:
    """Return a searcher of these messages as the lake has them; where a kind of store cannot, as that has."""
    nul = b"?" if kind.startswith(("postgres", "odbc")) else b"\0"
    batch = batch_of(fitting(messages, kind), True, nul)
    tables = {t: pa.Table.from_batches([to_arrow(batch, t)]) for t in ("sip", "rtcp", "log", "other")}
    return Searcher(Memory(tables), Local())


def fill(database: Database, messages: Sequence[Message], original: bool = False) -> DatabaseSettings:
    """Make the tables and write the messages as a server would."""
    database.clear() if database.server else None
    settings = database.settings(capture_node="homer01")
    if original:
        database.make_original()
    else:
        for name in ("sip_capture", "logs_capture", "rtcp_capture", "report_capture"):
            ensure_table(database.engine, name, settings)
    writer = database.writer(capture_node="homer01")
    writer.open("00000000-0000-0000-0000-000000000000")
    written = writer.write(batch_of(messages, False), 1, 1)
    writer.close()
    assert not written.drops
    return settings


@contextlib.contextmanager
def opened(
    kind: str,
    messages: Sequence[Message],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    servers: Servers,
) -> Iterator[RemoteSearcher]:
    """Give a searcher of a database of that kind with these messages."""
    name, _, original = kind.partition("-")
    with contextlib.ExitStack() as stack:
        if name in ("sqlite", "odbc"):
            database = file_database(name, folder, monkeypatch)
        else:
            database = fresh(servers, name)
        settings = fill(database, fitting(messages, kind), bool(original))
        remote = SqlRemote(settings)
        stack.callback(remote.close)
        yield RemoteSearcher(remote)
