"""Loads what traffic may need later, while it can still be read: before root is given up.

In: whether TLS is read. Out: modules loaded. What can go wrong: nothing here; what is missing shows where it
is used. The agent loads the readers of TCP, fragments and the rest when the first such packet comes; the user
it has become by then may not be allowed to look into the folder where Python or hepcat is installed.
"""

import importlib
import pkgutil
from typing import Final

#: Rooms whose modules are loaded on demand.
_ROOMS: Final = ("hepcat.wire", "hepcat.plans", "hepcat.plans.functions")
#: What the standard library loads on demand: look-ups of names.
_OTHERS: Final = ("encodings.idna", "hepcat.pipeline.keylog")


def load_ahead(tls: bool) -> None:
    """Import every reader and plan function; those of TLS only where it is read."""
    for room in (*_ROOMS, *(("hepcat.wire.tls",) if tls else ())):
        package = importlib.import_module(room)
        for found in pkgutil.iter_modules(package.__path__, f"{room}."):
            if tls or found.name != "hepcat.wire.tls":
                importlib.import_module(found.name)
    for name in _OTHERS:
        importlib.import_module(name)
