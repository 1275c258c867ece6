"""Fuzz capture plans: the language, the functions on hostile payloads, and the kernels that rewrite messages.

Invariants:
1. A text compiles, or raises PlanError with a position within the text; nothing else is raised.
2. Whatever compiles runs on whatever payload: each row is sent, dropped and counted, or left, never two.
3. Pseudonyms keep the length of a message, its line ends, and (where it was well-formed) its index; header
   edits give a message that the same edit leaves alone. Extension and plain Python code agree in every octet.

The plain code runs instrumented. Run by fuzz/run.py.
"""

import importlib.machinery
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]
os.environ["HEPCAT_PURE"] = "1"

import atheris  # noqa: E402
import numpy as np  # noqa: E402
from libfuzzer import fuzz_with  # noqa: E402

import hepcat  # noqa: E402, F401 - installs the finder of plain kernels

with atheris.instrument_imports(include=["hepcat.plans"]):
    from hepcat.plans import header_edit, match, rewrite
    from hepcat.plans.compiler import compile_plan
    from hepcat.plans.errors import PlanError
    from hepcat.plans.plan import Environment
    from hepcat.plans.registry import functions

from tests.wire.make_batch import Datagram, make_batch  # noqa: E402

from hepcat.wire.media import MediaTable  # noqa: E402

KEY = bytes(range(16))
WORDS = (
    *(
        "capture",
        "[",
        "]",
        "{",
        "}",
        "(",
        ")",
        ";",
        ",",
        "if",
        "else",
        "drop",
        "break",
        "debug",
        "=",
        "1",
        "0",
    ),
    *("!", "&&", "||", "and", "or", "not", "yes", "no", "#", "/*", "*/", '"', "'", "\\", "\n", " "),
    *(function.example for function in functions().values()),
    *(
        '("size", "1")',
        '("src_ip", "10.")',
        '"10.0.0.0/8"',
        '"::/0"',
        '"2001:db8::"',
        '"1/3"',
        '"5/s"',
        '"1ms"',
    ),
)
PLANS = tuple(
    f'capture {{ if ({f.example}) send_hep("hepsocket"); else drop; }}' for f in functions().values()
)
TARGETS = ("hepsocket",)
REGEXPS = {"vip": "(a|b)+x"}


def extension(name: str) -> ModuleType | None:
    """Load the extension of hepcat.plans.<name>; None where it was not built."""
    spec = importlib.machinery.PathFinder.find_spec(f"hepcat.plans.{name}", [str(ROOT / "src/hepcat/plans")])
    if spec is None or not isinstance(spec.loader, importlib.machinery.ExtensionFileLoader):
        return None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fast_kernels() -> tuple[Any, Any]:
    """Load the compiled kernels that rewrite messages beside the plain ones, with those that they call."""
    names = ("match", "pseudonyms", "header_edit", "rewrite")
    plain = {name: sys.modules[f"hepcat.plans.{name}"] for name in names}
    loaded: dict[str, Any] = {}
    try:
        for name in names:
            module = extension(name)
            if module is None:
                return plain["header_edit"], plain["rewrite"]
            loaded[name] = sys.modules[f"hepcat.plans.{name}"] = module
    finally:
        sys.modules.update({f"hepcat.plans.{name}": module for name, module in plain.items()})
    return loaded["header_edit"], loaded["rewrite"]


FAST_EDIT, FAST_REWRITE = fast_kernels()


class Target:
    """Takes rows and forgets them."""

    def send(self, batch: Any, rows: Any, edits: Any = None) -> None:
        """Look at the edits as a sink would."""
        for patch in () if edits is None else (edits.payload, edits.correlation_id, edits.tags):
            if patch is not None:
                changed = patch.offset >= 0
                assert (patch.offset[changed] + patch.length[changed] <= len(patch.data)).all()


def text_of(octets: bytes) -> str:
    """Make a plan of octets: each names a word of the language, or stands for itself."""
    words = dict(enumerate(WORDS, 256 - len(WORDS) if len(WORDS) < 128 else 128))
    return "".join(words.get(octet, chr(octet)) for octet in octets[:200])


def run_plan(text: str, octets: bytes) -> None:
    """Invariants 1 and 2."""
    place, plan = (1, 1), None
    try:
        plan = compile_plan(text, "fuzz", TARGETS, REGEXPS, ("X-A",))
    except PlanError as error:
        place = error.line, error.column
    lines = text.split("\n")
    assert 1 <= place[0] <= len(lines)
    assert 1 <= place[1] <= len(lines[place[0] - 1]) + 1
    if plan is None:
        return
    env = Environment({name: Target() for name in TARGETS}, media=MediaTable(16))
    rows = (octets, octets[: len(octets) // 2], b"", octets)
    batch = make_batch(*(Datagram(row, src=src) for row in rows for src in ("10.0.0.1", "2001:db8::1")))
    work = plan.bind(env).run(batch, 0)
    assert not (work.sent & work.dropped).any()
    assert int(env.drops.sum()) == int(work.dropped.sum())


def rewrite_message(octets: bytes) -> None:
    """Invariant 3."""
    before = np.frombuffer(octets, dtype=np.uint8)
    spans = (np.array([0]), np.array([len(octets)]), np.ones(1, dtype=np.bool_))
    for what in (1, 2, 4, 7):
        after = [before.copy() for _ in range(2)]
        for module, data in zip((rewrite, FAST_REWRITE), after, strict=True):
            module.scramble_messages(data, *spans, what, KEY)
        assert (after[0] == after[1]).all()
        ends = (before == 10) | (before == 13)
        assert (after[0][ends] == before[ends]).all()
        first, second = make_batch(octets), make_batch(after[0].tobytes())
        if first.malformed[0] == 0 and first.flags[0] & 3:
            assert second.flags[0] & 3 == first.flags[0] & 3
    for line in (b"", b"X-New: value\r\n"):
        name = "x-new" if line else "via"
        found = [m.edit_headers(before, *spans, name, "v", line) for m in (header_edit, FAST_EDIT)]
        pieces = [out[at[0] : at[0] + size[0]].tobytes() if at[0] >= 0 else None for out, at, size in found]
        assert pieces[0] == pieces[1]
        if pieces[0] is not None and not line:
            again = np.frombuffer(pieces[0], dtype=np.uint8)
            _, at, _ = header_edit.edit_headers(
                again, np.array([0]), np.array([len(again)]), spans[2], name, "v", b""
            )
            assert at[0] < 0, "it was taken out already"


def one_input(octets: bytes) -> None:
    """Run one input: as a plan, as a payload of a plan that works, and as a message to rewrite."""
    run_plan(text_of(octets), b"INVITE sip:a@b SIP/2.0\r\n\r\n")
    if octets:
        run_plan(PLANS[octets[0] % len(PLANS)], octets[1:])
        rewrite_message(octets)
    assert match.BEGINS == 0


def write_seeds(folder: Path) -> None:
    """Begin with a message that has everything, and a plan."""
    from tests.plans.support import SDP, sip

    message = sip(body=SDP, headers='P-Asserted-Identity: "A" <tel:+49;ext=1>\r\nX-New: 10.0.0.1\r\n')
    (folder / "seed-message").write_bytes(message)
    (folder / "seed-plan").write_bytes(b'capture { if (parse_sip()) send_hep("hepsocket"); }')


if __name__ == "__main__":
    fuzz_with(one_input, write_seeds)
