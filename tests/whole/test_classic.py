"""In the place of Kamailio's sipcapture: its table, its configuration, its kamctl, and what it fails at."""

import os
import struct
import subprocess
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hepcat.bench.databases import MariaDb
from tests.control.test_rpc_fifo import kamctl
from tests.stores.db import original
from tests.stores.db.test_db_kamailio import recorded_rows
from tests.support import HEPCAT, SHARED, free_port, hepcat, need, wait_for
from tests.whole.backends import ServerBackend, Servers
from tests.whole.sender import INVITE, hep3
from tests.whole.serving import Whole, config_text, send
from tests.wire.test_hep_recorded import NAMES, read, version_of

KEY = b"the key"


@pytest.fixture
def backend(servers: Servers) -> ServerBackend:
    """The original's tables in a MariaDB that is as strict as it comes."""
    made = ServerBackend(servers.mariadb())
    assert "STRICT_TRANS_TABLES" in made.run("SELECT @@global.sql_mode")[0][0]
    made.run(original.original())
    return made


def chunks(*changed: tuple[int, bytes | None], payload: bytes, more: bytes = b"") -> bytes:
    """Return a HEP3 datagram whose chunks are replaced, added, or left out (None)."""
    now = time.time()
    found: dict[int, bytes | None] = {
        1: b"\x02", 2: b"\x11", 3: b"\xc0\x00\x02\x01", 4: b"\xc0\x00\x02\x02",
        7: struct.pack("!H", 5060), 8: struct.pack("!H", 5062), 9: struct.pack("!I", int(now)),
        10: struct.pack("!I", int(now % 1 * 1e6)), 11: b"\x01", 12: struct.pack("!I", 7), 15: payload,
    }  # fmt: skip
    found |= dict(changed)
    body = b"".join(struct.pack("!HHH", 0, k, len(v) + 6) + v for k, v in found.items() if v is not None)
    return b"HEP3" + struct.pack("!H", len(body) + len(more) + 6) + body + more


def invite(call_id: str, header: bytes = b"") -> bytes:
    """Return an INVITE of this Call-ID, with further headers."""
    return INVITE.format(call_id).encode().replace(b"Max-Forwards", header + b"Max-Forwards")


#: What the original dies of, loses, or never looks at -> what becomes of it here: the row's Call-ID, or the
#: reason under which it is counted.
DEFECTS: dict[str, tuple[bytes, str]] = {
    "without chunk 2": (chunks((2, None), payload=invite("no-2")), "no-2"),
    "without chunk 11": (chunks((11, None), payload=invite("no-11")), "no_table"),
    "without chunk 12": (chunks((12, None), payload=invite("no-12")), "no-12"),
    "without payload": (chunks((15, None), payload=b""), "hep_payload"),
    "chunk past the end": (
        chunks(payload=invite("past"), more=struct.pack("!HHH", 0, 17, 500) + b"abc"), "hep_chunk",
    ),
    "total past the end": (hep3(invite("long"))[:4] + b"\xff\xff" + hep3(invite("long"))[6:], "hep_length"),
    "compressed": (chunks((15, None), (16, zlib.compress(invite("zip"))), payload=b""), "zip"),
    "no real compression": (chunks((15, None), (16, b"not zlib"), payload=b""), "hep_inflate"),
    "short version 2": (b"\x02\x1c\x02\x11\x13\xc4\x13\xc4" + bytes(8), "hep_short"),
    "short version 1": (b"\x01\x10\x02\x11\x13\xc4", "hep_short"),
    "neither": (b"hello", "hep_magic"),
    "over 1500": (hep3(invite("big", b"X-Long: " + b"l" * 3000 + b"\r\n")), "big"),
    "Call-ID over 120": (hep3(invite("i" * 200)), "i" * 120),
    "no UTF-8": (hep3(invite("latin", b"User-Agent: caf\xe9 \xff\xfe\r\n")), "latin"),
    "four octets": (hep3(invite("emoji", "User-Agent: \U0001f600\r\n".encode())), "emoji"),
    "zero octets": (hep3(invite("zero", b"User-Agent: a\0b\r\n")), "zero"),
}  # fmt: skip


