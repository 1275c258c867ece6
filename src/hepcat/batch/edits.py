"""What a capture plan changed in the records of a batch, kept beside it: the batch itself is read-only.

In: a batch of n rows, and the plan's functions. Out: `Edits`, which a sink applies to the rows that it
takes (hepcat.batch.edit). Nothing is copied for rows that nobody changed.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(slots=True)
class Patch:
    """New octets for some rows: row i's are data[offset[i]:offset[i] + length[i]]; offset -1: unchanged.

    data: uint8. offset, length: int64, one a row of the batch.
    """

    data: Array
    offset: Array
    length: Array

    @classmethod
    def empty(cls, rows: int, octets: int = 0) -> "Patch":
        """Return a patch that changes nothing yet, with room for `octets`."""
        return cls(
            np.empty(octets, dtype=np.uint8),
            np.full(rows, -1, dtype=np.int64),
            np.zeros(rows, dtype=np.int64),
        )

    @classmethod
    def of(cls, rows: int, values: dict[int, bytes]) -> "Patch":
        """Return a patch of a few rows, for what is rare or has no kernel."""
        patch = cls.empty(rows)
        patch.data = np.frombuffer(b"".join(values.values()), dtype=np.uint8)
        at = 0
        for row, octets in values.items():
            patch.offset[row], patch.length[row] = at, len(octets)
            at += len(octets)
        return patch

    def merge(self, newer: "Patch") -> "Patch":
        """Return both; where both change a row, `newer` wins."""
        take = newer.offset >= 0
        return Patch(
            np.concatenate([self.data, newer.data]),
            np.where(take, newer.offset + len(self.data), self.offset),
            np.where(take, newer.length, self.length),
        )


@dataclass(slots=True)
class Edits:
    """Changes to a batch, by column; None where nothing changed. hep_type: uint8, a copy of the batch's."""

    payload: Patch | None = None
    correlation_id: Patch | None = None
    tags: Patch | None = None
    hep_type: Array | None = None
    src_ip: Array | None = None
    dst_ip: Array | None = None
    src_port: Array | None = None
    dst_port: Array | None = None

    def put(self, name: str, patch: Patch) -> None:
        """Lay a patch over what changed before; name: payload, correlation_id or tags."""
        before: Patch | None = getattr(self, name)
        setattr(self, name, patch if before is None else before.merge(patch))

    @property
    def any(self) -> bool:
        """Whether anything changed."""
        return any(getattr(self, name) is not None for name in self.__slots__)
