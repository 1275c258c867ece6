"""The other sinks: JSON lines over UDP, TCP and HTTP, capture files, the lake."""

import gzip
import http.server
import json
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hepcat.batch.edits import Edits, Patch
from hepcat.batch.schema import HEP_SIP
from hepcat.config.agent import TargetSettings
from hepcat.errors import HepcatError
from hepcat.sinks.make import make_sink
from hepcat.wire.sip import index_sip
from tests.lake.make import NOON, build
from tests.serve.peers import invite
from tests.sinks.peers import AGENT, Load, Stream, Udp, balanced, numbered, rows, sink
from tests.support import free_port, wait_for


def calls(first: int, n: int, **more: Any) -> Any:
    batch = build([{"payload": invite(i), "ts": NOON + i} | more for i in range(first, first + n)])
    index_sip(batch)
    return batch


# ---- JSON


def test_the_fields_of_json():
    peer = Udp()
    out = sink(peer.url, kind="json", key="geheim")
    out.start()
    batch = calls(
        1, 2, src_ip="192.0.2.1", src_port=5060, dst_ip="192.0.2.2", dst_port=5062, tags=b"a=b", vlan=3
    )
    batch.hep_type[1] = 5
    out.open_outlet().send(batch, rows(batch))
    first, second = (json.loads(line) for line in peer.take(2))
    assert first == {
        "ip_family": 2, "ip_proto": 17, "src_ip4": "192.0.2.1", "dst_ip4": "192.0.2.2", "src_port": 5060,
        "dst_port": 5062, "tss": (NOON + 1) // 10**6, "tsu": (NOON + 1) % 10**6, "proto_type": 1,
        "capt_id": 2001, "node_name": "edge", "tags": "a=b", "vlan": 3, "sip_callid": "1",
        "sip_method": "INVITE", "sip_cseq": "INVITE", "sip_from_uri": "sip:alice@example.com",
        "sip_to_uri": "sip:bob@example.com", "sip_request_uri": "sip:bob@example.com", "password": "geheim",
        "payload": invite(1).decode(),
    }  # fmt: skip
    assert second["proto_type"] == 5
    assert not any(name.startswith("sip_") for name in second)
    out.stop(1)
    peer.close()


def test_json_of_ipv6_bad_octets_and_responses():
    peer = Udp()
    out = sink(peer.url, kind="json")
    out.start()
    answer = b"SIP/2.0 486 Busy\r\nCall-ID: \xff\r\nCSeq: 1 INVITE\r\nContent-Type: application/sdp\r\n\r\n"
    batch = build([{"payload": answer, "src_ip": "2001:db8::1", "dst_ip": "2001:db8::2"}])
    index_sip(batch)
    out.open_outlet().send(batch, rows(batch))
    found = json.loads(peer.take(1)[0])
    assert (found["src_ip6"], found["dst_ip6"]) == ("2001:db8::1", "2001:db8::2")
    assert (found["sip_response"], found["sip_cseq"], found["sip_sdp"]) == (486, "INVITE", 1)
    assert found["sip_callid"] == "\ufffd"
    assert "sip_method" not in found
    out.stop(1)
    peer.close()


def test_json_without_payload_and_of_a_replaced_one():
    peer = Udp()
    out = sink(peer.url, kind="json", payload=False)
    out.start()
    batch = calls(1, 3)
    out.open_outlet().send(batch, rows(batch), Edits(payload=Patch.of(3, {1: invite("other")})))
    found = [json.loads(line) for line in peer.take(3)]
    assert [one["sip_callid"] for one in found] == ["1", "other", "3"]
    assert "payload" not in found[0]
    out.stop(1)
    peer.close()


def test_json_lines_over_a_collector_that_goes_and_comes():
    peer = Stream().open()
    out = sink(peer.url, kind="json")
    out.start()
    load = Load(out, 10**6)
    load.start()
    wait_for(lambda: peer.streams and peer.streams[0], 60, "it receives")
    peer.close()
    peer.open()
    wait_for(lambda: len(peer.streams) > 1 and peer.streams[1], 60, "it receives again")
    load.enough.set()
    load.join()
    out.stop(60)
    peer.close()
    lines = [line for stream in peer.streams for line in bytes(stream).split(b"\n") if line.endswith(b"}")]
    assert [int(json.loads(line)["payload"][:9]) for line in lines] == list(range(load.sent))


class Web:
    """An HTTP server that keeps what is posted and answers what it is told."""

    def __init__(self, port: int = 0) -> None:
        self.bodies: list[bytes] = []
        self.paths: list[str] = []
        self.answers: list[int] = []
        self.connections: set[Any] = set()
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                web.connections.add(self.client_address)
                status = web.answers.pop(0) if web.answers else 204
                if status < 300:
                    web.bodies.append(body)
                    web.paths.append(self.path)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def numbers(self) -> list[int]:
        return [int(json.loads(line)["payload"][:9]) for body in self.bodies for line in body.splitlines()]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def test_http_keeps_its_connection_and_tries_again():
    web = Web()
    web.answers = [204, 503, 429, 204, 500]
    out = sink(f"http://127.0.0.1:{web.port}/in?x=1", kind="json")
    out.start()
    Load(out, 1000).run()
    wait_for(lambda: balanced(out)["waiting"] == 0, 60, "all delivered")
    out.stop(2)
    web.close()
    assert web.numbers == list(range(1000))
    assert set(web.paths) == {"/in?x=1"}
    assert len(web.connections) == 1


