"""XML files as elements that know their lines.

In: a path. Out: the root `Element`. What can go wrong: HepcatError with file, line and words: the file
cannot be read, is not well-formed, is too large or nested too deeply, or declares entities (which a
configuration never needs, and which can grow without bound or name other files).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from xml.parsers import expat

from hepcat.errors import HepcatError

_LARGEST: Final = 1 << 20
_DEEPEST: Final = 32


@dataclass(slots=True)
class Element:
    """tag, attributes and the text directly within; line: of its start tag, counted from 1."""

    tag: str
    line: int
    attributes: dict[str, str] = field(default_factory=dict)
    children: list["Element"] = field(default_factory=list)
    text: str = ""

    def all(self, tag: str) -> Iterator["Element"]:
        """Yield the children of this tag."""
        return (child for child in self.children if child.tag == tag)

    def get(self, name: str) -> str | None:
        """Return an attribute without white space around it, None where there is none."""
        value = self.attributes.get(name)
        return None if value is None else value.strip()


def parse_xml(path: Path) -> Element:
    """Read a file. Raises HepcatError."""
    try:
        octets = path.read_bytes()
    except OSError as error:
        raise HepcatError(f"{path}: cannot be read: {error.strerror}") from None
    if len(octets) > _LARGEST:
        raise HepcatError(f"{path}: {len(octets)} octets are too many for a configuration file")
    return _Builder(path).build(octets)


class _Builder:
    """Collects elements while expat goes through the octets."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._parser = parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.EntityDeclHandler = self._entity
        parser.ExternalEntityRefHandler = self._entity
        parser.SkippedEntityHandler = self._entity
        self._open: list[Element] = []
        self._root: Element | None = None

    def build(self, octets: bytes) -> Element:
        try:
            self._parser.Parse(octets, True)
        except expat.ExpatError as error:
            words = expat.errors.messages[error.code]
            raise HepcatError(
                f"{self._path}:{error.lineno}:{error.offset + 1}: not well-formed XML: {words}"
            ) from None
        except (ValueError, LookupError) as error:  # an encoding that Python does not know
            raise self._error(f"cannot be read: {error}") from None
        assert self._root is not None
        return self._root

    def _error(self, message: str) -> HepcatError:
        return HepcatError(f"{self._path}:{self._parser.CurrentLineNumber}: {message}")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if len(self._open) >= _DEEPEST:
            raise self._error("elements are nested too deeply for a configuration file")
        element = Element(tag, self._parser.CurrentLineNumber, attributes)
        if self._open:
            self._open[-1].children.append(element)
        else:
            self._root = element
        self._open.append(element)

    def _end(self, tag: str) -> None:
        self._open.pop()

    def _text(self, text: str) -> None:
        if self._open:
            self._open[-1].text += text

    def _entity(self, *_: object) -> int:
        raise self._error("entities are not read; write the values out")
