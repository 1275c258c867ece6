"""What is left out when the CPU ceiling is reached: a rule the user chose, and a count of what it cost.

In: the process's CPU time now and then, batches. Out: batches without what the rule leaves out. What can
go wrong: nothing; where leaving everything out does not help, the kernel's drops tell.

How much is left out follows the use of CPU: above the ceiling the share that is kept falls at once in
proportion, below it it grows slowly, so that it settles just under the ceiling.
"""

import resource
import threading
import time
from typing import Final

import numpy as np

from hepcat.batch.drops import Drop
from hepcat.batch.gather import take_rows
from hepcat.batch.layout import Array, Batch
from hepcat.batch.schema import FIELD_INDEX, FLAG_RESPONSE, HEP_SIP
from hepcat.config.agent import ShedRule
from hepcat.plans.match import EQUALS, compare_field, hash_field

#: Seconds between looks at the CPU time.
LOOK_SECONDS: Final = 0.5
#: How much of what is left out comes back with each look that finds room.
RECOVERY: Final = 0.05
#: Methods that keep registrations and subscriptions alive, and set up no call.
_REGISTRATIONS: Final = (b"REGISTER", b"OPTIONS", b"SUBSCRIBE", b"NOTIFY", b"PUBLISH")
_SPAN: Final = 2**32
_CALL_ID: Final = FIELD_INDEX["call_id"]
_METHOD: Final = FIELD_INDEX["method"]


class Shedder:
    """Shared by all workers; `look` is called by one of them at a time, `shed` by all."""

    def __init__(self, percent: int, rule: ShedRule, seed: int = 0) -> None:
        """percent: the ceiling, of one core."""
        self.ceiling = percent / 100
        self.rule = rule
        #: the share that is kept, 0 to 1
        self.keep = 1.0
        self._seed = seed
        self._mutex = threading.Lock()
        self._cpu = _cpu_seconds()
        self._at = time.monotonic()

    @property
    def active(self) -> bool:
        """Whether anything is left out just now; looks at the CPU time when it is time to."""
        now = time.monotonic()
        if now - self._at >= LOOK_SECONDS and self._mutex.acquire(blocking=False):
            try:
                cpu = _cpu_seconds()
                self.look(cpu - self._cpu, now - self._at)
                self._cpu, self._at = cpu, now
            finally:
                self._mutex.release()
        return self.keep < 1.0

    def look(self, cpu_seconds: float, seconds: float) -> None:
        """Adapt the share that is kept to the CPU time used within `seconds`."""
        use = cpu_seconds / max(seconds, 1e-6)
        if use > self.ceiling:
            self.keep = max(0.0, self.keep * self.ceiling / use - 0.01)
        elif use < 0.95 * self.ceiling:
            self.keep = min(1.0, self.keep + RECOVERY)

    def shed(self, batch: Batch, drops: Array) -> Batch:
        """Return the batch without what the rule leaves out, counted as Drop.SHED."""
        kept = self._kept(batch)
        left_out = batch.n - int(np.count_nonzero(kept))
        if not left_out:
            return batch
        drops[Drop.SHED] += left_out
        return take_rows(batch, kept)

    def _kept(self, batch: Batch) -> Array:
        n, bound = batch.n, int(self.keep * _SPAN)
        sip = batch.hep_type[:n] == HEP_SIP
        if self.rule == "calls":
            # Whole calls: a Call-ID's hash stays on its side of the bound while the bound stands. What has no
            # Call-ID (media, and what is not SIP) has hash 0 and stays, however little else does.
            hashes = np.zeros(n, dtype=np.uint64)
            hash_field(batch, _CALL_ID, np.ones(n, dtype=bool), hashes, self._seed)
            return np.asarray((hashes & np.uint64(_SPAN - 1)) < max(bound, 1))
        if self.rule == "media":
            return np.asarray(sip)
        if self.rule == "responses":
            status = batch.status[:n]
            provisional = ((batch.flags[:n] & FLAG_RESPONSE) != 0) & (status >= 100) & (status < 200)
            return np.asarray(sip & ~provisional)
        if self.rule == "registrations":
            every = np.ones(n, dtype=bool)
            found = [compare_field(batch, _METHOD, name, EQUALS, every) for name in _REGISTRATIONS]
            return np.asarray(~np.any(found, axis=0))
        return np.ones(n, dtype=bool)


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
