"""What the commands share: the option --data and the terminal."""

import os
from pathlib import Path
from typing import Annotated

import typer

from hepcat.errors import HepcatError

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
