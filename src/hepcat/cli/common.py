"""What the commands share: the options --data, --config, --kamailio-cfg and --store, and where they lead."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hepcat.errors import HepcatError

#: config.databases.LAKE, which would load the settings' model
LAKE = "lake"

if TYPE_CHECKING:
    from hepcat.config.databases import DatabaseSettings
    from hepcat.config.lake import LakeSettings
    from hepcat.config.settings import Settings
    from hepcat.search.api import Data

DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="The lake's folder; default HEPCAT_DATA, the configuration's, or ./data.",
        readable=False,
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="Configuration file (TOML).", readable=False),
]
KamailioOption = Annotated[
    Path | None,
    typer.Option(
        "--kamailio-cfg",
        metavar="FILE",
        help="The kamailio.cfg (module sipcapture) that `hepcat serve` has; --config goes over it.",
        readable=False,
    ),
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="NAME|URL",
        help="Where to look: lake, a name of [[databases]] in the configuration, or a database's URL (its "
        "password shows in `ps`; the configuration can read it from a file). Default: the lake, unless "
        "`stores` of the configuration has it not: then the first of these.",
    ),
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
    if not is_readable_folder(path):
        raise HepcatError(
            f"no lake at {path}",
            "Start `hepcat serve`, import a capture (`hepcat import FILE`), or name its folder: --data.",
        )
    return path


def is_readable_folder(path: Path) -> bool:
    """Whether there is this folder; raise HepcatError where there is, and it may not be read."""
    try:
        os.stat(path / ".")  # fails where it may not be entered
        os.scandir(path).close()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise HepcatError(
            f"cannot read the folder {path}: {error.strerror}",
            "Become root, the server's user or a member of its group; or work on a copy of the folder.",
        ) from None
    return True


@dataclass(frozen=True, slots=True)
class Reading:
    """What a command that reads needs of its options: the lake's folder and settings, or a database; names
    of hosts."""

    path: Path
    lake: "LakeSettings | None" = None
    aliases: Mapping[str, str] = field(default_factory=dict)
    store: "DatabaseSettings | None" = None

    def open(self) -> "Data":
        """Open the store for reading."""
        from hepcat.search.api import Data

        return Data(self.path, self.lake, self.store)


def settings_from(
    config: Path | None, kamailio_cfg: Path | None = None, flags: Mapping[str, object] | None = None
) -> "Settings":
    """Return the settings of a configuration, laid over a kamailio.cfg where one is given."""
    from hepcat.config.loader import load_settings

    if kamailio_cfg is None:
        return load_settings(config, flags)
    from hepcat.config.kamailio import read_kamailio

    return load_settings(config, flags, base=read_kamailio(kamailio_cfg))


def is_configured(config: Path | None, kamailio_cfg: Path | None) -> bool:
    """Say whether there is anything to read: files, or variables of single settings."""
    files = config is not None or kamailio_cfg is not None
    return files or any(n.startswith("HEPCAT_") and n != "HEPCAT_DATA" for n in os.environ)


def reading(
    data: Path | None, config: Path | None, store: str | None = None, kamailio_cfg: Path | None = None
) -> Reading:
    """Return where and how to read; raises HepcatError where there is no lake, or the configuration is wrong.

    Variables of single settings count as the configuration does. --data means the lake.
    """
    # Nothing configured is the common case, and reading the settings' model takes longer than a search.
    settings = settings_from(config, kamailio_cfg) if is_configured(config, kamailio_cfg) else None
    database = _database(store, data, settings)
    aliases = settings.aliases if settings else {}
    configured = settings.data if settings else None
    if database is not None:
        return Reading(data_dir(data, configured), aliases=aliases, store=database)
    return Reading(existing_data_dir(data, configured), settings.lake if settings else None, aliases)


def _database(store: str | None, data: Path | None, settings: "Settings | None") -> "DatabaseSettings | None":
    """Return the database that is meant, None where it is the lake."""
    if store is not None and store != LAKE and data is not None:
        raise HepcatError("--data is the lake's folder, --store another store", "Use one of them.")
    if store is None and data is None and settings is not None and LAKE not in settings.stores:
        store = settings.stores[0]
    if store is None or store == LAKE:
        return None
    from hepcat.search.stores import settings_of

    return settings_of(store, settings.databases if settings else ())


def tell_missing(data: "Data") -> None:
    """Say on standard error what an answer lacks: parts of the store that did not answer."""
    for note in getattr(data, "notes", list)():
        print(f"partial: {note}", file=sys.stderr)