def test_what_the_original_fails_at(backend: ServerBackend, tmp_path: Path) -> None:
    """In the original's table, in strict mode: stored, or counted; nothing of the others is lost."""
    whole = Whole(tmp_path, {"db": backend}, ["db"])
    with whole.start():
        for octets, _ in DEFECTS.values():
            send(whole.port, hep3(invite("fine")), octets)
        expected = Counter(outcome for _, outcome in DEFECTS.values())
        reasons = {o: n for o, n in expected.items() if o.startswith("hep_")}
        without_table = expected.pop("no_table")  # nobody says that it is SIP: the lake has it in `other`
        rows = {o: n for o, n in expected.items() if o not in reasons} | {"fine": len(DEFECTS)}
        wait_for(lambda: whole.stats()["total"]["received"] == 2 * len(DEFECTS))
        whole.drained("db")
        stats = whole.stats()
        assert stats["total"]["dropped"] == reasons
        assert Counter(backend.call_ids()) == rows
        own = stats["stores"]["db"]["database"]
        assert own["dropped"] == {"no_table": without_table}
        assert own["cut"] >= 2, "msg and Call-ID"
        assert own["replaced"] >= 2, "what is no UTF-8, in user_agent and msg"
        by_id = {
            row[0]: row[1:] for row in backend.run("SELECT callid, LENGTH(msg), user_agent FROM sip_capture")
        }
        assert by_id["big"][0] == "1500"
        assert by_id["latin"][1] == "caf? ??"
        assert by_id["emoji"][1].strip("?") == ""
        assert whole.stop() == 0
    assert "Traceback" not in whole.log.read_text()


def test_keys_and_other_types(backend: ServerBackend, tmp_path: Path) -> None:
    """A wrong key is refused and counted; what is no SIP goes into the tables that there are, else counts."""
    logs = original.original().replace("CREATE TABLE sip_capture", "CREATE TABLE logs_capture")
    backend.run(logs)
    whole = Whole(tmp_path, {"db": backend}, ["lake", "db"])
    key = f'[[hep.keys]]\nname = "proxy"\nkey_file = "{tmp_path / "key"}"\n'
    (tmp_path / "key").write_bytes(KEY)
    whole.config.write_text(config_text({"db": backend}, ["lake", "db"]) + key)
    types = {5: 3, 32: 1, 99: 1, 100: 4, 53: 2, 200: 1}
    with whole.start():
        send(
            whole.port,
            hep3(invite("right"), key=KEY),
            hep3(invite("wrong"), key=b"wrong"),
            hep3(invite("none")),
        )
        for kind, count in types.items():
            send(whole.port, *[hep3(b"payload", kind=kind, key=KEY)] * count)
        wait_for(lambda: whole.stats()["total"]["received"] == 3 + sum(types.values()))
        whole.drained("db")
        stats = whole.stats()
        assert stats["total"]["dropped"] == {"auth": 2}
        assert stats["stores"]["lake"]["stored"] == 1 + sum(types.values())
        own = stats["stores"]["db"]["database"]
        assert own["written"] == 1 + types[100]
        assert own["dropped"] == {"no_table": sum(types.values()) - types[100]}
        assert backend.call_ids() == ["right"]
        assert backend.run("SELECT COUNT(*) FROM logs_capture") == [["4"]]
        assert whole.stop() == 0


KAMAILIO_CFG = """#!KAMAILIO
# A capture server of the usual kind.
#!define DBURL "{url}"
debug=2
log_stderror=yes
children=4
listen=udp:127.0.0.1:{port}
mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules/"
loadmodule "pv.so"
loadmodule "db_mysql.so"
loadmodule "jsonrpcs.so"
loadmodule "sipcapture.so"
modparam("jsonrpcs", "fifo_name", "{folder}/rpc.fifo")
modparam("jsonrpcs", "fifo_reply_dir", "{folder}/tmp")
modparam("sipcapture", "db_url", DBURL)
modparam("sipcapture", "capture_on", 1)
modparam("sipcapture", "hep_capture_on", 1)
modparam("sipcapture", "table_name", "sip_capture")
modparam("sipcapture", "insert_retries", 5)
request_route {{ sip_capture(); drop; }}
onreply_route {{ sip_capture(); drop; }}
"""


