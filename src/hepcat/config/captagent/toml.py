"""The agent's settings as TOML, with what differs from captagent as comments.

In: `AgentSettings`, warnings. Out: text that `load_settings` reads back to equal settings. Only what was set
is written; keys are in it in clear, since the file would not work without them.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr

from hepcat.config.agent import AgentSettings
from hepcat.config.captagent.report import Warning


def write_toml(settings: AgentSettings, warnings: Iterable[Warning] = (), source: str = "") -> str:
    """Return a configuration file. source: what it was made of, for its first line."""
    lines = [f"# Made of {_one_line(source)}"] if source else []
    for level, title in (("warning", "Done otherwise than in captagent:"), ("info", "To know:")):
        told = [warning for warning in warnings if warning.level == level]
        if told:
            lines += ["#", f"# {title}", *(f"#   {_one_line(str(warning))}" for warning in told)]
    return "\n".join([*lines, *_table(settings, "agent")]) + "\n"


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
