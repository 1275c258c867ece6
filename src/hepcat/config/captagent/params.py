"""The parameters of one profile: values with a type, and where each stands.

In: the element that holds `settings`. Out: values by name; whoever reads one has dealt with it, and `rest`
tells of those that nobody has read. What can go wrong: a value that cannot be read is told, and the default
stands.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hepcat.config.captagent.xml import Element
from hepcat.config.report import Report

_TRUE: Final = frozenset({"true", "yes", "on", "1", "enable", "enabled"})
_FALSE: Final = frozenset({"false", "no", "off", "0", "disable", "disabled"})


@dataclass(frozen=True, slots=True)
class Param:
    """One param: its name, its value without white space around it, its line."""

    name: str
    value: str
    line: int


class Params:
    """The parameters of a profile (or of a configuration block). owner: its name, for messages."""

    def __init__(self, file: Path, element: Element, report: Report) -> None:
        self.file = file
        self.line = element.line
        self.owner = element.get("name") or element.tag
        self._report = report
        self._all = list(self._collect(element))
        self._read: set[str] = set()

    def all(self, name: str) -> list[Param]:
        """Return every param of this name, in the order of the file."""
        self._read.add(name)
        return [param for param in self._all if param.name == name]

    def last(self, name: str) -> Param | None:
        """Return the param of this name; of several the last holds, as in the original."""
        found = self.all(name)
        for param in found[:-1]:
            self.warn(param, f"stands in {self.owner} again at line {found[-1].line}; that one holds")
        return found[-1] if found else None

    def text(self, name: str) -> str | None:
        """Return a value as it stands, None where it is missing or empty."""
        param = self.last(name)
        return param.value if param is not None and param.value else None

    def flag(self, name: str) -> bool | None:
        """Return true or false, None where it is missing or neither."""
        param = self.last(name)
        if param is None or not param.value:
            return None
        word = param.value.lower()
        if word in _TRUE | _FALSE:
            return word in _TRUE
        self.warn(param, f'"{param.value}" is neither true nor false; it is passed over')
        return None

    def number(self, name: str, low: int, high: int) -> int | None:
        """Return a whole number, brought into low..high; None where it is missing or none."""
        param = self.last(name)
        if param is None or not param.value:
            return None
        try:
            value = int(param.value)
        except ValueError:
            self.warn(param, f'"{param.value}" is not a whole number; it is passed over')
            return None
        nearest = min(max(value, low), high)
        if nearest != value:
            self.warn(param, f"{value} is not in {low}..{high}; {nearest} is taken")
        return nearest

    def warn(self, param: Param, message: str) -> None:
        """Tell that this parameter is not as asked for."""
        self._report.warn(self.file, param.line, param.name, message)

    def inform(self, name: str, message: str) -> None:
        """Tell, where the parameter stands, that something is done otherwise."""
        for param in self.all(name):
            self._report.inform(self.file, param.line, param.name, message)

    def unmet(self, name: str, message: str) -> None:
        """Tell, where the parameter stands, that it has no effect and why."""
        for param in self.all(name):
            self.warn(param, message)

    def problem(self, name: str, message: str) -> None:
        """Note that the profile cannot be used for want of this parameter, or because of it."""
        found = self.all(name)
        line = found[-1].line if found else self.line
        self._report.problem(self.file, line, name if found else self.owner, message)

    def rest(self, known: Iterable[str] = ()) -> None:
        """Tell of every param that nobody has read."""
        names = sorted(self._read | set(known))
        for param in self._all:
            if param.name not in self._read:
                near = next(iter(difflib.get_close_matches(param.name, names, n=1, cutoff=0.7)), "")
                hint = f'; did you mean "{near}"?' if near else ""
                self.warn(param, f"is not known in {self.owner} and has no effect{hint}")

    def _collect(self, element: Element) -> Iterable[Param]:
        for child in element.children:
            if child.tag == "settings":
                yield from self._settings(child)
            elif child.tag == "param":
                yield from self._settings(element, only=child)
            elif child.tag != "modules":
                self._unread(child)

    def _settings(self, settings: Element, only: Element | None = None) -> Iterable[Param]:
        for child in [only] if only is not None else settings.children:
            name = child.get("name")
            if child.tag != "param":
                self._unread(child)
            elif not name:
                self._report.warn(self.file, child.line, "param", "has no name; it is passed over")
            else:
                yield Param(name, self._value(child), child.line)

    def _unread(self, element: Element) -> None:
        words = f"is not read within {self.owner}"
        if element.tag in ("statistic", "statistics"):
            words = "has no effect: counters stand in the log, and under [http] in /metrics"
        self._report.warn(self.file, element.line, element.tag, words)

    @staticmethod
    def _value(param: Element) -> str:
        """Return the value: the attribute, else the text of the child `value`, on one line."""
        value = param.attributes.get("value")
        if value is None:
            value = " ".join(child.text for child in param.all("value")) or param.text
        return " ".join(value.split())
