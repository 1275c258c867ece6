"""Lines of a TOML document's keys: tomllib reads values and tells no positions.

In: text that tomllib has accepted, so this scanner may be lenient. Out: a dict from a key's path (text
for keys, numbers for elements of arrays) to its line, counted from 1. Nothing goes wrong on valid TOML.
"""

from typing import Final

Path = tuple[str | int, ...]

_BARE_END: Final = frozenset(" \t\r\n=.]#,}")
_VALUE_END: Final = frozenset(",]}\n#")


def key_lines(text: str) -> dict[Path, int]:
    """Return the line of every key, table header and array element of a valid TOML document."""
    return _Scanner(text).document()


class _Scanner:
    """One pass over the text; `at` only grows, so a mistake here can end early but never hang."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[Path, int] = {}
        self.elements: dict[Path, int] = {}  # tables so far in an array of tables

    def document(self) -> dict[Path, int]:
        table: Path = ()
        while self._skip_blank():
            if self._take("[["):
                table = self._open_element(self._key())
                self._take("]]")
            elif self._take("["):
                table = self._resolve(self._key())
                self._take("]")
                self._record(table)
            else:
                self._pair(table)
        return self.lines

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def _take(self, token: str) -> bool:
        if not self.text.startswith(token, self.at):
            return False
        self.at += len(token)
        return True

    def _skip_blank(self) -> bool:
        """Pass white space, line ends and comments; return whether anything is left."""
        while self.at < len(self.text):
            if self._peek() == "#":
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            elif self._peek().isspace():
                self.at += 1
            else:
                return True
        return False

    def _record(self, path: Path) -> None:
        line = self.text.count("\n", 0, self.at) + 1
        for size in range(1, len(path) + 1):  # dotted keys and headers make their parents too
            self.lines.setdefault(path[:size], line)

    def _open_element(self, parts: Path) -> Path:
        array = (*self._resolve(parts[:-1]), parts[-1])
        index = self.elements.get(array, -1) + 1
        self.elements[array] = index
        self._record((*array, index))
        return (*array, index)

    def _resolve(self, parts: Path) -> Path:
        """Return the path that a header means: inside an array of tables, its last element."""
        path: Path = ()
        for part in parts:
            path = (*path, part)
            if path in self.elements:
                path = (*path, self.elements[path])
        return path

    def _key(self) -> Path:
        parts: list[str | int] = []
        while True:
            self._skip_blank()
            if self._peek() in ('"', "'"):
                parts.append(self._string())
            else:
                start = self.at
                while self.at < len(self.text) and self._peek() not in _BARE_END:
                    self.at += 1
                parts.append(self.text[start : self.at])
            self._skip_blank()
            if not self._take("."):
                return tuple(parts)

    def _pair(self, table: Path) -> None:
        start = self.at
        path = (*table, *self._key())
        self._record(path)
        self._take("=")
        self._value(path)
        self.at = max(self.at, start + 1)

    def _value(self, path: Path) -> None:
        self._skip_blank()
        if self._peek() in ('"', "'"):
            self._string()
        elif self._take("["):
            self._items(path, "]")
        elif self._take("{"):
            self._items(path, "}")
        else:
            while self.at < len(self.text) and self._peek() not in _VALUE_END:
                self.at += 1

    def _items(self, path: Path, close: str) -> None:
        index = 0
        while self._skip_blank() and not self._take(close):
            if self._take(","):
                continue
            start = self.at
            if close == "}":
                self._pair(path)
            else:
                self._record((*path, index))
                self._value((*path, index))
                index += 1
            self.at = max(self.at, start + 1)

    def _string(self) -> str:
        quote = self._peek()
        fence = quote * 3 if self.text.startswith(quote * 3, self.at) else quote
        self.at += len(fence)
        start = self.at
        while self.at < len(self.text) and not self.text.startswith(fence, self.at):
            self.at += 2 if quote == '"' and self._peek() == "\\" else 1
        value = self.text[start : self.at]
        self.at += len(fence)
        while len(fence) == 3 and self._peek() == quote:  # up to two quotes may precede the closing fence
            self.at += 1
        return value
