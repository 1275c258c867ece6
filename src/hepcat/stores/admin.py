"""The contract of a store's administration: what is found in a database, and what to do about it.

In: nothing. Out: `Finding`s, which `hepcat db create|upgrade|check` prints. A finding never holds a password.
"""

from dataclasses import dataclass
from typing import Final, Literal

Level = Literal["ok", "warn", "bad"]

#: The levels from the best to the worst.
LEVELS: Final[tuple[Level, ...]] = ("ok", "warn", "bad")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at, made or changed."""

    #: ok: as it should be (or made just now); warn: works, but not as well as it could; bad: does not work
    level: Level
    #: what it is about, such as "table sip_capture"
    subject: str
    #: how it is, such as "has no column callid_aleg"
    found: str
    #: what to do about it; empty where there is nothing to do
    advice: str = ""
