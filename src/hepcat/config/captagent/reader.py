"""captagent.xml, its modules' XML and the plans they name, read into the agent's settings.

In: the path of captagent.xml, or of the folder it is in. Out: `Converted`: settings, and a warning with file
and line for every parameter that has another effect than in the original. What can go wrong: HepcatError
with file and line: a file that is missing or malformed, a plan that is missing, a target without a host, or
nothing left to capture. Plans are found here and compiled elsewhere.

Folders that captagent.xml names and that are not there (the files were copied) are looked for beside it.
"""

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from hepcat.config.agent import AgentSettings
from hepcat.config.captagent import outputs, shared, sockets
from hepcat.config.captagent.params import Params
from hepcat.config.captagent.xml import Element, parse_xml
from hepcat.config.report import Report, Warning
from hepcat.errors import HepcatError

_CAPTURES: Final = {
    "socket_pcap": sockets.read_pcap,
    "socket_collector": sockets.read_collector,
    "socket_rtcpxr": sockets.read_collector,  # its older name
    "socket_tzsp": sockets.read_tzsp,
}
_OUTPUTS: Final = {
    "transport_hep": outputs.read_hep,
    "output_json": outputs.read_json,
    "transport_json": outputs.read_json,  # its older name
}
KNOWN: Final = (*_CAPTURES, *_OUTPUTS, *shared.SHARED, *shared.REFUSED)

#: Names of profiles and targets (config/agent.py).
_NAME: Final = re.compile(r"[A-Za-z0-9_.\-]{1,64}")


@dataclass(frozen=True, slots=True)
class Converted:
    """What captagent's files ask for: settings of the agent, and what is done otherwise."""

    settings: AgentSettings
    warnings: list[Warning]


def read_captagent(path: Path) -> Converted:
    """Read captagent's configuration. path: captagent.xml or its folder. Raises HepcatError."""
    path = path.absolute()
    if path.is_dir():
        path = path / "captagent.xml"
    if not path.exists():
        raise HepcatError(f"there is no {path}", "Name captagent's captagent.xml, or the folder it is in.")
    return _Reader(path).read()


