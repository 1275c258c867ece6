"""A store for tests that kill it: appends numbered records and says how many it has stored.

Arguments: folder, first number, how often the database fails (0 to 1). Files and pieces are small, so that a
kill hits every step. Everything that goes wrong is drawn from a seed, the first number.
"""

import random
import sys
import time
from pathlib import Path

from hepcat.batch.drops import Drop
from hepcat.stores.spooled import drain
from hepcat.stores.spooled import spool as spool_module
from hepcat.stores.store import StoreUnavailable
from tests.lake.make import numbered
from tests.stores.rig import Rig

BATCH = 20


def main() -> None:
    """Append until killed."""
    folder, first, often = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    chance = random.Random(first)
    spool_module.FILE_OCTETS, spool_module.SMALL_OCTETS = 2**16, 2**15
    spool_module.FLOOR_SECONDS = 0
    drain.FIRST_WAIT, drain.LONGEST_WAIT = 0.001, 0.01
    rig = Rig(folder, rows=35, linger=0.002)

    def fail() -> None:
        rig.faults.away = None
        if chance.random() < often:
            faults = ["away", "lost answer", "refused", "bug", "bug after commit"]
            rig.faults.plan = [chance.choice(faults)]

    rig.faults.before = fail
    store = rig.start()
    print("ready", flush=True)
    while True:
        rig.faults.away = StoreUnavailable("away", Drop.STORE_FAILED) if chance.random() < often / 4 else None
        store.append(numbered(first, BATCH))
        first += BATCH
        print(first, flush=True)
        time.sleep(0.003)


if __name__ == "__main__":
    main()
