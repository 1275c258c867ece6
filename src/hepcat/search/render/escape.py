"""Text from the wire made safe to show: in a terminal, in a line, in a column of so many cells.

In: any text or octets. Out: text in which nothing acts on a terminal or changes the order of what
follows: control characters, invisible and direction-changing ones, combining marks, private and
unassigned code points are shown as escapes (`\\x1b`, `\\u202e`). What can go wrong: nothing.
"""

import re
import unicodedata
from typing import Final

ELLIPSIS: Final = "…"
#: Longest text that is looked at where one line is wanted; keeps 10,000-character names cheap.
_LONGEST: Final = 400
_PLAIN: Final = re.compile(r"[ -~]*")  # printable ASCII
#: Unicode general categories that are shown as they are.
_SHOWN: Final = frozenset(
    ("Lu", "Ll", "Lt", "Lm", "Lo", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po")
)
_SYMBOLS: Final = frozenset(("Sm", "Sc", "Sk", "So"))


def safe_text(text: str) -> str:
    """Return one line that is safe in a terminal."""
    if _PLAIN.fullmatch(text):
        return text
    return "".join(map(_safe_character, text))


def safe_line(text: str | None, longest: int = _LONGEST) -> str:
    """Return safe_text of a text's beginning, cut to `longest` characters with an ellipsis."""
    if not text:
        return ""
    if len(text) > longest:
        text = text[: longest - 1] + ELLIPSIS
    return safe_text(text)


def safe_block(octets: bytes) -> list[str]:
    """Return a message's lines, each safe in a terminal; octets that are not UTF-8 as `\\xNN`."""
    text = octets.decode("utf-8", "surrogateescape")
    lines = re.split(r"\r\n|\n", text)
    if lines and lines[-1] == "":
        lines.pop()
    return [safe_text(line) for line in lines]


def _safe_character(character: str) -> str:
    if " " <= character <= "~":
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # an octet that was not UTF-8 (surrogateescape)
        return f"\\x{code - 0xDC00:02x}"
    category = unicodedata.category(character)
    if category in _SHOWN or category in _SYMBOLS:
        return character
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def cells(text: str) -> int:
    """Return how many terminal cells a safe text takes: East Asian wide characters take two."""
    if text.isascii():
        return len(text)
    return sum(_wide(character) for character in text)


def fit(text: str, width: int) -> str:
    """Return a safe text cut to `width` cells; what is cut ends in an ellipsis."""
    if cells(text) <= width:
        return text
    if width <= 0:
        return ""
    taken, used = [], 0
    for character in text:
        used += _wide(character)
        if used > width - 1:
            break
        taken.append(character)
    return "".join(taken) + ELLIPSIS


def fit_middle(text: str, width: int) -> str:
    """Cut in the middle: the ends of addresses and Call-IDs tell most."""
    if cells(text) <= width:
        return text
    if width < 8 or not text.isascii():
        return fit(text, width)
    tail = (width - 1) // 2
    return text[: width - 1 - tail] + ELLIPSIS + text[-tail:]


def split_cells(text: str) -> list[str]:
    """Return a safe text cell by cell; the second cell of a wide character is an empty string."""
    if text.isascii():
        return list(text)
    out: list[str] = []
    for character in text:
        out.append(character)
        if _wide(character) == 2:
            out.append("")
    return out


def _wide(character: str) -> int:
    return 2 if character > "\u10ff" and unicodedata.east_asian_width(character) in "WF" else 1