class _Reader:
    """Reads one set of files. Fields are collected as the settings' models take them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._report = Report()
        self._fields: dict[str, Any] = {}
        self._names: dict[str, set[str]] = {"profiles": set(), "targets": set()}
        self._folder = path.parent
        self._plans = sockets.Plans((path.parent,))

    def read(self) -> Converted:
        root = parse_xml(self._path)
        loads = []
        if root.tag != "document":
            self._report.problem(self._path, root.line, root.tag, "is not captagent.xml: no <document>")
        for block in root.children:
            if block.tag != "configuration":
                self._report.warn(self._path, block.line, block.tag, "is not read in captagent.xml")
                continue
            loads += [load for modules in block.all("modules") for load in modules.all("load")]
            if any(block.all("settings")):
                self._read_core(block)
        self._read_modules(loads)
        self._tell_not_loaded({load.get("module") or "" for load in loads})
        self._report.raise_problems()
        told = sorted(self._report.warnings, key=lambda warning: (str(warning.file), warning.line))
        return Converted(self._settings(), told)

    # captagent.xml

    def _read_core(self, block: Element) -> None:
        params = Params(self._path, block, self._report)
        beside = self._path.parent
        self._folder = self._existing(params, "config_path", (beside,))
        places = (self._folder / "captureplans", beside / "captureplans", self._folder / "plans", beside)
        folder = self._existing(params, "capture_plans_path", places)
        self._plans = sockets.Plans((folder, self._folder))
        self._fields["plans"] = folder
        shared.read_core(params, self._fields)

    def _existing(self, params: Params, name: str, places: tuple[Path, ...]) -> Path:
        """Return a folder that is there: the one named, else the first of the places."""
        found = next((place for place in places if place.is_dir()), self._path.parent)
        given = params.text(name)
        if given is None:
            return found
        folder = self._path.parent / given
        if folder.is_dir():
            return folder
        params.unmet(name, f"there is no folder {given}; {found} is read instead")
        return found

    # Modules

    def _read_modules(self, loads: list[Element]) -> None:
        seen: set[str] = set()
        for load in loads:
            name = load.get("module") or ""
            where = (self._path, load.line, name or "load")
            if not name:
                self._report.warn(*where, "names no module")
            elif name in seen:
                self._report.inform(*where, "is loaded twice; once is enough")
            elif name not in KNOWN:
                near = next(iter(difflib.get_close_matches(name, KNOWN, n=1)), "")
                hint = f'did you mean "{near}"?' if near else f"there are {', '.join(sorted(KNOWN))}"
                self._report.warn(*where, f"is not known; {hint}")
            elif name in shared.REFUSED:
                self._report.warn(*where, shared.REFUSED[name])
            else:
                self._read_module(name, load)
            seen.add(name)

    def _read_module(self, name: str, load: Element) -> None:
        if (load.get("register") or "local") != "local":
            self._report.warn(self._path, load.line, name, "register is not local; the local file is read")
        file = self._folder / f"{name}.xml"
        if not file.exists():
            if name in _CAPTURES or name in _OUTPUTS:
                self._report.problem(self._path, load.line, name, f"there is no {file}")
            else:
                self._report.warn(self._path, load.line, name, f"there is no {file}; defaults hold")
            return
        root = parse_xml(file)
        found = list(root.all("module"))
        if not found:
            self._report.problem(file, root.line, root.tag, "has no <module>")
        for module in found:
            own = module.get("name") or name
            if own != name:
                self._report.warn(file, module.line, own, f"stands in the file of {name} and is read as that")
            for profile in self._enabled(file, module):
                self._read_profile(name, file, profile)
        serial = next((module.line for module in found if module.get("serial")), None)
        if serial is not None:
            words = "says which version the file is; nothing depends on it"
            self._report.inform(file, serial, "serial", words)

    def _enabled(self, file: Path, module: Element) -> Iterator[Element]:
        """Yield the profiles that run; tell of the others."""
        for profile in module.children:
            name = profile.get("name") or profile.tag
            enable = profile.get("enable")
            if profile.tag != "profile":
                self._report.warn(file, profile.line, profile.tag, "is not read within a module")
            elif enable is None:
                words = 'has no enable="true" and is left out, as in captagent'
                self._report.warn(file, profile.line, name, words)
            elif enable.lower() != "true":
                self._report.inform(file, profile.line, name, f'is left out: enable="{enable}"')
            else:
                yield profile

    def _read_profile(self, module: str, file: Path, profile: Element) -> None:
        params = Params(file, profile, self._report)
        if module in _CAPTURES:
            fields = _CAPTURES[module](params, self._plans, self._report)
            self._add("profiles", params, fields)
        elif module in _OUTPUTS:
            self._add("targets", params, _OUTPUTS[module](params))
        else:
            shared.SHARED[module](params, self._fields)

    def _add(self, kind: str, params: Params, fields: dict[str, Any]) -> None:
        """Add a profile or a target under a name that is allowed and free."""
        name = params.owner if _NAME.fullmatch(params.owner) else ""
        name = name or re.sub(r"[^A-Za-z0-9_.\-]", "_", params.owner)[:64] or kind
        number = 2
        free = name
        while free in self._names[kind]:
            free, number = f"{name[:60]}-{number}", number + 1
        if free != params.owner:
            where = (params.file, params.line, params.owner)
            hint = "; plans that send to it must say so" if kind == "targets" else ""
            self._report.warn(*where, f'is called "{free}" here, since names are unique and plain{hint}')
        self._names[kind].add(free)
        self._fields.setdefault(kind, []).append({"name": free, **fields})

    def _tell_not_loaded(self, loaded: set[str]) -> None:
        for name in sorted(KNOWN):
            file = self._folder / f"{name}.xml"
            if name not in loaded and file.is_file():
                self._report.inform(file, 1, name, "is left out: captagent.xml does not load it")

    # All together

    def _settings(self) -> AgentSettings:
        if not self._fields.get("profiles"):
            raise HepcatError(
                f"{self._path}: nothing to capture: no socket module is loaded with an enabled profile",
                'Load socket_pcap in captagent.xml, and set enable="true" in its profile.',
            )
        ids = [target["node_id"] for target in self._fields.get("targets", []) if "node_id" in target]
        if ids:
            self._fields["node_id"] = ids[0]
        try:
            return AgentSettings.model_validate(self._fields)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            words = str(first["msg"]).removeprefix("Value error, ")
            raise HepcatError(f"{self._path}: {where}: {words}") from None
