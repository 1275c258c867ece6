"""Settings as TOML, with what differs from the program that they came from as comments.

In: models of settings, warnings. Out: text that `load_settings` reads back to equal settings. Only what was
set is written; keys are in it in clear, since the file would not work without them.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr

from hepcat.config.report import Warning


def write_toml(
    settings: Mapping[str, Any],
    warnings: Iterable[Warning] = (),
    source: str = "",
    program: str = "captagent",
) -> str:
    """Return a configuration file. settings: the tables by name, single values too. source: what it was made
    of, for its first line. program: whose files those were.
    """
    warnings = list(warnings)
    lines = [f"# Made of {_one_line(source)}"] if source else []
    for level, title in (("warning", "Done otherwise than in {program}:"), ("info", "To know:")):
        told = [warning for warning in warnings if warning.level == level]
        if told:
            lines += [
                "#",
                f"# {title.format(program=program)}",
                *(f"#   {_one_line(str(warning))}" for warning in told),
            ]
    single = {name: value for name, value in settings.items() if not isinstance(value, BaseModel)}
    if single:
        lines += ["", *(f"{name} = {_value(value)}" for name, value in single.items())]
    for name, model in settings.items():
        if isinstance(model, BaseModel):
            lines += _table(model, name)
    return "\n".join(lines) + "\n"


def _table(model: BaseModel, path: str, header: str = "[{}]") -> list[str]:
    """Return a table: its own values first, then the tables within it."""
    own, within = [], []
    for name, value in model:
        if name not in model.model_fields_set:
            continue
        if isinstance(value, BaseModel):
            within += _table(value, f"{path}.{name}")
        elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
            for element in value:
                within += _table(element, f"{path}.{name}", "[[{}]]")
        elif isinstance(value, dict):
            if value:
                within += ["", f"[{path}.{name}]", *(f"{_text(k)} = {_value(v)}" for k, v in value.items())]
        elif value is not None:
            own.append(f"{name} = {_value(value)}")
    if not own and not header.startswith("[["):
        return within  # the tables within it make it
    return ["", header.format(path), *own, *within]


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_value(part) for part in value) + "]"
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    return _text(str(value) if isinstance(value, Path) else value)


def _text(text: str) -> str:
    """Return a basic string: JSON's escapes are TOML's too, but for DEL, which TOML wants escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
