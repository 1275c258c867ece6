"""Reads the settings: flags before environment before file before defaults.

In: a TOML file (or none), the environment, values of flags. Out: `Settings`. What can go wrong:
`ConfigError`, which holds every problem with its place (file and line, variable or flag), what was found
and what is allowed. Secrets are never part of a message.
"""

import difflib
import json
import os
import re
import tomllib
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from hepcat.config import positions
from hepcat.config.settings import HepKey, Settings
from hepcat.errors import HepcatError

PREFIX: Final = "HEPCAT_"
#: Variables of ours that are no settings.
OTHER_VARIABLES: Final = frozenset({"HEPCAT_CONFIG", "HEPCAT_PURE", "HEPCAT_KERNEL", "HEPCAT_SHARED"})

#: Our words for what pydantic says in Python's: by the beginning of an error's type.
_WORDS: Final = {
    "bool_": "has to be true or false",
    "finite_number": "has to be a number",
    "float_": "has to be a number",
    "int_": "has to be a whole number",
    "path_type": "has to be text in quotes",
    "string_sub_type": "has to be text in quotes",
    "string_too_short": "must not be empty",
    "string_type": "has to be text in quotes",
    "too_short": "must not be empty",
    "tuple_type": "has to be a list",
}
#: How pydantic's other messages begin; the setting's name stands before ours.
_SUBJECT: Final = re.compile(r"^(Input|Tuple|List|String|Dictionary) should")

#: Arrays of tables: what stands in them has no variable.
ARRAYS: Final = frozenset({"keys", "profiles", "targets", "databases"})

Location = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where, which setting, and what about it."""

    where: str
    setting: str
    message: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.setting, self.message) if part)


class ConfigError(HepcatError):
    """The configuration cannot be used; `problems` says why, all at once."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class Base(typing.Protocol):
    """Settings read from another program's files, and where each came from."""

    document: dict[str, Any]
    origins: dict[Location, str]


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting as the documentation and the environment know it."""

    path: tuple[str, ...]
    field: FieldInfo
    model: type[BaseModel]

    @property
    def name(self) -> str:
        return ".".join(self.path)

    @property
    def variable(self) -> str | None:
        """The environment variable, None for what only a file can say."""
        return None if ARRAYS & set(self.path) else PREFIX + "_".join(self.path).upper()

    @property
    def secret(self) -> bool:
        return SecretStr in (self.field.annotation, *typing.get_args(self.field.annotation))


def walk_settings(model: type[BaseModel] = Settings, above: tuple[str, ...] = ()) -> Iterator[Setting]:
    """Yield every setting, depth first; of [[hep.keys]] the settings of one element."""
    for name, field in model.model_fields.items():
        inner = section_of(field)
        if inner is None:
            yield Setting((*above, name), field, model)
        else:
            yield from walk_settings(inner, (*above, name))


def section_of(field: FieldInfo) -> type[BaseModel] | None:
    """Return the model of a field that is a table or an array of tables."""
    for candidate in (field.annotation, *typing.get_args(field.annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def load_settings(
    path: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    base: "Base | None" = None,
) -> Settings:
    """Return the settings. `flags`: by dotted name, such as {"hep.listen": ["udp://..."]}; None is not given.

    path: the file; None means the variable HEPCAT_CONFIG, or no file. base: what the file is laid over.
    Raises ConfigError.
    """
    environ = os.environ if environ is None else environ
    if path is None and environ.get("HEPCAT_CONFIG"):
        path = Path(environ["HEPCAT_CONFIG"])
    document, lines = _read_file(path) if path is not None else ({}, {})
    origins: dict[Location, str] = {}
    if base is not None:
        document = _laid_over(base.document, document)
        origins = {place: origin for place, origin in base.origins.items() if place not in lines}
    for setting in walk_settings():
        if setting.variable and environ.get(setting.variable, "") != "":
            value = _from_text(setting, environ[setting.variable])
            _put(document, setting.path, value, origins, setting.variable)
    for name, value in (flags or {}).items():
        if value is not None:
            _put(document, tuple(name.split(".")), value, origins, _flag(name))
    try:
        return Settings.model_validate(document)
    except ValidationError as error:
        places = _Places(str(path), lines, origins)
        entries: list[dict[str, Any]] = [dict(entry) for entry in error.errors()]
        told = {tuple(entry["loc"])[:-1] for entry in error.errors()}
        # A list whose only element is wrong is "too short" too: one message is enough.
        kept = [e for e in entries if not (e["type"] == "too_short" and e["loc"] in told)]
        problems = [_problem(entry, places) for entry in kept]
        raise ConfigError(sorted(problems, key=_by_line)) from None


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return both tables as one; where both say something, the upper one counts."""
    merged = dict(below)
    for name, value in above.items():
        under = merged.get(name)
        both = isinstance(under, dict) and isinstance(value, dict)
        merged[name] = _laid_over(under, value) if both else value  # type: ignore[arg-type]
    return merged


def _flag(name: str) -> str:
    """Return the flag that gave a setting: of agent.node_id --node-id, of hep.listen --hep."""
    parts = name.split(".")
    return "--" + parts[-1 if parts[0] == "agent" else 0].replace("_", "-")


