"""The life of `hepcat agent`: open, give up root, capture and send until told to stop, stop clean.

In: settings, capture files or none, and a way to read the settings again. Out: exit code 0 after a clean
stop, 1 when something inside broke. What can go wrong: HepcatError before anything is captured.
Signals: SIGTERM and SIGINT stop, SIGHUP reads the capture plans again.
"""

import contextlib
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog

from hepcat.config.settings import Settings
from hepcat.control import notify
from hepcat.control.broken import BROKEN, watch_threads
from hepcat.control.reloads import RELOAD, Reloads, not_reloaded
from hepcat.errors import HepcatError
from hepcat.pipeline import privileges
from hepcat.pipeline.agent import Agent
from hepcat.pipeline.agent_counts import AgentCounters
from hepcat.pipeline.ahead import load_ahead
from hepcat.pipeline.effects import effect_warnings
from hepcat.pipeline.logs import setup_logs
from hepcat.pipeline.memory import give_back
from hepcat.pipeline.reading import read_files
from hepcat.sinks.frame_writer import FrameWriter

log = structlog.get_logger("hepcat.agent")

#: Slices of the interpreter's time between threads, as for the server.
SWITCH_SECONDS: Final = 0.001
#: Seconds for the reading of files to end once it was told to.
STUCK_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class RunOptions:
    """files: read these instead of the interfaces; realtime: at the recorded pace. write: keep the frames
    there, rotated and compressed as asked. seconds: stop by itself after so long; 0 never.
    """

    files: tuple[Path, ...] = ()
    realtime: bool = False
    write: Path | None = None
    rotate_octets: int = 0
    rotate_seconds: float = 0.0
    gzip: bool = False
    seconds: float = 0.0


def run_agent(
    settings: Settings, options: RunOptions, reread: Callable[[], Settings], started: Callable[[Agent], None]
) -> int:
    """Run an agent until it is told to stop, or its files end; return the exit code."""
    setup_logs(settings.log)
    events: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: events.put(number))
    watch_threads(events)
    privileges.raise_file_limit()
    privileges.keep_files_from_others()
    sys.setswitchinterval(SWITCH_SECONDS)
    if settings.agent.cpu:
        _pin(settings.agent.cpu)
    agent = Agent(settings, _writer(options))
    tell_warnings(agent)
    door: Any = None
    if settings.http.listen:
        from hepcat.control.http import HttpDoor

        door = HttpDoor(settings.http, agent)
    if not options.files:
        agent.open()
    reloads = Reloads(events)
    doors = _open_doors(settings, agent, reloads)
    try:
        if settings.user is not None:
            load_ahead(settings.user, agent.secrets is not None)
        privileges.settle(settings.user)
        for opened in (door, doors):
            if opened is not None:
                opened.start()
        return (
            _run_files(agent, options, events, reread, reloads)
            if options.files
            else _run_live(agent, options, events, reread, reloads, started)
        )
    finally:
        reloads.close()
        for opened in (door, doors):
            if opened is not None:
                opened.stop()


def _open_doors(settings: Settings, agent: Agent, reloads: Reloads) -> Any:
    """Open the doors of [control], while still root; None where it names none. Raises HepcatError."""
    control = settings.control
    if control.socket is None and control.mi_fifo is None and control.rpc_fifo is None:
        return None  # most agents have none, and stay small without
    from hepcat.control.doors import Doors
    from hepcat.control.methods import Control

    doors = Doors(control, Control(agent, reloads.ask), settings.user)
    doors.open()
    return doors


def tell_warnings(agent: Agent) -> None:
    """Log what the plans, filters and targets have to say."""
    for profile in agent.profiles:
        for warning in profile.warnings:
            log.warning(warning, profile=profile.name)
    for warning in effect_warnings(agent.settings.agent):
        log.warning(warning)


def _run_live(
    agent: Agent,
    options: RunOptions,
    events: "queue.SimpleQueue[int]",
    reread: Callable[[], Settings],
    reloads: Reloads,
    started: Callable[[Agent], None],
) -> int:
    agent.start()
    started(agent)
    notify.notify("READY=1", "STATUS=capturing")
    give_back()
    why = _wait(agent, events, reread, reloads, options.seconds)
    reloads.close()
    notify.notify("STOPPING=1")
    reason = "a thread broke" if why == BROKEN else "time is over" if why == 0 else signal.Signals(why).name
    log.info("stopping", reason=reason)
    agent.stop()
    log_agent_counts(agent.counters, final=True)
    return 1 if why == BROKEN else 0


