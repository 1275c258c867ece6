"""kamailio.cfg, first step: files and directives to plain text with its places.

In: a file. Out: `Line`s: what is left for the parser, where it stood, and the defines and substitutions in
force. `#!define`, `#!trydef`, `#!redefine`, `#!ifdef`, `#!ifndef`, `#!else`, `#!endif`, `#!subst`,
`#!substdef`, `#!substdefs`, `include_file` and `import_file` are followed (also with `!!` for `#!`). What can
go wrong: HepcatError with file and line, for a file that cannot be read, includes without end, a condition
that is not closed.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hepcat.errors import HepcatError

#: Files within one another, as deep as Kamailio itself goes, and octets of all together.
MAX_DEPTH: Final = 10
MAX_OCTETS: Final = 16 * 2**20
_DIRECTIVE: Final = re.compile(r"[#!]!\s*([A-Za-z]+)\b(.*)", re.DOTALL)
_INCLUDE: Final = re.compile(r"(?:[#!]!)?\s*(include_file|import_file)\s+[\"']([^\"']*)[\"']")
_DEFINE: Final = re.compile(r"(?:(IFDEF_|IFNDEF_))?([A-Za-z_][A-Za-z0-9_]*)\s*(?:=\s*)?(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Line:
    """One line as the parser gets it; the line break is not part of it."""

    file: Path
    number: int
    text: str


@dataclass(slots=True)
class Definitions:
    """Names that stand for something else outside strings, and substitutions within strings."""

    names: dict[str, str] = field(default_factory=dict)
    substitutions: list[tuple[re.Pattern[str], str, bool]] = field(default_factory=list)

    def within_string(self, text: str) -> str:
        """Apply the substitutions, in the order in which they were given."""
        for pattern, value, everywhere in self.substitutions:
            text = pattern.sub(lambda _, value=value: value, text, count=0 if everywhere else 1)
        return text


class LineReader:
    """Reads a file and what it includes."""

    def __init__(self) -> None:
        self.definitions = Definitions()
        self._octets = 0

    def read(self, path: Path, depth: int = 0) -> Iterator[Line]:
        """Yield the lines in force. Comments are still in them."""
        text = self._text(path, depth)
        if text is None:
            return
        open_ifs: list[tuple[int, bool, bool]] = []  # (line, taken, everything around it taken)
        for number, line in _continued(text):
            around = all(taken for _, taken, _ in open_ifs)
            match = _DIRECTIVE.match(line)
            word = match[1].lower() if match else ""
            if word in ("ifdef", "ifndef", "ifexp"):
                taken = self._holds(word, match[2] if match else "")
                open_ifs.append((number, taken, around))
            elif word in ("else", "endif"):
                if not open_ifs:
                    raise HepcatError(f"{path}:{number}: #!{word} without #!ifdef")
                begun, taken, outer = open_ifs.pop()
                if word == "else":
                    open_ifs.append((begun, not taken, outer))
            elif not around:
                continue
            elif included := _INCLUDE.match(line):
                yield from self._include(path, number, included[1], included[2], depth)
            elif match and self._define(word, match[2].strip()):
                continue
            else:
                yield Line(path, number, line)
        if open_ifs:
            raise HepcatError(f"{path}:{open_ifs[-1][0]}: this condition is not closed by #!endif")

    def _text(self, path: Path, depth: int) -> str | None:
        try:
            octets = path.read_bytes()
        except OSError as error:
            raise HepcatError(
                f"cannot read {path}: {error.strerror}", "Name the file that kamailio is started with (-f)."
            ) from None
        self._octets += len(octets)
        if depth > MAX_DEPTH or self._octets > MAX_OCTETS:
            raise HepcatError(f"{path}: files include each other too deeply, or are too large")
        return octets.decode("utf-8", "replace")

    def _include(self, path: Path, number: int, how: str, name: str, depth: int) -> Iterator[Line]:
        target = Path(self.definitions.within_string(name))
        place = target if target.is_absolute() else path.parent / target
        if how == "import_file" and not place.exists():
            return
        try:
            yield from self.read(place, depth + 1)
        except HepcatError as error:
            if str(error).startswith("cannot read"):
                raise HepcatError(f"{path}:{number}: {error}", error.hint) from None
            raise

    def _holds(self, word: str, rest: str) -> bool:
        name = rest.strip().split()[0] if rest.strip() else ""
        if word == "ifexp":
            return False  # an expression of Kamailio's own: what hangs on it is left out
        return (name in self.definitions.names) == (word == "ifdef")

    def _define(self, word: str, rest: str) -> bool:
        """Take a directive over; return whether it was one."""
        names = self.definitions.names
        if word in ("define", "def", "trydef", "trydefine", "redefine", "redef", "defenv", "trydefenv"):
            match = _DEFINE.fullmatch(rest)
            if match and (match[2] not in names or word.startswith("re") or not word.startswith("try")):
                names[match[2]] = match[3].strip()
            return True
        if word in ("subst", "substdef", "substdefs"):
            self._substitute(word, rest.strip().strip("\"'"))
            return True
        return word in ("kamailio", "ser", "openser", "maxcompat", "all")

    def _substitute(self, word: str, rest: str) -> None:
        if not rest:
            return
        parts = rest[1:].split(rest[0])
        if len(parts) < 2:
            return
        pattern, value, flags = parts[0], parts[1], parts[2] if len(parts) > 2 else ""
        try:
            compiled = re.compile(pattern, re.IGNORECASE if "i" in flags else 0)
        except re.error:
            compiled = re.compile(re.escape(pattern))
        self.definitions.substitutions.append((compiled, value, "g" in flags))
        if word != "subst":
            self.definitions.names[pattern] = f'"{value}"' if word == "substdefs" else value


def _continued(text: str) -> Iterator[tuple[int, str]]:
    """Yield (number, line); a directive that ends in a backslash goes on in the next line."""
    held, start = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if held:
            line = held + line
        if line[:2] in ("#!", "!!") and line.endswith("\\"):
            held, start = line[:-1], start or number
            continue
        yield (start or number), line
        held, start = "", 0
    if held:
        yield start, held
