"""A writer process for tests that kill it: appends numbered records and says how many it has stored.

Arguments: folder, first number. Settings are small, so that it seals and merges all the time.
"""

import sys
import time

from hepcat.config.lake import LakeSettings
from hepcat.stores.lake import LakeWriter
from tests.lake.make import NOON, build

BATCH = 20
SETTINGS = LakeSettings(
    journal_rows=200, journal_age=5, sync_interval=0.01, compact_files=3, delete_after=0, row_group_rows=1024
)


def main() -> None:
    """Append until killed."""
    folder, first = sys.argv[1], int(sys.argv[2])
    writer = LakeWriter(folder, SETTINGS)
    print("ready", flush=True)
    while True:
        records = []
        for i in range(first, first + BATCH):  # two tables and two days in every journal
            day = 86_400_000_000 * (i % 2)
            kind = 100 if i % 5 == 0 else 1
            records.append(
                {"payload": b"X %d" % i, "call_id": b"%d" % i, "ts": NOON + i - day, "hep_type": kind}
            )
        writer.append(build(records))
        first += BATCH
        print(first, flush=True)
        time.sleep(0.01)


if __name__ == "__main__":
    main()
