"""The switch of capture: on or off, for all and for each source.

In: on or off, from whatever door. Out: `is_on`, asked once a batch by whoever reads. A source is on while the
switch of all and its own are: switching all off and on again leaves a single one as it was. It lives as long
as the process: a reload of the configuration does not touch it.
"""

import threading


class CaptureSwitch:
    """Many threads ask, few switch. A change is one assignment, so nobody who asks waits."""

    __slots__ = ("_mutex", "off", "on")

    def __init__(self, on: bool = True) -> None:
        #: the switch of all
        self.on = on
        #: the sources that are switched off by themselves, whatever the switch of all says
        self.off: frozenset[str] = frozenset()
        self._mutex = threading.Lock()

    def is_on(self, source: str) -> bool:
        """Whether to take what this source brings. source: its URL, as the counters show it."""
        return self.on and source not in self.off

    def set(self, on: bool, source: str | None = None) -> None:
        """Switch all, or one source."""
        with self._mutex:
            if source is None:
                self.on = on
            elif on:
                self.off -= {source}
            else:
                self.off |= {source}