class Classic(Whole):
    """`hepcat serve --kamailio-cfg`, with nothing else but where the lake is."""

    def start(self, wait: bool = True) -> "Classic":
        command = [*HEPCAT, "serve", "--data", str(self.data), f"--http=127.0.0.1:{self.http}"]
        command += ["--kamailio-cfg", str(self.config)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment, "TZ": "UTC"},
            )
        self._wait()
        return self


@pytest.fixture
def classic(backend: ServerBackend, tmp_path: Path) -> Iterator[Classic]:
    """A server on a kamailio.cfg."""
    backend.run(original.original().replace("CREATE TABLE sip_capture", "CREATE TABLE logs_capture"))
    server = Classic(tmp_path, {"sipcapture": backend}, ["sipcapture"])
    (tmp_path / "tmp").mkdir()
    server.port = free_port()
    server.config = tmp_path / "kamailio.cfg"
    server.config.write_text(KAMAILIO_CFG.format(url=backend.url, port=server.port, folder=tmp_path))
    with server.start():
        yield server
        assert server.stop() == 0
    assert "Traceback" not in server.log.read_text()
    assert "secret" not in server.log.read_text()


def plain(rows: list[dict[str, bytes]], without: tuple[str, ...]) -> Counter[tuple[tuple[str, bytes], ...]]:
    """Return rows that can be compared."""
    return Counter(tuple(sorted((k, v) for k, v in row.items() if k not in ("id", *without))) for row in rows)


def print_rows(backend: ServerBackend, sql: str) -> bytes:
    """Let the server's own client print, as it did when the rows of the original were recorded."""
    assert isinstance(backend.server, MariaDb)
    command = ["mariadb", "--no-defaults", f"--socket={backend.server.socket}", "-uroot", "-B", "-e", sql]
    return subprocess.run([*command, backend.name], capture_output=True, check=True).stdout


def test_a_kamailio_cfg_fed_with_recorded_traffic(
    classic: Classic, backend: ServerBackend, tmp_path: Path
) -> None:
    """Every column as the original's module stored it for the same datagrams."""
    vectors = SHARED / "vectors"
    if not vectors.is_dir():
        pytest.skip("no recorded vectors here")
    for name in NAMES:
        backend.run("TRUNCATE sip_capture")
        datagrams = read(vectors / f"{name}.bin")
        already = classic.database("sipcapture")["written"]
        for at in range(0, len(datagrams), 100):
            send(classic.port, *datagrams[at : at + 100])
            time.sleep(0.02)
        classic.has_written("sipcapture", already + len(datagrams))
        recorded = recorded_rows(vectors / f"{name}.rows.tsv")
        printed = tmp_path / "rows.tsv"
        columns = ", ".join(recorded[0])
        printed.write_bytes(
            print_rows(backend, f"SET time_zone = '+00:00'; SELECT {columns} FROM sip_capture")
        )
        without = ("date", "micro_ts") if version_of(name) == 1 else ()
        assert plain(recorded_rows(printed), without) == plain(recorded, without), name
    assert backend.run("SELECT COUNT(*) FROM logs_capture") == [["200"]]
    assert classic.database("sipcapture")["cut"] == classic.database("sipcapture")["replaced"] == 0


def test_the_real_kamctl_switches_it(classic: Classic, backend: ServerBackend, tmp_path: Path) -> None:
    need("kamctl")
    (tmp_path / "tmp").mkdir(exist_ok=True)

    def ask(mode: str) -> Any:
        return kamctl(tmp_path, "sipcapture.status", mode)["result"]

    def tell(*call_ids: str) -> None:
        before = classic.stats()["total"]["received"]
        send(classic.port, *(hep3(invite(call_id)) for call_id in call_ids))
        wait_for(lambda: classic.stats()["total"]["received"] == before + len(call_ids))

    assert ask("check") == "Enabled"
    tell("on-1", "on-2")
    assert ask("off") == "Disabled"
    tell("off-1", "off-2", "off-3")
    assert "off" in hepcat("ctl", "capture", "status", "--data", str(classic.data)).stdout
    assert ask("on") == "Enabled"
    tell("on-3")
    classic.drained("sipcapture")
    assert backend.call_ids() == ["on-1", "on-2", "on-3"]
    assert classic.stats()["total"]["dropped"] == {"capture_off": 3}
