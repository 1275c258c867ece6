"""kamailio.cfg, last step: statements to settings.

In: the file that a capture server's kamailio is started with. Out: tables of hepcat's configuration, where
each value came from, and a warning with file and line for each line that has no counterpart. What can go
wrong: HepcatError with file and line. The values are checked by the settings' model, as those of TOML are.

The routing script is not run: which messages it would store, and where, is told as a warning.
"""

import difflib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from hepcat.config.kamailio.lines import LineReader
from hepcat.config.kamailio.listen import Listen, hep_listeners
from hepcat.config.kamailio.parameters import CORE, PARAMETERS, REPEATABLE, SILENT_MODULES
from hepcat.config.kamailio.tokens import Token, tokens
from hepcat.config.report import Report, Warning
from hepcat.errors import HepcatError

#: What a routing script calls to store a message.
_STORING: Final = ("sip_capture", "report_capture")
_BLOCKS: Final = ("route", "request_route", "reply_route", "onreply_route", "failure_route", "branch_route",
                  "event_route", "onsend_route", "error_route")  # fmt: skip


@dataclass(slots=True)
class Converted:
    """document: tables as tomllib would give them. origins: location of a value -> "FILE:LINE"."""

    document: dict[str, Any] = field(default_factory=dict)
    origins: dict[tuple[str | int, ...], str] = field(default_factory=dict)
    warnings: list[Warning] = field(default_factory=list)


def read_kamailio(path: Path) -> Converted:
    """Read a kamailio.cfg with everything it includes."""
    reader = LineReader()
    lines = list(reader.read(path))
    found = _Statements(path)
    found.read(list(tokens(lines, reader.definitions)))
    return found.finish()


