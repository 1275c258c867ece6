"""What the commands share: the options --data and --config, and the lake that they lead to."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hepcat.errors import HepcatError

if TYPE_CHECKING:
    from hepcat.config.lake import LakeSettings
    from hepcat.search.api import Data

DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="The lake's folder; default HEPCAT_DATA, the configuration's, or ./data.",
    ),
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="Configuration file (TOML).")
]


def data_dir(data: Path | None, configured: Path | None = None) -> Path:
    """Return the lake's folder: the flag, else HEPCAT_DATA, else the configuration's, else ./data."""
    if data is not None:
        return data
    if os.environ.get("HEPCAT_DATA"):
        return Path(os.environ["HEPCAT_DATA"])
    return configured or Path("data")


def existing_data_dir(data: Path | None, configured: Path | None = None) -> Path:
    """Return the lake's folder for a command that reads; raise HepcatError where there is none."""
    path = data_dir(data, configured)
    if not path.is_dir():
        raise HepcatError(
            f"no lake at {path}",
            "Start `hepcat serve`, import a capture (`hepcat import FILE`), or name its folder: --data.",
        )
    return path


@dataclass(frozen=True, slots=True)
class Reading:
    """What a command that reads needs of its options: the lake's folder, its settings, names of hosts."""

    path: Path
    lake: "LakeSettings | None" = None
    aliases: Mapping[str, str] = field(default_factory=dict)

    def open(self) -> "Data":
        """Open the lake for reading."""
        from hepcat.search.api import Data

        return Data(self.path, self.lake)


def reading(data: Path | None, config: Path | None) -> Reading:
    """Return where and how to read; raises HepcatError where there is no lake, or the configuration is wrong.

    Variables of single settings count as the configuration does.
    """
    # Nothing configured is the common case, and reading the settings' model takes longer than a search.
    if config is None and not any(
        name.startswith("HEPCAT_") and name != "HEPCAT_DATA" for name in os.environ
    ):
        return Reading(existing_data_dir(data))
    from hepcat.config.loader import load_settings

    settings = load_settings(config)
    return Reading(existing_data_dir(data, settings.data), settings.lake, settings.aliases)
