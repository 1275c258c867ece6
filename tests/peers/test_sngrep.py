"""Real peer: sngrep captures a call from loopback and sends it on as HEP (-H)."""

import signal
import time
from pathlib import Path

import pytest

from tests.support import Server, free_port, has_socket, need, program, wait_for

pytestmark = pytest.mark.peer
CALLS = 10


def test_sngrep_as_a_sender(tmp_path: Path) -> None:
    need("sngrep", "sipp")
    caller, callee = free_port(), free_port()
    with Server(tmp_path) as server:
        capture = [
            "sngrep",
            "-N",
            "-q",
            "-d",
            "lo",
            "-H",
            f"udp:127.0.0.1:{server.port}",
            "port",
            str(callee),
        ]
        common = ["-i", "127.0.0.1", "-nostdin", "-nr"]  # a busy machine answers late: nothing is sent twice
        answer = ["sipp", "-sn", "uas", "-p", str(callee), *common]
        place = ["sipp", "-sn", "uac", "-p", str(caller), "-m", str(CALLS), *common]
        with program(capture, sig=signal.SIGKILL) as sngrep, program(answer) as answering:
            wait_for(lambda: has_socket(sngrep.pid, "packet"), what="sngrep, which says nothing of itself")
            wait_for(lambda: has_socket(answering.pid, "udp"), what="the callee")
            time.sleep(1)  # from its socket to its filter
            with program([*place, f"127.0.0.1:{callee}"]) as calls:
                assert calls.wait(120) == 0
            wait_for(lambda: server.count() >= 6 * CALLS, 60, "all messages found")
        rows = server.rows()
        assert len(rows) == 6 * CALLS
        assert len({row["call_id"] for row in rows}) == CALLS
        assert {row["method"] for row in rows} == {"INVITE", "ACK", "BYE"}
        assert {(row["src_port"], row["dst_port"]) for row in rows} == {(caller, callee), (callee, caller)}
        assert server.count("method:BYE status:200") == CALLS
