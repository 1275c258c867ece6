"""The bare receiver that the server is measured against: recvmmsg, and nothing done with what comes.

In: a UDP address. Out: JSON lines: {"port", "buffer"} when it listens, then the counts when it is told to
stop (SIGTERM) and has read what was left.
"""

import json
import os
import signal
import socket
import struct
import sys
import time
from typing import IO, Any

from hepcat.mmsg import Receiver, set_receive_buffer, socket_drops


def run_sink(host: str, port: int, buffer: int, out: IO[str] = sys.stdout) -> dict[str, Any]:
    """Receive until SIGTERM or SIGINT; write and return {received, drops, octets, cpu_seconds, ...}."""
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        granted = set_receive_buffer(sock, buffer)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", 0, 100_000))
        sock.bind((host, port))
        print(json.dumps({"port": sock.getsockname()[1], "buffer": granted}), file=out, flush=True)
        receiver = Receiver(sock)
        received = octets = calls = 0
        first = last = 0.0
        before = os.times()
        while True:
            got = receiver.receive(block=True)
            if got:
                last = time.perf_counter()
                first = first or last
                received += got
                calls += 1
                octets += int(receiver.lengths[:got].sum())
            elif stopping:
                break
        after = os.times()
        report = {
            "received": received,
            "drops": socket_drops(sock),
            "octets": octets,
            "batches": calls,
            "seconds": last - first,
            "cpu_seconds": after.user - before.user + after.system - before.system,
        }
    print(json.dumps(report), file=out, flush=True)
    return report
