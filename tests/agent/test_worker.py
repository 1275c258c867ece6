"""The thread that reads a live source: what waits while the worker is late, or nothing comes."""

import time
from typing import Any

import numpy as np
import pytest

from hepcat.pipeline import frame_worker
from hepcat.pipeline.frame_worker import CaptureWorker
from hepcat.sources.frame_source import Window
from hepcat.wire.columns import Packets
from tests.agent.test_captagent_defects import SIP, Profile, parts4, window_of

NOTHING: Any = np.zeros(0, dtype=np.uint8)


class Late:
    """A source whose frames were captured long before they are read, one a window, slowly."""

    name = "late"

    def __init__(self, frames: list[bytes | None], first: int) -> None:
        self._left, self._ts = list(frames), first

    @property
    def ended(self) -> bool:
        return not self._left

    def next_window(self, timeout: float) -> Window | None:
        time.sleep(0.02)
        frame = self._left.pop(0)
        if frame is None:
            return None
        self._ts += 1000
        return window_of([frame], self._ts) if frame else Window(NOTHING, Packets.empty(0), 0)

    def release(self, window: Window) -> None:
        pass

    def kernel_drops(self) -> int:
        return 0

    def close(self) -> None:
        pass


@pytest.mark.parametrize("between", ["nothing", "an empty window", "silence"])
def test_a_worker_that_is_late_gives_up_nothing_that_lies_unread(
    between: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_worker, "IDLE_SECONDS", 0.01)
    profile = Profile()
    first, *rest = parts4(SIP)
    gap: dict[str, list[bytes | None]] = {"nothing": [], "an empty window": [b""], "silence": [None]}
    frames = [first, *gap[between], *rest]
    source: Any = Late(frames, profile.now)
    worker = CaptureWorker(source, profile.reader, lambda: profile.now + 3_600_000_000)
    worker.start()
    worker.join()
    sent = [payload for payload, _ in profile.kept.records]
    # Where the ring is empty there is nothing to wait for: an hour has passed.
    assert sent == ([] if between == "silence" else [SIP])
