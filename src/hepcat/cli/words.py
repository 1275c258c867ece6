"""Commands that take a query: words of it may begin with a dash (`-method:OPTIONS`).

In: arguments in any order. Out: the options, then the words of the query. What begins with a dash
and is no option of the command is a word; two dashes in front are always an option; after `--`
everything is a word.
"""

from collections.abc import Sequence
from typing import Any

from typer.core import TyperCommand


def split_words(arguments: Sequence[str], takes_value: dict[str, bool]) -> tuple[list[str], list[str]]:
    """Return (options with their values, words). `takes_value`: for each option as it is spelt."""
    options: list[str] = []
    words: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        name, equals, _ = argument.partition("=")
        if argument == "--":
            words += rest
        elif name in takes_value and (not equals or name.startswith("--")):
            options.append(argument)
            if takes_value[name] and not equals:
                options += [value for value in (next(rest, None),) if value is not None]
        elif argument.startswith("--"):
            options.append(argument)  # unknown: the parser says so, with a suggestion
        else:
            words.append(argument)
    return options, words


class QueryCommand(TyperCommand):
    """A command whose words are a query."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse with the words moved behind `--`, where a dash means nothing."""
        takes_value = {
            name: not (getattr(option, "is_flag", False) or getattr(option, "count", False))
            for option in self.get_params(ctx)
            if option.param_type_name == "option"
            for name in (*option.opts, *option.secondary_opts)
        }
        options, words = split_words(args, takes_value)
        return super().parse_args(ctx, [*options, "--", *words] if words else options)
