"""Which records of a batch go to which table.

In: a batch and the database's settings. Out: groups of row numbers by table name, each in the order of the
batch, and how many records are left out by reason: no table for their HEP type (Drop.NO_TABLE), or a
Request-URI, From or To that cannot be read where `capture_bad_msgs` is off (Drop.BAD_MESSAGE). What can go
wrong: a `table_name` that is none (`TableChoice` raises ValueError).

`table_name` goes through strftime with the UTC time of each message, and `a|b` names several tables of which
`mt_mode` picks one. So one name may become many; `names_at` says which they are at a time.
"""

import random
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np

from hepcat.batch.drops import Drop
from hepcat.batch.layout import Array, Batch
from hepcat.batch.schema import FIELD_INDEX, FLAG_REQUEST, FLAG_RESPONSE, MALFORMED
from hepcat.config.databases import DatabaseSettings
from hepcat.stores.classic.hashes import hash_slices
from hepcat.stores.classic.schema import SIP_CAPTURE, TABLE_OF_HEP_TYPE, TABLES, Table

#: What makes a message bad. A missing header is none: the original stores such a message too.
_BAD_URI: Final = MALFORMED.index("uri")
#: Directives of strftime that change no more than once a day.
_DAILY: Final = frozenset("aAbBCdDeFgGhjmuUVwWxyYZz%")
#: hash_source -> the slice that is hashed
_HASHED: Final = {"call_id": "call_id", "from_user": "from_user", "to_user": "to_user"}
#: The last second that strftime is asked for: years have four digits.
_LAST: Final = 253_402_214_399


#: Tables of a strftime pattern are made for messages that are no older than this.
PAST_DAYS: Final = 31


@dataclass(frozen=True, slots=True)
class Group:
    """Rows of a batch for one table. name: what the table is called in the database."""

    table: Table
    name: str
    rows: Array


class TableChoice:
    """Picks the tables. `round_robin` counts on from batch to batch. One thread uses it."""

    def __init__(self, settings: DatabaseSettings, seed: int | None = None) -> None:
        """Raises ValueError where table_name names no table."""
        self.names = split_names(settings.table_name)
        self._mode = settings.mt_mode
        self._field = FIELD_INDEX[_HASHED[settings.hash_source]]
        self._bad = settings.capture_bad_msgs
        self._next = 0
        self._random = np.random.default_rng(random.getrandbits(64) if seed is None else seed)

    def groups(self, batch: Batch) -> tuple[list[Group], dict[Drop, int]]:
        """Split a batch. Rows of all groups and drops together are the batch's records."""
        drops: dict[Drop, int] = {}
        kinds = _TABLE_NUMBER[batch.hep_type[: batch.n]]
        if int(missing := np.count_nonzero(kinds < 0)):
            drops[Drop.NO_TABLE] = int(missing)
        wanted = kinds == 0
        if not self._bad:
            bad = wanted & (batch.malformed[: batch.n] == _BAD_URI) & _is_sip(batch)
            if int(count := np.count_nonzero(bad)):
                drops[Drop.BAD_MESSAGE] = int(count)
                wanted = wanted & ~bad
        groups = [Group(SIP_CAPTURE, name, rows) for name, rows in self._named(batch, np.flatnonzero(wanted))]
        for number, table in enumerate(TABLES[1:], 1):
            rows = np.flatnonzero(kinds == number)
            if len(rows):
                groups.append(Group(table, table.name, rows))
        return groups, drops

    def _named(self, batch: Batch, rows: Array) -> list[tuple[str, Array]]:
        """Split messages by the name of their table."""
        if len(rows) == 0:
            return []
        which = self._which(batch, rows)
        named: dict[str, list[Array]] = {}
        for number in np.unique(which).tolist():
            chosen = rows[which == number]
            for name, part in _dated(self.names[number], batch.ts, chosen):
                named.setdefault(name, []).append(part)
        return [(name, np.sort(np.concatenate(parts))) for name, parts in named.items()]

    def _which(self, batch: Batch, rows: Array) -> Array:
        """Return which of the names each message gets."""
        count = len(self.names)
        if count == 1:
            return np.zeros(len(rows), dtype=np.int64)
        if self._mode == "hash":
            hashes: Array = hash_slices(batch, self._field, rows) % np.uint32(count)
            return hashes.astype(np.int64)
        if self._mode == "rand":
            return self._random.integers(0, count, len(rows))
        which = (self._next + np.arange(len(rows))) % count
        self._next = (self._next + len(rows)) % count
        return which


def split_names(table_name: str) -> list[str]:
    """Return the tables that a setting `a|b` names, before strftime. Raises ValueError."""
    names = [name.strip() for name in table_name.split("|")]
    for name in names:
        if not re.fullmatch(r"(?:[A-Za-z0-9_$.-]|%[A-Za-z%])+", name):
            raise ValueError(f'table_name "{table_name}": "{name}" is no name of a table')
    return names


def names_at(table_name: str, at: datetime) -> list[str]:
    """Return what the tables of a setting are called for messages of that time."""
    return [at.astimezone(UTC).strftime(name) if "%" in name else name for name in split_names(table_name)]


class NearNames:
    """The names of a setting for times at which messages can be expected: tables are made for no others.

    A sender's clock can say anything, and it would have the database make any number of tables.
    """

    def __init__(self, table_name: str) -> None:
        self._table_name = table_name
        self._names: set[str] = set()
        self._until = datetime.min.replace(tzinfo=UTC)

    def __contains__(self, name: str) -> bool:
        """Whether a message of the last PAST_DAYS, or of the next two days, can have that table."""
        now = datetime.now(UTC)
        if self._until <= now:
            self._until = now + timedelta(hours=1)
            times = [now + timedelta(hours=hour) for hour in range(-24 * PAST_DAYS, 49)]
            self._names = {near for at in times for near in names_at(self._table_name, at)}
        return name in self._names


def is_dated(name: str) -> bool:
    """Whether a name changes with time."""
    return "%" in name


def _dated(name: str, ts: Array, rows: Array) -> list[tuple[str, Array]]:
    """Split rows by what strftime makes of the name at their time."""
    if not is_dated(name):
        return [(name, rows)]
    step = 86_400 if set(re.findall(r"%(.)", name)) <= _DAILY else 1
    times = np.clip(ts[rows] // 1_000_000, 0, _LAST) // step
    distinct, which = np.unique(times, return_inverse=True)
    named: dict[str, list[Array]] = {}
    for i, time in enumerate(distinct.tolist()):
        text = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=time * step)).strftime(name)
        named.setdefault(text, []).append(rows[which == i])
    return [(text, np.concatenate(parts)) for text, parts in named.items()]


def _is_sip(batch: Batch) -> Array:
    is_sip: Array = (batch.flags[: batch.n] & (FLAG_REQUEST | FLAG_RESPONSE)) != 0
    return is_sip


def _numbers() -> Array:
    """HEP type -> number of its table in TABLES, -1 where it has none."""
    numbers = np.full(256, -1, dtype=np.int8)
    for hep_type, table in TABLE_OF_HEP_TYPE.items():
        numbers[hep_type] = TABLES.index(table)
    return numbers


_TABLE_NUMBER: Final = _numbers()
