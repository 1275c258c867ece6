"""Regular expressions of the configuration: compiled, and looked at for those that never end.

In: a pattern as text. Out: a compiled pattern for octets. What can go wrong: PlanError at the argument that
names it. Python's engine goes back and forth: a repeat within a repeat can take time that doubles with each
octet. Such a pattern is warned of; how much it is shown of a message is bounded by who calls it.
"""

import re
import warnings
from typing import Any

from hepcat.plans.ast import Argument
from hepcat.plans.function import Context

MAX_PATTERN = 2000


def compile_pattern(context: Context, argument: Argument, pattern: str) -> re.Pattern[bytes]:
    """Compile a named pattern."""
    if len(pattern) > MAX_PATTERN:
        context.fail(argument, f'the regular expression "{argument.text}" is over {MAX_PATTERN} characters')
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compiled = re.compile(pattern.encode())
    except (re.error, OverflowError, RecursionError) as error:
        context.fail(argument, f'the regular expression "{argument.text}" cannot be read: {error}')
    if nested_repeat(pattern):
        context.warn(
            argument,
            f'the regular expression "{argument.text}" has a repeat within a repeat: '
            "some messages may take it very long",
        )
    return compiled


def nested_repeat(pattern: str) -> bool:
    """Whether an unbounded repeat stands within another."""
    parser: Any = getattr(re, "_parser")  # noqa: B009 (the module is private; no other shows the tree)
    todo: list[tuple[Any, bool]] = [(parser.parse(pattern.encode()), False)]
    while todo:
        node, inside = todo.pop()
        if isinstance(node, parser.SubPattern | list):
            todo += [(part, inside) for part in node]
        elif isinstance(node, tuple):
            name = str(node[0]) if node else ""
            if name in ("MAX_REPEAT", "MIN_REPEAT"):
                many = node[1][1] == parser.MAXREPEAT or node[1][1] > 100
                if many and inside:
                    return True
                todo.append((node[1][2], inside or many))
            else:
                todo += [(part, inside) for part in node[1:]]
    return False
