"""Loads what traffic may need later, while it can still be read: before root is given up.

In: the user to become, and whether TLS is read. Out: modules loaded, where that user cannot enter the folder
of hepcat, of Python or of its packages. What can go wrong: nothing here; what is missing shows where it is
used.

The agent loads the readers of TCP, fragments and the rest when the first such packet comes. A virtual
environment in root's own folder is closed to others. All of it takes 9 MiB, so it is done only there.
"""

import importlib
import os
import pkgutil
import pwd
import stat
from pathlib import Path
from typing import Final

import numpy as np

#: Rooms whose modules are loaded on demand.
_ROOMS: Final = ("hepcat.wire", "hepcat.plans", "hepcat.plans.functions")
#: Others that are loaded on demand; the first when a name is looked up.
_OTHERS: Final = ("encodings.idna", "hepcat.pipeline.keylog")


def load_ahead(user: str, tls: bool) -> None:
    """Import every reader and plan function that `user` could not load; those of TLS where it is read."""
    places = (__file__, os.__file__, np.__file__)
    if all(can_enter(user, Path(place).resolve().parent) for place in places):
        return
    for room in (*_ROOMS, *(("hepcat.wire.tls",) if tls else ())):
        package = importlib.import_module(room)
        for found in pkgutil.iter_modules(package.__path__, f"{room}."):
            if tls or found.name != "hepcat.wire.tls":
                importlib.import_module(found.name)
    for name in _OTHERS:
        importlib.import_module(name)


def can_enter(user: str, folder: Path) -> bool:
    """Tell whether the mode bits let a user into a folder, through all that are above it."""
    try:
        entry = pwd.getpwnam(user)
        groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
        found = [path.stat() for path in (folder, *folder.parents)]
    except (KeyError, OSError):
        return False
    return entry.pw_uid == 0 or all(_may_enter(one, entry.pw_uid, groups) for one in found)


def _may_enter(folder: os.stat_result, uid: int, groups: list[int]) -> bool:
    if folder.st_uid == uid:
        return bool(folder.st_mode & stat.S_IXUSR)
    if folder.st_gid in groups:
        return bool(folder.st_mode & stat.S_IXGRP)
    return bool(folder.st_mode & stat.S_IXOTH)
