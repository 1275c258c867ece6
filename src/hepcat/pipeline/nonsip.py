"""nonsip_hook: a capture plan decides what becomes of messages that are not SIP.

In: batches on their way to the stores, the hook's plan. Out: the same, without the messages that the plan
dropped, and with its changes to the others; SIP passes untouched. What can go wrong: HepcatError when the
plan is read (file, line and column). What was dropped is counted under the plan's reasons, beside the store's
drops: it had been handed on.
"""

import threading
from pathlib import Path
from typing import Final

import numpy as np
import structlog

from hepcat.batch.drops import Drop
from hepcat.batch.gather import take_rows
from hepcat.batch.layout import Batch
from hepcat.batch.schema import HEP_SIP
from hepcat.errors import HepcatError
from hepcat.pipeline.queue import BatchTaker
from hepcat.pipeline.stores import count_lost
from hepcat.plans.compiler import Plan, Runner, compile_plan
from hepcat.plans.plan import Environment
from hepcat.sinks.edited import edited_copy
from hepcat.sources.source import Tally

_LEVELS: Final = {"debug": "debug", "info": "info", "notice": "info", "warning": "warning"}

log = structlog.get_logger("hepcat.plan")


def read_hook(file: str) -> Plan:
    """Return the compiled plan of `nonsip_hook`. Raises HepcatError."""
    path = Path(file)
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise HepcatError(
            f"nonsip_hook: cannot read {path}: {reason}", "It is 0, 1, or the file of a capture plan."
        ) from None
    return compile_plan(text, str(path), (), {})


class NonSipHook:
    """Stands before the stores; sources of several threads put through it."""

    def __init__(self, plan: Plan, queue: BatchTaker) -> None:
        self._queue = queue
        self._plan = plan
        self._runners: dict[int, Runner] = {}  # one a tally, and so one a thread
        self._mutex = threading.Lock()

    def put(self, batch: Batch, tally: Tally) -> Drop | None:
        """Run the plan on what is not SIP, and hand the rest on."""
        others = np.flatnonzero(batch.hep_type[: batch.n] != HEP_SIP)
        if not len(others):
            return self._queue.put(batch, tally)
        runner = self._runner(tally)
        part = take_rows(batch, others)
        before = runner.env.drops.copy()
        work = runner.run(part, int(part.ts.max()))
        kept = edited_copy(part, np.flatnonzero(~work.dropped), work.edits)
        for reason in np.flatnonzero(runner.env.drops - before).tolist():
            count_lost(tally, Drop(reason), int(runner.env.drops[reason] - before[reason]))
        sip = take_rows(batch, batch.hep_type[: batch.n] == HEP_SIP)
        for rest in (sip, kept):
            refusal = self._queue.put(rest, tally) if rest.n else None
            if refusal is not None:
                count_lost(tally, refusal, rest.n)
        return None

    def _runner(self, tally: Tally) -> Runner:
        with self._mutex:
            if id(tally) not in self._runners:
                self._runners[id(tally)] = self._plan.bind(Environment(outlets={}, log=_write))
            return self._runners[id(tally)]


def _write(level: str, text: str) -> None:
    getattr(log, _LEVELS.get(level.lower(), "error"))(text, hook="nonsip_hook")
