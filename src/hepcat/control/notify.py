"""Tells systemd how the service is (sd_notify(3)); does nothing elsewhere.

In: the variable NOTIFY_SOCKET. Out: one datagram to it. Nothing goes wrong that would matter here.
"""

import contextlib
import os
import socket
import time


def notify(*lines: str) -> None:
    """Send assignments such as READY=1, together in one datagram."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    address = "\0" + path[1:] if path[0] == "@" else path
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(address)
        sock.sendall("\n".join(lines).encode())


def reloading() -> None:
    """Say that a reload began; Type=notify-reload wants the time with it."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
