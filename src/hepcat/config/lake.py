"""Settings of the lake: how often it syncs, when it seals, what it keeps.

In: the table [lake] of the configuration. Out: one frozen, checked model. pydantic reports what is
out of bounds; nothing here touches the disk.
"""

import re
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, field_validator

_MEMORY: Final = re.compile(r"([0-9]{1,18}) ?([KMGT])(i?)B")
#: DuckDB can do next to nothing with less, and refuses numbers that do not fit into 64 bits.
_LEAST_MEMORY: Final = 16 * 10**6
_MOST_MEMORY: Final = 1000 * 10**12


class LakeSettings(BaseModel):
    """The table [lake]. Every field says its unit and its bounds."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    sync_interval: float = Field(
        0.2, gt=0, le=60, description="Seconds between two fsyncs of the journal: what a power cut may lose."
    )
    journal_rows: int = Field(
        131_072, ge=1, le=1_048_576, description="Records after which a journal is sealed as Parquet."
    )
    journal_octets: int = Field(
        96 * 2**20, ge=4096, le=2**30, description="Octets after which a journal is sealed as Parquet."
    )
    journal_age: float = Field(
        60.0, gt=0, le=86_400, description="Seconds after which a journal with records is sealed."
    )
    row_group_rows: int = Field(
        65_536, ge=1_024, le=1_048_576, description="Records of one Parquet row group at most."
    )
    compression_level: int = Field(
        1, ge=-7, le=19, description="zstd level of the Parquet files; above 3 sealing gets slow."
    )
    date_folders: int = Field(
        32,
        ge=1,
        le=1_000,
        description="Date folders that one sealing may write to; further dates go to that of arrival.",
    )
    compact: bool = Field(True, description="Merge small Parquet files in the background.")
    compact_rows: int = Field(
        4_000_000, ge=1_024, le=100_000_000, description="Records of one Parquet file at most, after merging."
    )
    compact_files: int = Field(
        8, ge=2, le=256, description="Neighbouring files of one size that are merged into one."
    )
    delete_after: float = Field(
        30.0,
        ge=0,
        le=3_600,
        description="Seconds that a file is kept after a merged one replaced it: queries may still read it.",
    )
    retention_days: int | None = Field(
        None, ge=1, le=100_000, description="Days that records are kept; none: for ever."
    )
    retention_octets: int | None = Field(
        None, ge=2**20, description="Octets that Parquet files may take; the oldest go first; none: no bound."
    )
    query_memory: str = Field(
        "512MB",
        description="Memory that queries may take before they spill to disk.",
    )
    query_threads: int | None = Field(
        None, ge=1, le=1_024, description="Threads of a query; none: as many as there are cores."
    )

    @field_validator("query_memory")
    @classmethod
    def _memory(cls, text: str) -> str:
        match = _MEMORY.fullmatch(text)
        if match is None:
            raise ValueError('memory of queries is text such as "512MB" or "2GiB"')
        octets = int(match[1]) * (1024 if match[3] else 1000) ** ("KMGT".index(match[2]) + 1)
        if not _LEAST_MEMORY <= octets <= _MOST_MEMORY:
            raise ValueError(f"{text} is not in 16MB..1000TB")
        return text
