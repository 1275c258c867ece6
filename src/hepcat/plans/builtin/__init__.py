"""The plans that a profile gets which names none: files in this folder, with the targets put in.

In: the kind of plan, and the names of targets. Out: the text of a plan. In a file, a line that holds
`send_hep("TARGET")` stands for one such line a target.
"""

from collections.abc import Collection
from importlib import resources
from typing import Final

from hepcat.errors import HepcatError
from hepcat.plans.errors import nearest

#: Kinds: sip (learns media), rtcp (of known calls), default (both, and reports, Diameter, DNS, ISUP, syslog).
KINDS: Final = ("default", "sip", "rtcp")
_PLACE: Final = '"TARGET"'


def builtin_plan(kind: str, targets: Collection[str]) -> str:
    """Return the text of a built-in plan that sends to each of the targets. Raises HepcatError."""
    if kind not in KINDS:
        raise HepcatError(
            f'there is no built-in plan "{kind}"{nearest(kind, KINDS)}', f"There are: {', '.join(KINDS)}."
        )
    if not targets:
        raise HepcatError("a built-in plan needs a target to send to", "Name one in [[agent.targets]].")
    text = resources.files("hepcat.plans.builtin").joinpath(f"{kind}.cfg").read_text(encoding="utf-8")
    lines: list[str] = []
    for line in text.splitlines(keepends=True):
        lines += [line.replace(_PLACE, f'"{name}"') for name in targets] if _PLACE in line else [line]
    return "".join(lines)
