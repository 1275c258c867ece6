"""A thread of ours that ends with an exception ends the process, loudly: that is a bug, not a peer's doing.

In: the queue of events of whoever runs. Out: the event BROKEN in it, and the traceback in the log.
"""

import queue
import threading
from typing import Final

import structlog

#: An event beside the signals: a thread of ours ended with an exception.
BROKEN: Final = -1

log = structlog.get_logger("hepcat")


def watch_threads(events: "queue.SimpleQueue[int]") -> None:
    """Put BROKEN into `events` when a thread ends with an exception."""
    threading.excepthook = lambda args: _broken(args, events)


def _broken(args: threading.ExceptHookArgs, events: "queue.SimpleQueue[int]") -> None:
    """Say so; whoever reads the events keeps what was read, and ends."""
    if args.exc_type is SystemExit:
        return
    log.error(
        "a bug in hepcat ended one of its threads; please report it",
        thread=args.thread.name if args.thread else "?",
        exc_info=(args.exc_type, args.exc_value, args.exc_traceback),
    )
    events.put(BROKEN)
