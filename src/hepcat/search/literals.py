"""What a text must hold for a pattern to match: plain words that any database can look for.

In: regular expressions in RE2's syntax, patterns of the query language. Out: literals, ASCII only, that occur
in every text that matches (in any case of letters). What can go wrong: nothing; where nothing is certain,
there are none.
"""

import re
import warnings
from collections.abc import Iterable
from typing import Any, Final

from hepcat.search.ast import Pattern, Wild

#: Classes such as [[:alpha:]], which Python reads as something else, and octal numbers.
_OTHER: Final = re.compile(r"\[:|\\[0-9]")
#: A shorter literal thins out nothing.
_SHORTEST: Final = 2


def of_regex(pattern: str) -> list[str]:
    """Return literals that every match of the expression holds; letters may be in another case.

    Python's parser is asked: what RE2 accepts it reads the same way, or refuses; the few forms that it
    reads otherwise give nothing.
    """
    if _OTHER.search(pattern):
        return []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parsed: Any = re._parser.parse(pattern)
    except (re.error, RecursionError, OverflowError, ValueError):
        return []
    return _kept(_literals(parsed))


def _literals(parsed: Any) -> Iterable[str]:
    """Yield the runs of characters that must occur; an empty one where a run is broken."""
    run = ""
    for code, argument in parsed:
        name = str(code)
        if name == "LITERAL" and 0 < argument < 128:
            run += chr(argument)
            continue
        yield run
        run = ""
        if name == "SUBPATTERN":
            yield from _literals(argument[-1])
        elif name in ("MAX_REPEAT", "MIN_REPEAT") and argument[0] > 0:
            yield from _literals(argument[2])
    yield run


def of_text(text: str) -> list[str]:
    """Return the ASCII parts of a text."""
    return _kept(re.split(r"[^\x01-\x7f]+", text))


def of_pattern(pattern: Pattern) -> list[str]:
    """Return the ASCII parts of a pattern's text."""
    return _kept(part for text in pattern if isinstance(text, str) for part in of_text(text))


def _kept(runs: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(run for run in runs if len(run) >= _SHORTEST))


def plain(pattern: Pattern) -> tuple[tuple[str | Wild, ...], bool]:
    """Return a pattern of ASCII text and ANY that matches wherever this one does, and whether it is the same.

    What stands in the place of one character, or of a character that not every column can hold, is any text.
    """
    parts: list[str | Wild] = []
    same = True
    for part in pattern:
        if isinstance(part, Wild):
            same = same and part is Wild.ANY
            _add(parts, Wild.ANY)
            continue
        for i, run in enumerate(re.split(r"[^\x01-\x7f]+", part)):
            if i:
                same = False
                _add(parts, Wild.ANY)
            if run:
                _add(parts, run)
    return tuple(parts), same


def _add(parts: list[str | Wild], part: str | Wild) -> None:
    if part is not Wild.ANY or not parts or parts[-1] is not Wild.ANY:
        parts.append(part)
