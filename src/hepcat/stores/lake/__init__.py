"""The lake: Parquet files behind an append-only journal (DESIGN.md, "The lake")."""

from hepcat.stores.lake.arrow import arrow_schema, to_arrow
from hepcat.stores.lake.importer import ImportWriter
from hepcat.stores.lake.reader import Lake, Snapshot
from hepcat.stores.lake.writer import LakeWriter

__all__ = ["ImportWriter", "Lake", "LakeWriter", "Snapshot", "arrow_schema", "to_arrow"]