def unknown_variables(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return (name, suggestion) of variables that look like settings and are none."""
    known = sorted(setting.variable for setting in walk_settings() if setting.variable)
    found = sorted(name for name in environ if name.startswith(PREFIX) and name not in OTHER_VARIABLES)
    return [(name, _closest(name, known)) for name in found if name not in known and _closest(name, known)]


def _read_file(path: Path) -> tuple[dict[str, Any], dict[Location, int]]:
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError([Problem(str(path), "", f"not UTF-8 text at octet {error.start}")]) from None
    except OSError as error:
        raise ConfigError([Problem(str(path), "", f"cannot be read: {error.strerror}")]) from None
    try:
        return tomllib.loads(text), positions.key_lines(text.replace("\r\n", "\n"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([_syntax_problem(path, text, str(error))]) from None
    except RecursionError:
        raise ConfigError([Problem(str(path), "", "brackets nested too deeply")]) from None


def _by_line(problem: Problem) -> tuple[str, int]:
    place, _, line = problem.where.rpartition(":")
    return (place, int(line)) if line.isdigit() else (problem.where, 0)


def _syntax_problem(path: Path, text: str, said: str) -> Problem:
    """Make a problem of tomllib's "... (at line 3, column 7)"."""
    message, _, place = said.rpartition(" (at ")
    line = str(text.count("\n") + 1)
    if place.startswith("line "):
        line = place.removeprefix("line ").partition(",")[0]
        column = place.partition("column ")[2].rstrip(")")
        message += f" at column {column}"
    elif not message:
        message = said
    return Problem(f"{path}:{line}", "", f"not valid TOML: {message[:1].lower()}{message[1:]}")


def _from_text(setting: Setting, text: str) -> Any:
    """Return a variable's text in the shape of the setting: lists by comma, dicts as name=value pairs."""
    origin = typing.get_origin(setting.field.annotation)
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if origin in (tuple, list):
        return parts
    if origin is dict:
        return {key.strip(): value.strip() for key, _, value in (part.partition("=") for part in parts)}
    return text


def _put(
    document: dict[str, Any], path: tuple[str, ...], value: Any, origins: dict[Location, str], origin: str
) -> None:
    """Lay a value over the file's. Where the file has no table there, its own problem is told instead."""
    table = document
    for name in path[:-1]:
        inner = table.setdefault(name, {})
        if not isinstance(inner, dict):
            return
        table = inner
    table[path[-1]] = value
    origins[path] = origin


@dataclass(frozen=True, slots=True)
class _Places:
    file: str
    lines: Mapping[Location, int]
    origins: Mapping[Location, str]

    def of(self, location: Location) -> str:
        """Return where a setting came from: its own place, else the nearest table's around it."""
        for size in range(len(location), 0, -1):
            if location[:size] in self.origins:
                return self.origins[location[:size]]
            inner = [origin for path, origin in self.origins.items() if path[:size] == location[:size]]
            if inner:  # about a whole table, of which a flag or a variable has set something
                return inner[0]
            if location[:size] in self.lines:
                return f"{self.file}:{self.lines[location[:size]]}"
        return self.file if self.file != "None" else "settings"


def _problem(entry: dict[str, Any], places: _Places) -> Problem:
    """Turn one of pydantic's errors into words for people."""
    location: Location = tuple(entry["loc"])
    kind = entry["type"]
    name = _dotted(location)
    if kind == "extra_forbidden":
        return Problem(places.of(location), name, _unknown(location))
    if kind == "missing":
        return Problem(places.of(location), name, "is missing")
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        header = f"[[{_dotted(location[:-1])}]]" if isinstance(location[-1], int) else f"[{name}]"
        return Problem(places.of(location), name, f"has to be a table, as in {header}")
    return Problem(places.of(location), name, _in_words(entry, location))


def _in_words(entry: dict[str, Any], location: Location) -> str:
    """Say what is wrong with a value, and show it where that is safe and helps."""
    kind, value = str(entry["type"]), entry.get("input")
    if kind == "tuple_type" and location[-1] in ARRAYS:
        return f"has to be a list of tables, each as in [[{_dotted(location)}]]"
    if kind == "tuple_type" and isinstance(value, str) and _may_show(location, value):
        return f"has to be a list, as in [{json.dumps(value, ensure_ascii=False)}]"
    message = next((words for begin, words in _WORDS.items() if kind.startswith(begin)), "")
    if not message:
        message = _SUBJECT.sub("should", str(entry["msg"]).removeprefix("Value error, "))
        message = message.replace(" after validation", "")
    if kind not in ("value_error", "string_too_short", "too_short") and _may_show(location, value):
        message += f", found {value!r}"
    return message


def _dotted(location: Location) -> str:
    name = ""
    for part in location:
        name += f"[{part}]" if isinstance(part, int) else f".{part}" if name else str(part)
    return name


def _may_show(location: Location, value: Any) -> bool:
    """Only short scalars, and nothing that could be a secret."""
    secrets = {"keys", "password", "secret", *(s.path[-1] for s in walk_settings() if s.secret)}
    secret = not secrets.isdisjoint(location)
    return not secret and isinstance(value, str | int | float | bool) and len(str(value)) <= 100


def _unknown(location: Location) -> str:
    """Say that a key is unknown, with the nearest known one, else with all that are allowed there."""
    allowed = _allowed(location[:-1])
    key = str(location[-1])
    near = _closest(key, allowed)
    if near:
        return f'unknown setting; did you mean "{near}"?'
    elsewhere = [s.name for s in walk_settings() if s.path[-1] == key and HepKey is not s.model]
    if elsewhere:
        return f"unknown setting here; there is {elsewhere[0]}"
    return f"unknown setting; allowed here: {', '.join(allowed)}"


def _allowed(location: Location) -> list[str]:
    model: type[BaseModel] | None = Settings
    for part in location:
        if isinstance(part, str) and model is not None:
            model = section_of(model.model_fields[part]) if part in model.model_fields else None
    return list(model.model_fields) if model is not None else []


def _closest(name: str, known: list[str]) -> str:
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.7)), "")