def test_http_that_is_away_at_first_and_refuses_some(tmp_path):
    port = free_port()
    out = sink(f"http://127.0.0.1:{port}", kind="json", memory=2**17, spool=tmp_path)
    out.start()
    Load(out, 1000, pause=0.004).run()
    assert balanced(out)["spooled"] > 0
    web = Web(port)
    web.answers = [400]
    wait_for(lambda: balanced(out)["waiting"] == 0, 60, "all delivered")
    out.stop(2)
    web.close()
    lost = balanced(out)["SINK_FAILED"]
    assert lost > 0
    assert web.numbers == list(range(lost, 1000))


def test_http_is_not_for_hep():
    with pytest.raises(ValueError, match="not http"):
        sink("http://127.0.0.1:1")


# ---- capture files


def packets(path: Path) -> list[bytes]:
    octets = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    found, at = [], 24
    while at < len(octets):
        (size,) = struct.unpack_from("<I", octets, at + 8)
        found.append(octets[at + 16 : at + 16 + size])
        at += 16 + size
    return found


def target(**options: Any) -> Any:
    return make_sink(TargetSettings(name="t", **options), AGENT)


@pytest.mark.parametrize("compress", [False, True])
def test_capture_files_rotate_by_size(tmp_path, compress):
    out = target(kind="pcap", path=tmp_path / "%Y" / "sip-%H.pcap", rotate_octets=20_000, gzip=compress)
    out.start()
    outlet = out.open_outlet()
    for i in range(10):
        outlet.send(numbered(20 * i, 20), rows(numbered(0, 20)))
    out.stop(60)
    assert balanced(out)["sent"] == 200
    files = sorted(
        tmp_path.rglob("*.pcap*"),
        key=lambda path: int(path.name.split(".")[0].partition("-")[2].partition("-")[2] or 0),
    )
    assert 3 < len(files) < 7
    assert all((path.suffix == ".gz") == compress and "%" not in str(path) for path in files)
    found = [int(packet[42:51]) for path in files for packet in packets(path)]
    assert found == list(range(200))


def test_capture_files_rotate_by_time(tmp_path):
    out = target(kind="pcap", path=tmp_path / "a.pcap", rotate_seconds=0.2)
    out.start()
    outlet = out.open_outlet()
    outlet.send(numbered(0, 5), np.arange(5))
    wait_for(lambda: balanced(out)["sent"] == 5, what="the first are written")
    time.sleep(0.8)
    outlet.send(numbered(5, 5), np.arange(5))
    out.stop(60)
    assert [len(packets(path)) for path in (tmp_path / "a.pcap", tmp_path / "a-1.pcap")] == [5, 5]


def test_a_capture_file_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HepcatError, match="cannot write"):
        target(kind="pcap", path=tmp_path / "file" / "a.pcap").start()


def test_a_disk_that_fills_and_is_emptied(tmp_path, monkeypatch):
    out = target(kind="pcap", path=tmp_path / "a.pcap")
    out.start()
    keeper = out._keeper
    real, fails = keeper.keep, [3]

    def keep(batch: Any) -> None:
        if fails[0]:
            fails[0] -= 1
            raise OSError(28, "No space left on device")
        real(batch)

    monkeypatch.setattr(keeper, "keep", keep)
    out.open_outlet().send(numbered(0, 5), np.arange(5))
    wait_for(lambda: balanced(out)["sent"] == 5, 60, "written")
    out.stop(1)
    assert len(packets(tmp_path / "a.pcap")) == 5


# ---- the lake


def test_the_lake_holds_what_the_plan_made_of_it(tmp_path):
    out = target(kind="lake", path=tmp_path / "lake")
    out.start()
    batch = calls(0, 50)
    edits = Edits(payload=Patch.of(50, {7: invite("changed")}), tags=Patch.of(50, {8: b"t=1"}))
    out.open_outlet().send(batch, np.arange(0, 40), edits)
    out.stop(60)
    assert balanced(out)["sent"] == 40
    from hepcat.stores.lake import Lake

    with Lake(tmp_path / "lake") as lake, lake.snapshot() as snapshot:
        found = snapshot.connection.execute("SELECT call_id, tags, node_id FROM sip ORDER BY ts").fetchall()
    assert [row[0] for row in found] == [str(i) if i != 7 else "changed" for i in range(40)]
    assert [row[1] for row in found if row[1]] == ["t=1"]
    assert {row[2] for row in found} == {2001}
    assert (batch.hep_type == HEP_SIP).all()


def test_a_lake_that_another_process_has(tmp_path):
    first = target(kind="lake", path=tmp_path)
    first.start()
    with pytest.raises(HepcatError):
        target(kind="lake", path=tmp_path).start()
    first.stop(1)


def test_an_agent_without_a_lake_does_not_load_pyarrow():
    code = (
        "import sys, hepcat.sinks.make; print([m for m in ('pyarrow', 'duckdb', 'lark') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
