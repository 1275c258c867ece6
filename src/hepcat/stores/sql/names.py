"""Which tables a store has: `table_name` with its `|` and strftime patterns, and the three sisters.

In: settings and a time (UTC). Out: names of tables, and of a found table's name the time that it covers. No
database here.
"""

import datetime as dt
import re
from dataclasses import dataclass
from typing import Final

from hepcat.config.databases import DatabaseSettings
from hepcat.errors import HepcatError
from hepcat.stores.classic import schema
from hepcat.stores.classic.tables import split_names

#: What of strftime can be read back: directive -> digits.
_DIGITS: Final = {"Y": 4, "y": 2, "m": 2, "d": 2, "j": 3, "H": 2}
_DIRECTIVE: Final = re.compile(r"%(.)")
_DAY: Final = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Name:
    """One name of `table_name`."""

    text: str

    @property
    def fixed(self) -> bool:
        """Whether it is one table for all times."""
        return not _DIRECTIVE.search(self.text)

    @property
    def by_day(self) -> bool:
        """Whether each table holds a day or less: then the table itself is what a partition would be."""
        return bool(set("dejHMSDFcx") & set(_DIRECTIVE.findall(self.text)))

    def at(self, when: dt.datetime) -> str:
        """Return the table of a time."""
        return self.text if self.fixed else when.astimezone(dt.UTC).strftime(self.text)

    def ahead(self, now: dt.datetime) -> list[str]:
        """Return the tables from now until tomorrow at this time."""
        hours = 25 if set("Hc") & set(_DIRECTIVE.findall(self.text)) else 2
        step = _DAY / (hours - 1)
        return list(dict.fromkeys(self.at(now + i * step) for i in range(hours)))

    @property
    def readable(self) -> bool:
        """Whether the time of a table can be told from its name: a year, and a month or a day of it."""
        found = _DIRECTIVE.findall(self.text)
        year = "Y" in found or "y" in found
        return year and set(found) <= set(_DIGITS) and len(found) == len(set(found)) and (
            "m" in found or "j" in found
        )  # fmt: skip

    def end_of(self, table: str) -> dt.datetime | None:
        """Return the end of the time that a table is for; None: it is none of this pattern."""
        if self.fixed or not self.readable:
            return None
        parts = re.split(r"%(.)", self.text)
        expression = "".join(
            re.escape(part) if i % 2 == 0 else rf"\d{{{_DIGITS[part]}}}" for i, part in enumerate(parts)
        )
        if not re.fullmatch(expression, table, re.ASCII):
            return None
        try:
            begin = dt.datetime.strptime(table, self.text).replace(tzinfo=dt.UTC)
        except ValueError:
            return None
        if self.at(begin) != table:
            return None
        found = set(_DIRECTIVE.findall(self.text))
        if "H" in found:
            return begin + dt.timedelta(hours=1)
        if found & {"d", "j"}:
            return begin + _DAY
        return (begin + 32 * _DAY).replace(day=1)


def sip_names(settings: DatabaseSettings) -> list[Name]:
    """Return the names of `table_name`. Raises HepcatError where it names none."""
    try:
        texts = split_names(settings.table_name)
    except ValueError as error:
        raise HepcatError(f"database {settings.name}: {error}", "Correct table_name.") from None
    return [Name(text) for text in dict.fromkeys(texts)]


def sister_names() -> list[Name]:
    """Return the tables of what is no SIP."""
    return [Name(table.name) for table in schema.TABLES[1:]]


def tables_ahead(settings: DatabaseSettings, now: dt.datetime) -> list[tuple[str, Name]]:
    """Return (table, its name in the settings) for every table that is written to until tomorrow."""
    names = [*sip_names(settings), *sister_names()]
    return [(table, name) for name in names for table in name.ahead(now)]


def classic_of(table: str) -> schema.Table:
    """Return which of the classic tables a table is: a sister by its name, else that of SIP."""
    return schema.TABLE_BY_NAME.get(table, schema.SIP_CAPTURE)
