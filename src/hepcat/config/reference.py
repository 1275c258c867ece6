"""The table of every setting, as docs/configuration.md shows it.

In: the settings model. Out: Markdown. A test holds the page to it.
"""

import typing
from pathlib import Path
from typing import Any, Literal

from pydantic_core import PydanticUndefined

from hepcat.config.loader import ARRAYS, Setting, walk_settings
from hepcat.config.values import Octets


def settings_reference() -> str:
    """Return a heading and a table for each section of the configuration."""
    parts: list[str] = []
    section: str | None = None
    for setting in walk_settings():
        above = ".".join(setting.path[:-1])
        if above != section:
            section = above
            parts.append(
                f"\n## {_heading(above)}\n\n| setting | type | default | what it is |\n|---|---|---|---|\n"
            )
        parts.append(_row(setting))
    return "".join(parts) + "\n"


def _heading(section: str) -> str:
    if not section:
        return "Top of the file"
    return f"`[[{section}]]`, any number" if section.rpartition(".")[2] in ARRAYS else f"`[{section}]`"


def _row(setting: Setting) -> str:
    variable = f"<br>`{setting.variable}`" if setting.variable else ""
    what = (setting.field.description or "").replace("|", "\\|")
    return f"| `{setting.path[-1]}`{variable} | {_type(setting)} | {_default(setting)} | {what} |\n"


def _type(setting: Setting) -> str:
    """Say what may stand there, with its bounds."""
    annotation: Any = setting.field.annotation
    parts = [part for part in typing.get_args(annotation) if part is not type(None)]
    if type(None) in typing.get_args(annotation) and len(parts) == 1:
        annotation = parts[0]
    origin = typing.get_origin(annotation)
    if origin is Literal:
        return " or ".join(f'`"{choice}"`' for choice in typing.get_args(annotation))
    if origin is tuple:
        return "list of texts"
    if origin is dict:
        return "table of texts"
    if setting.secret:
        return "secret"
    if _is_octets(setting):
        return "size" + _bounds(setting)
    names = {int: "whole number", float: "number", bool: "`true` or `false`", str: "text", Path: "path"}
    return names.get(annotation, "text") + _bounds(setting)


def _is_octets(setting: Setting) -> bool:
    hint = typing.get_type_hints(setting.model, include_extras=True)[setting.path[-1]]
    return bool(hint == Octets)


def _bounds(setting: Setting) -> str:
    """Say ">= 1, <= 64" of the constraints that the field carries."""
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    found = [
        f"{signs[name]} {getattr(constraint, name)}"
        for constraint in setting.field.metadata
        for name in signs
        if getattr(constraint, name, None) is not None
    ]
    return f", {', '.join(found)}" if found else ""


def _default(setting: Setting) -> str:
    value = setting.field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined:
        return "must be given"
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return ", ".join(f"`{part}`" for part in value) or "none"
    if isinstance(value, dict):
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, int) and value >= 2**20 and value % 2**20 == 0:
        return f"`{value // 2**20}MiB`"
    return f"`{value}`"