def _run_files(
    agent: Agent,
    options: RunOptions,
    events: "queue.SimpleQueue[int]",
    reread: Callable[[], Settings],
    reloads: Reloads,
) -> int:
    """Read files in a thread of their own, so that a signal ends them between two windows."""
    agent.start_sinks()
    agent.start_keylog()
    stop = threading.Event()
    failures: list[HepcatError] = []

    def read() -> None:
        try:
            read_files(agent, options.files, options.realtime, stop)
        except HepcatError as error:
            failures.append(error)
        events.put(0)  # not where a bug of ours ends the thread: that is BROKEN

    thread = threading.Thread(target=read, name="files", daemon=True)
    thread.start()
    why = _wait(agent, events, reread, reloads, options.seconds)
    stop.set()
    thread.join(STUCK_SECONDS)
    if thread.is_alive():
        log.warning("not waited for any longer: a pipe that nobody writes to, or a disk that does not answer")
    agent.stop_sinks()
    log_agent_counts(agent.counters, final=True)
    if failures:
        raise failures[0]
    if why == 0:
        check_all_sent(agent.counters)
    return 1 if why == BROKEN else 0


def check_all_sent(counters: AgentCounters) -> None:
    """Raise HepcatError where a target took records of files and could not send them: nobody may believe
    that they arrived. (Live, the counters tell it while it can still be mended.)
    """
    lost = {name: sum(counts.drops.values()) for name, counts in counters.targets().items() if counts.drops}
    if lost:
        said = "; ".join(f"{name}: {count} records" for name, count in lost.items())
        raise HepcatError(
            f"not everything could be sent: {said}",
            "Is the collector listening there? The log lines above say what stood in the way.",
        )


def _wait(
    agent: Agent,
    events: "queue.SimpleQueue[int]",
    reread: Callable[[], Settings],
    reloads: Reloads,
    seconds: float,
) -> int:
    """Handle what happens until it is time to stop; return the signal that said so, 0 for the time."""
    end = time.monotonic() + seconds if seconds else None
    interval = agent.settings.log.interval
    next_line = time.monotonic() + interval
    while True:
        now = time.monotonic()
        if end is not None and now >= end:
            return 0
        if now >= next_line:
            log_agent_counts(agent.counters)
            next_line = now + interval
        wake = next_line if end is None else min(next_line, end)
        try:
            event = events.get(timeout=max(0.0, wake - time.monotonic()))
        except queue.Empty:
            continue
        if event == RELOAD:
            reloads.carry_out(lambda: _reload(agent, reread))
        elif event == signal.SIGHUP:
            with contextlib.suppress(HepcatError):
                _reload(agent, reread)
        else:
            return event


def _reload(agent: Agent, reread: Callable[[], Settings]) -> list[str]:
    """Read the plans anew; return what there is to say. Where they are broken those there were stay in force,
    which is logged; raises HepcatError for whoever waits.
    """
    try:
        return agent.reload(reread())
    except HepcatError as error:
        for line in str(error).splitlines():
            log.error("not reloaded; what was there stays in force", problem=line, **_hint(error))
        raise
    except Exception as error:
        raise not_reloaded(error) from error


def _hint(error: HepcatError) -> dict[str, str]:
    return {"hint": error.hint} if error.hint else {}


def log_agent_counts(counters: AgentCounters, **more: Any) -> None:
    """Write the counters as one line, and one a target."""
    total = counters.snapshot().total
    log.info(
        "counters",
        packets=total.received,
        carried=total.carried,
        messages=total.messages,
        forwarded=total.forwarded,
        **{f"drop_{drop.name.lower()}": count for drop, count in total.drops.items()},
        **more,
    )
    for name, counts in counters.targets().items():
        log.info(
            "target",
            target=name,
            taken=counts.taken,
            sent=counts.sent,
            waiting=counts.waiting,
            spooled=counts.spooled,
            **{f"drop_{drop.name.lower()}": count for drop, count in counts.drops.items()},
        )


def _writer(options: RunOptions) -> FrameWriter | None:
    if options.write is None:
        return None
    return FrameWriter(options.write, options.rotate_octets, options.rotate_seconds, options.gzip)


def _pin(cpus: tuple[int, ...]) -> None:
    try:
        os.sched_setaffinity(0, cpus)
    except (OSError, ValueError, OverflowError, AttributeError):  # ValueError: a negative number
        there = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        raise HepcatError(
            f"cannot run on CPUs {', '.join(map(str, cpus))}",
            f"This process may use {', '.join(map(str, there))}.",
        ) from None
