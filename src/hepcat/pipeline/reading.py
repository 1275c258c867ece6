"""Capture files through the agent's pipeline: every profile sees every window, in order.

In: paths. Out: messages in the targets. What can go wrong: HepcatError where a file is no capture, or ends
early (after what could be read has been sent).
"""

import threading
from pathlib import Path

from hepcat.pipeline.agent import Agent
from hepcat.pipeline.capture import Reader
from hepcat.sources.capture_file import FileSource
from hepcat.wire.dissect import END_OF_TIME


def read_files(agent: Agent, files: tuple[Path, ...], realtime: bool, stop: threading.Event) -> None:
    """Read the files one after the other, as if they were one; `stop` ends between two windows."""
    names = ", ".join(path.name for path in files)
    readers = [agent.open_reader(profile, f"{profile.name}:{names}") for profile in agent.profiles]
    try:
        for path in files:
            _read(agent, FileSource(path, realtime), readers, stop)
    finally:
        for reader in readers:
            reader.expire(END_OF_TIME)


def _read(agent: Agent, source: FileSource, readers: list[Reader], stop: threading.Event) -> None:
    try:
        while not source.ended and not stop.is_set():
            window = source.next_window(0.5)
            if window is None:
                continue
            if agent.writer is not None:
                agent.writer.write(window.data, window.packets)
            for reader in readers:
                reader.take(window, filtered=False)
            source.release(window)
    finally:
        source.close()
