"""kamailio.cfg, second step: lines to tokens.

In: lines. Out: `Token`s: words, numbers, strings, single signs, with file and line. Comments are gone, and
defined names are replaced. What can go wrong: HepcatError for a string or a
comment without end.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from hepcat.config.kamailio.lines import Definitions, Line
from hepcat.errors import HepcatError

Kind = Literal["word", "string", "sign", "end"]
#: A word: letters of names, addresses, paths; what is no white space and no sign with a meaning.
_WORD: Final = re.compile(r"[A-Za-z0-9_.$@%+\-/\\?~^&|<>!]+|:")
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "'": "'"}


@dataclass(frozen=True, slots=True)
class Token:
    """kind "end": the end of a line."""

    kind: Kind
    text: str
    file: Path
    line: int


def tokens(lines: Iterable[Line], definitions: Definitions) -> Iterator[Token]:
    """Yield the tokens of a file."""
    comment: Line | None = None
    string: tuple[Line, str, list[str]] | None = None  # where it began, its quote, its parts so far
    for line in lines:
        at, text = 0, line.text
        while at < len(text):
            if comment is not None:
                end = text.find("*/", at)
                if end < 0:
                    break
                comment, at = None, end + 2
            elif string is not None:
                piece, at, closed = _string_part(text, at, string[1])
                string[2].append(piece)
                if closed:
                    whole = definitions.within_string("".join(string[2]))
                    yield Token("string", whole, string[0].file, string[0].number)
                    string = None
            elif text[at].isspace():
                at += 1
            elif text[at] == "#" or text.startswith("//", at):
                break
            elif text.startswith("/*", at):
                comment, at = line, at + 2
            elif text[at] in "\"'":
                string, at = (line, text[at], []), at + 1
            else:
                token, at = _word(text, at, line)
                yield from _replaced(token, definitions)
        if string is not None:
            string[2].append("\n")
        elif comment is None:
            yield Token("end", "", line.file, line.number)
    left = comment or (string[0] if string is not None else None)
    if left is not None:
        what = "comment" if comment is not None else "string"
        raise HepcatError(f"{left.file}:{left.number}: this {what} has no end")


def _string_part(text: str, at: int, quote: str) -> tuple[str, int, bool]:
    """Return the text up to the quote or the end of the line, the place behind it, whether it is closed."""
    parts: list[str] = []
    while at < len(text):
        char = text[at]
        if char == quote:
            return "".join(parts), at + 1, True
        if char == "\\" and quote == '"' and at + 1 < len(text):
            parts.append(_ESCAPES.get(text[at + 1], text[at : at + 2]))
            at += 2
            continue
        parts.append(char)
        at += 1
    return "".join(parts), at, False


def _word(text: str, at: int, line: Line) -> tuple[Token, int]:
    match = _WORD.match(text, at)
    if match is None:
        return Token("sign", text[at], line.file, line.number), at + 1
    end = match.end()
    for mark in ("//", "/*"):  # a comment right behind a word
        place = text.find(mark, at + 1, end + 1)
        end = place if 0 <= place < end else end
    return Token("word", text[at:end], line.file, line.number), end


def _replaced(token: Token, definitions: Definitions) -> Iterator[Token]:
    """Yield what a defined name stands for, which is not looked at again; else the token."""
    value = definitions.names.get(token.text) if token.kind == "word" else None
    if not value:
        yield token
        return
    at = 0
    line = Line(token.file, token.line, value)
    while at < len(value):
        if value[at].isspace():
            at += 1
            continue
        if value[at] in "\"'":
            text, at, _ = _string_part(value, at + 1, value[at])
            yield Token("string", definitions.within_string(text), token.file, token.line)
            continue
        made, at = _word(value, at, line)
        yield made
