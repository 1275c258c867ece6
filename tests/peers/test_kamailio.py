"""Real peer: kamailio with siptrace sends HEP 1, 2 and 3 while sipp places calls through it."""

import subprocess
import time
from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest

from tests.peers.proxy import Proxy
from tests.support import Server, need, program, wait_for

pytestmark = pytest.mark.peer
CALLS = 50
FIELDS = (
    "frame.time_epoch",
    "ip.src",
    "udp.srcport",
    "ip.dst",
    "udp.dstport",
    "sip.Call-ID",
    "sip.CSeq.method",
    "sip.Status-Code",
)


def on_the_wire(capture: Path, proxy: Proxy) -> list[tuple[float, tuple[str, ...]]]:
    """Let tshark read what went over loopback: (time, source, ports, Call-ID, method, status)."""
    fields = [argument for name in FIELDS for argument in ("-e", name)]
    ports = (proxy.port, proxy.caller, proxy.callee)
    decode = [argument for port in ports for argument in ("-d", f"udp.port=={port},sip")]
    done = subprocess.run(
        ["tshark", "-r", str(capture), "-Y", "sip", "-T", "fields", *fields, *decode],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = (line.split("\t") for line in done.stdout.splitlines())
    return [(float(row[0]), tuple(row[1:])) for row in rows]


@pytest.mark.parametrize("version", [1, 2, 3])
def test_every_message_of_a_proxy_is_found(tmp_path: Path, version: int) -> None:
    need("kamailio", "kamcmd", "sipp", "tshark")
    capture = tmp_path / "wire.pcapng"
    with Server(tmp_path) as server, Proxy(tmp_path, server.port, version).running() as proxy:
        listen = ["tshark", "-q", "-i", "lo", "-f", f"udp port {proxy.port}", "-w", str(capture)]
        with program(listen, tmp_path / "tshark.log"):
            wait_for(lambda: "Capturing on" in (tmp_path / "tshark.log").read_text(), 60, "tshark")
            time.sleep(0.5)
            proxy.place_calls(CALLS)
            statistics = proxy.statistics()
            size = -1
            while size != (size := capture.stat().st_size):  # tshark writes what it has seen
                time.sleep(1)
        wire = on_the_wire(capture, proxy)
        wait_for(lambda: server.count() >= len(wire), 60, f"{len(wire)} messages found")
        rows = server.rows()
        assert server.stop() == 0

    # The proxy's own count of what it received; what it sent is counted on the wire.
    received = statistics["core:rcv_requests"] + statistics["core:rcv_replies"]
    assert len([row for row in rows if row["dst_port"] == proxy.port]) == received >= 6 * CALLS
    # 13 messages a call: a proxy that gets its 180 early may leave out a 100 of its own.
    assert len(rows) == len(wire) >= 12 * CALLS
    stored = Counter(
        (
            row["src_ip"],
            str(row["src_port"]),
            row["dst_ip"],
            str(row["dst_port"]),
            row["call_id"],
            row["method"],
            str(row["status"] or ""),
        )
        for row in rows
    )
    assert not Counter(key for _, key in wire) - stored, "on the wire, but not found"
    first, last = wire[0][0], wire[-1][0]
    for row in rows:
        assert first - 1 <= datetime.fromisoformat(row["ts"]).timestamp() <= last + 3
        assert row["malformed"] is None
        assert row["node_id"] == (None if version == 1 else 2001)
    assert server.log.read_text().count("Traceback") == 0
