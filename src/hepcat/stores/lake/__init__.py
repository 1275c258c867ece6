"""The lake: Parquet files behind an append-only journal (DESIGN.md, "The lake").

What is named here is imported when it is first used: a server that only writes does not load DuckDB.
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from hepcat.stores.lake.arrow import arrow_schema, to_arrow
    from hepcat.stores.lake.importer import ImportWriter
    from hepcat.stores.lake.reader import Lake, Snapshot
    from hepcat.stores.lake.writer import LakeWriter

__all__ = ["ImportWriter", "Lake", "LakeWriter", "Snapshot", "arrow_schema", "to_arrow"]

_HOME: Final = {
    "arrow_schema": "arrow",
    "to_arrow": "arrow",
    "ImportWriter": "importer",
    "Lake": "reader",
    "Snapshot": "reader",
    "LakeWriter": "writer",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
