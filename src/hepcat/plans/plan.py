"""The contract of a capture plan: a batch and a mask in, a mask out, once a batch.

In: `Work`, which is one batch on its way through one plan, and what the plan may use (`Environment`).
Out: which rows were sent, and edits beside the batch. A plan's function takes (work, mask) and returns
the mask of rows for which it is true, a part of the mask it was given; it must not look at other rows.
Where a function ends the plan for some rows (the original's return value 0, `drop`, `break`), it clears
them in `work.alive`. What can go wrong: nothing while running; everything is checked when compiling.

Counts: every row of a batch is afterwards in exactly one of `work.sent` (a target took it), `work.dropped`
(counted by the plan in env.drops: PLAN, SAMPLED, RATE_LIMIT, DUPLICATE), or neither: those the caller
counts, as NO_TARGET.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from hepcat.batch.drops import Drop
from hepcat.batch.edits import Edits
from hepcat.batch.layout import Batch
from hepcat.sinks.sink import Outlet

Mask = npt.NDArray[np.bool_]

#: The key of pseudonyms where the configuration names none: alike in all workers, new in every process.
PROCESS_KEY: Final = secrets.token_bytes(16)


class Replier(Protocol):
    """Answers the peer that a message came from, where the source can (a collector's socket)."""

    def reply(self, batch: Batch, rows: npt.NDArray[np.int64], code: int, text: str) -> int:
        """Send a SIP response to each request in `rows`; return how many were sent."""


@dataclass(slots=True)
class Environment:
    """What the functions of a worker's plan may use. One a worker: nothing in it needs a lock.

    outlets: by target name. media: the table of media addresses, shared (hepcat.wire.media). drops: int64,
    indexed by Drop. log: (level, text) for clog(); levels: error, notice, debug. pseudonym_key: 16 octets.
    at_end: what steps have left to do once no batch comes any more.
    """

    outlets: Mapping[str, Outlet]
    media: Any = None
    replier: Replier | None = None
    regexps: Mapping[str, str] = field(default_factory=dict)
    isup_correlation: bool = True
    drops: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(Drop), dtype=np.int64))
    log: Callable[[str, str], None] = lambda level, text: None
    at_end: list[Callable[[], None]] = field(default_factory=list)
    pseudonym_key: bytes = field(default=PROCESS_KEY, repr=False)


@dataclass(slots=True)
class Work:
    """One batch on its way through a plan. alive: rows whose plan has not ended. sent: rows a target took.

    now_us: capture time of the newest row, for windows of time (never the wall clock). reason: uint8, a
    `Drop` for each row: why it was left out, in case nobody sends it; NO_TARGET to begin with. dropped:
    rows counted in env.drops by the plan, once it has run. flags: the numbered flags of the original
    (is_flag_set), uint16 columns, made when one is first set.
    """

    batch: Batch
    env: Environment
    alive: Mask
    sent: Mask
    now_us: int
    edits: Edits = field(default_factory=Edits)
    reason: npt.NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, dtype=np.uint8))
    dropped: Mask = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    flags: dict[int, npt.NDArray[np.uint16]] = field(default_factory=dict)


Step = Callable[[Work, Mask], Mask]
