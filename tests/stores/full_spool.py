"""Arguments: a tmpfs of 3 MB, the database: fill the disk, see it refused, free room, see it go on, count."""

import sys
from pathlib import Path

import numpy as np

from hepcat.batch.drops import Drop
from hepcat.stores.store import StoreUnavailable
from tests.lake.make import numbered
from tests.stores.rig import Rig, names


def main() -> None:
    """Fill, free, count."""
    root = Path(sys.argv[1])
    ballast = root / "ballast"
    ballast.write_bytes(np.random.default_rng(1).bytes(1_000_000))
    rig = Rig(root)
    rig.database = Path(sys.argv[2])  # on a disk with room
    rig.faults.away = StoreUnavailable("away", Drop.STORE_FAILED)
    store = rig.start()
    stored = refused = 0
    while refused < 20:
        try:
            store.append(numbered(stored, 500))
            stored += 500
        except StoreUnavailable as error:
            refused += error.drop == Drop.STORE_FULL and "Free disk space" in error.hint
    assert stored > 0
    assert store.counts().taken == store.counts().waiting == stored
    ballast.unlink()
    for _ in range(2):
        store.append(numbered(stored, 500))
        stored += 500
    print("resumed", stored)
    rig.stop(0)
    rig.faults.away = None
    rig.start()
    rig.drained(waiting=stored)
    counts = rig.drained()
    assert counts.written == stored
    assert rig.found() == names(0, stored)
    rig.stop()


if __name__ == "__main__":
    main()
