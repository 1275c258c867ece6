"""Send frames on an interface at a given rate: `hepcat bench frames`.

In: an interface, frames, a rate. Out: exact counts of what left. Frames go out with sendmmsg on a packet
socket, what is due every half millisecond. What can go wrong: HepcatError without the right, or without the
interface.
"""

import contextlib
import socket
import time
from typing import Any, Final

from hepcat.bench.calls import Frames
from hepcat.errors import HepcatError
from hepcat.mmsg import Sender

_TICK: Final = 0.0005
_BATCH: Final = 512
_SOL_PACKET: Final = 263
_PACKET_QDISC_BYPASS: Final = 20  # packet(7)


def send_frames(dev: str, frames: Frames, rate: float, count: int) -> dict[str, Any]:
    """Send `count` frames, `rate` a second (0: as fast as possible), beginning anew at the end of `frames`.

    Return {"frames", "seconds", "rate"}: what was really sent.
    """
    try:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        sock.bind((dev, 0))
    except OSError as error:
        raise HepcatError(f"cannot send frames on {dev}: {error.strerror}", "That needs root.") from None
    with sock:
        with contextlib.suppress(OSError):
            sock.setsockopt(_SOL_PACKET, _PACKET_QDISC_BYPASS, 1)
        return _send(Sender(sock), frames, rate, count)


def _send(sender: Sender, frames: Frames, rate: float, count: int) -> dict[str, Any]:
    done, at = 0, 0
    begin = time.perf_counter()
    while done < count:
        due = count if not rate else min(count, int((time.perf_counter() - begin) * rate) + 1)
        if due <= done:
            time.sleep(_TICK)
            continue
        part = min(due - done, _BATCH, len(frames) - at)
        sender.send(frames.data, frames.offsets, at, part)
        done += part
        at = (at + part) % len(frames)
    seconds = time.perf_counter() - begin
    return {"frames": done, "seconds": seconds, "rate": done / seconds}
