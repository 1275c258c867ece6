"""All functions of the plan language, by name: one place for the compiler, the documentation and the tests.

In: nothing. Out: name -> `Function`. The folder functions/ holds them, a file for each kind. A test walks
this registry: each has a doc line, an example that compiles, and cases in which it is true and false.
"""

import functools
from collections.abc import Mapping
from typing import Final

from hepcat.plans.function import MODULE_OF_OURS, Function

MODULES: Final = ("message", "sip", "marks", "send", "media", "json_", "beyond", "privacy")


@functools.cache
def functions() -> Mapping[str, Function]:
    """Return every function by its name."""
    import importlib

    table: dict[str, Function] = {}
    for module in MODULES:
        for function in importlib.import_module(f"hepcat.plans.functions.{module}").FUNCTIONS:
            assert function.name not in table, function.name
            table[function.name] = function
    return table


def functions_reference() -> str:
    """Write the table of functions for docs/plans.md."""
    lines = ["| function | module | what it is true for, and does | for instance |\n", "|---|---|---|---|\n"]
    ordered = sorted(functions().values(), key=lambda f: (f.module == MODULE_OF_OURS, f.module))
    for function in ordered:
        words = [function.doc, *(f"`{p.name}`: {p.doc}." for p in function.parameters)]
        cells = (f"`{function.signature}`", function.module, " ".join(words), f"`{function.example}`")
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n")
    return "".join(lines)
