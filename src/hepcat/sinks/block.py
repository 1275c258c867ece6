"""Encoded messages on their way to a stream target: octets, and where each message ends.

In: a buffer of encoded messages with their bounds. Out: `Block`s of bounded size that own their octets.
What can go wrong: nothing. A block is never changed; what is left of one is another block.
"""

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

#: Octets of a block, about: a spool's record, a POST, and what is given up where memory is full.
BLOCK_OCTETS: Final = 1 << 16
#: What a block costs in memory beside its octets: 8 a message, and the objects.
MESSAGE_OVERHEAD: Final = 8
BLOCK_OVERHEAD: Final = 400


@dataclass(frozen=True, slots=True, eq=False)
class SpoolPlace:
    """Where a block lies in the spool: its file, its bounds there, and how many of its messages are done."""

    file: Any
    offset: int
    end: int
    done: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """data: the messages, one behind the other. ends: int64, where each ends in data.

    place: where it lies in the spool, None where it has never been there.
    """

    data: bytes
    ends: Array
    place: SpoolPlace | None = None

    @property
    def records(self) -> int:
        """How many messages."""
        return len(self.ends)

    @property
    def memory(self) -> int:
        """Octets of memory that it takes."""
        return len(self.data) + MESSAGE_OVERHEAD * len(self.ends) + BLOCK_OVERHEAD

    def whole_within(self, octets: int) -> int:
        """How many messages lie wholly within the first `octets`."""
        return int(np.searchsorted(self.ends, octets, side="right"))

    def rest(self, done: int) -> "Block":
        """Return the messages from `done` on."""
        if done == 0:
            return self
        begin = int(self.ends[done - 1])
        place = self.place and replace(self.place, done=self.place.done + done)
        return Block(self.data[begin:], self.ends[done:] - begin, place)


def cut_blocks(buffer: Array, offsets: Array, octets: int = BLOCK_OCTETS) -> list[Block]:
    """Copy messages buffer[offsets[i]:offsets[i + 1]] into blocks of at most `octets`, one message at least.

    buffer: uint8. offsets: int64, rising. A message without octets is left out.
    """
    ends = offsets[1:][np.diff(offsets) > 0]
    blocks: list[Block] = []
    begin, first = int(offsets[0]), 0
    while first < len(ends):
        last = max(int(np.searchsorted(ends, begin + octets, side="right")), first + 1)
        end = int(ends[last - 1])
        blocks.append(Block(buffer[begin:end].tobytes(), ends[first:last] - begin))
        begin, first = end, last
    return blocks
