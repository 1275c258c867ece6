"""What reassembly holds: the table's chains are bounded, blocks come back, octets are compared in range."""

import numpy as np
import pytest

from hepcat.wire.held import BLOCK_OCTETS, SEED_OCTETS, AgeList, BlockPool, KeyTable


def test_a_table_wants_its_whole_seed() -> None:
    KeyTable(4, bytes(SEED_OCTETS))
    with pytest.raises(ValueError, match="96 octets"):
        KeyTable(4, b"short")


@pytest.mark.parametrize(("octets", "blocks"), [(1, 1), (BLOCK_OCTETS, 1), (10 * BLOCK_OCTETS + 1, 10)])
def test_a_pool_keeps_within_its_octets(octets: int, blocks: int) -> None:
    pool = BlockPool(octets)
    assert (pool.blocks, pool.left) == (blocks, blocks)


def test_lists_have_a_fixed_size() -> None:
    assert AgeList(3) is not None
    assert np.dtype(np.uint64).itemsize * 12 == SEED_OCTETS
