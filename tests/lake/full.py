"""Run on a tmpfs of 3 MB: fill the disk, see it told, free room, see storing resume, count."""

import sys
from pathlib import Path

import numpy as np

from hepcat.batch.drops import Drop
from hepcat.config.lake import LakeSettings
from hepcat.stores.lake import LakeWriter
from hepcat.stores.store import StoreUnavailable
from tests.lake.count import assert_exactly
from tests.lake.make import numbered


def main() -> None:
    """Fill, free, count."""
    root = Path(sys.argv[1])
    ballast = root / "ballast"
    ballast.write_bytes(np.random.default_rng(1).bytes(2_000_000))
    settings = LakeSettings(journal_rows=1000, sync_interval=0.01)
    stored = refused = 0
    with LakeWriter(root / "lake", settings) as writer:
        while refused < 20:
            try:
                writer.append(numbered(stored, 500))
                stored += 500
            except StoreUnavailable as error:
                refused += error.drop == Drop.STORE_FULL
        assert stored > 0
        assert_exactly(root / "lake", stored)
        ballast.unlink()
        for _ in range(3):
            writer.append(numbered(stored, 500))
            stored += 500
        print("resumed", stored)
        assert writer.seal()
        assert_exactly(root / "lake", stored)
    assert_exactly(root / "lake", stored)


if __name__ == "__main__":
    main()