class _Statements:
    """Walks over the tokens, a statement at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.converted = Converted()
        self.report = Report()
        self.listens: list[Listen] = []
        self.port = 5060
        self.modules: set[str] = set()

    def read(self, found: list[Token]) -> None:
        """Take every statement over."""
        at = 0
        while at < len(found):
            token = found[at]
            if token.kind == "end" or token.text == ";":
                at += 1
            elif token.text.partition("[")[0] in _BLOCKS:
                at = self._block(found, at)
            elif token.text in ("modparam", "modparamx"):
                at = self._modparam(found, at)
            elif token.text in ("loadmodule", "loadmodulex", "loadpath", "mpath"):
                at = self._load(found, at)
            else:
                at = self._core(found, at)

    def finish(self) -> Converted:
        """Make what follows from all statements together."""
        self._doors()
        self._listeners()
        self.report.raise_problems()
        self.converted.warnings = sorted(
            self.report.warnings, key=lambda w: (w.file != self.path, str(w.file), w.line)
        )
        if "sipcapture" not in self.modules and "sipcapture" not in self.converted.document:
            raise HepcatError(
                f"{self.path}: it loads no module sipcapture, and sets no parameter of it",
                "Name the file of the capture server; modules behind #!ifdef are read as kamailio would.",
            )
        self.converted.document.setdefault("sipcapture", {})
        return self.converted

    # -- statements

    def _modparam(self, found: list[Token], at: int) -> int:
        values, end = _arguments(found, at)
        place = found[at]
        if len(values) != 3 or values[0].kind != "string" or values[1].kind != "string":
            self.report.problem(place.file, place.line, "modparam", 'write modparam("module", "name", value)')
            return end
        name, value = values[1].text, values[2]
        for module in values[0].text.split("|"):
            self._parameter(module.strip(), name.strip(), value, place)
        return end

    def _parameter(self, module: str, name: str, value: Token, place: Token) -> None:
        target = PARAMETERS.get((module, name))
        if target is None:
            if module == "sipcapture":
                known = [parameter for owner, parameter in PARAMETERS if owner == module]
                near = next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.7)), "")
                hint = f'; did you mean "{near}"?' if near else ""
                self.report.problem(place.file, place.line, name, f"sipcapture has no such parameter{hint}")
            else:
                self.report.warn(place.file, place.line, f"{module} {name}", "has no counterpart")
            return
        path, note = target
        if note:
            self.report.inform(place.file, place.line, name, note)
        text = value.text
        number = int(text) if value.kind == "word" and text.lstrip("-").isdigit() else None
        if name in REPEATABLE:
            table = self._table(path)
            table[path[-1]] = [*table.get(path[-1], []), text]
            self.converted.origins[path] = f"{place.file}:{place.line}"
        else:
            self._put(path, _plain(module, name, text, number), place)

    def _load(self, found: list[Token], at: int) -> int:
        end = _line_end(found, at)
        for token in found[at + 1 : end]:
            if token.kind == "string" and found[at].text.startswith("loadmodule"):
                module = Path(token.text).name.removesuffix(".so")
                self.modules.add(module)
                if module not in SILENT_MODULES and not module.startswith("db_"):
                    self.report.warn(token.file, token.line, f"loadmodule {module}", "has no counterpart")
        return end

    def _core(self, found: list[Token], at: int) -> int:
        token, end = found[at], _line_end(found, at)
        rest = [t for t in found[at + 1 : end] if t.kind != "end"]
        name, values = token.text, rest
        if rest and rest[0].text == "=":
            values = rest[1:]
        if name == "listen":
            self.listens.append(Listen("".join(t.text for t in _before_options(values)), token))
        elif name == "port" and values and values[0].text.isdigit():
            self.port = int(values[0].text)
        elif name in CORE and values:
            path, note = CORE[name]
            if path:
                self._put(path, values[0].text, token)
            if note:
                self.report.inform(token.file, token.line, name, note)
        else:
            self.report.warn(token.file, token.line, name, "has no counterpart")
        return end

    def _block(self, found: list[Token], at: int) -> int:
        """Pass over a routing block; note which functions store."""
        head, depth = found[at], 0
        for place in range(at, len(found)):
            token = found[place]
            if token.text in _STORING and token.kind == "word":
                self._storing(found, place)
            depth += (token.text == "{" and token.kind == "sign") - (
                token.text == "}" and token.kind == "sign"
            )
            if depth == 0 and token.text == "}" and token.kind == "sign":
                self.report.warn(
                    head.file, head.line, _block_name(found, at),
                    "the routing script is not run: every message of the capture modes is stored",
                )  # fmt: skip
                return place + 1
        raise HepcatError(f"{head.file}:{head.line}: this block is not closed by }}")

    def _storing(self, found: list[Token], at: int) -> None:
        """Tell of a table that the script names: nothing here chooses a table by script."""
        token = found[at]
        named = next((t.text for t in found[at + 1 : at + 3] if t.kind == "string"), "")
        if named:
            self.report.warn(
                token.file, token.line, f'{token.text}("{named}")',
                "the script does not choose the table; name it in table_name where it is wanted",
            )  # fmt: skip

    # -- what follows

    def _doors(self) -> None:
        """The FIFOs have default places where their module is loaded."""
        control = self._table(("control", ""))
        if "jsonrpcs" in self.modules:
            control.setdefault("rpc_fifo", "/run/kamailio/kamailio_rpc.fifo")
        elif "rpc_fifo" not in control and "mi_fifo" not in self.modules:
            self.report.inform(
                self.path,
                1,
                "kamctl",
                "no FIFO for it: set rpc_fifo in [control] to switch capture by kamctl",
            )
        if "mi_fifo" in self.modules:
            control.setdefault("mi_fifo", "/tmp/kamailio_fifo")
        if not control:
            del self.converted.document["control"]

    def _listeners(self) -> None:
        urls = list(hep_listeners(self.listens, self.port, self.report))
        if urls:
            self._table(("hep", ""))["listen"] = list(dict.fromkeys(urls))
            place = self.listens[0].token if self.listens else None
            if place is not None:
                self.converted.origins["hep", "listen"] = f"{place.file}:{place.line}"

    def _table(self, path: tuple[str, ...]) -> dict[str, Any]:
        table = self.converted.document
        for name in path[:-1]:
            table = table.setdefault(name, {})
        return table

    def _put(self, path: tuple[str, ...], value: Any, place: Token) -> None:
        self._table(path)[path[-1]] = value
        self.converted.origins[path] = f"{place.file}:{place.line}"


def _plain(module: str, name: str, text: str, number: int | None) -> Any:
    if number is not None and (module, name) != ("sipcapture", "callid_aleg_header"):
        return number
    return text


def _arguments(found: list[Token], at: int) -> tuple[list[Token], int]:
    """Return the arguments between parentheses, and the place behind; strings side by side are one."""
    values: list[Token] = []
    fresh = True
    for place in itertools.islice(range(at, len(found)), 1, 4096):
        token = found[place]
        if token.text == "(" and token.kind == "sign":
            continue
        if token.text == ")" and token.kind == "sign":
            return values, place + 1
        if token.text == "," and token.kind == "sign":
            fresh = True
        elif token.kind != "end" and fresh:
            values.append(token)
            fresh = False
        elif token.kind == "string" and values and values[-1].kind == "string":
            values[-1] = Token("string", values[-1].text + token.text, values[-1].file, values[-1].line)
    raise HepcatError(f"{found[at].file}:{found[at].line}: {found[at].text}( is not closed by )")


def _block_name(found: list[Token], at: int) -> str:
    """Return `route[STORE]` where the block stands whose head is there, or `route`."""
    if found[at + 1].text != "[":
        return found[at].text
    inside = itertools.takewhile(lambda token: token.text not in ("]", "{"), found[at + 1 :])
    return f"{found[at].text}{''.join(token.text for token in inside)}]"


def _line_end(found: list[Token], at: int) -> int:
    while at < len(found) and found[at].kind != "end":
        at += 1
    return at


def _before_options(values: Iterable[Token]) -> Iterator[Token]:
    """Yield what stands before `advertise`, `name`, `virtual` and the like."""
    for token in values:
        if token.text in ("advertise", "name", "virtual") or (token.text == "as" and token.kind == "word"):
            return
        yield token
