"""A store on a real database, for tests that kill both: appends numbered records and says how many it has.

Arguments: URL, folder of the data, first number.
"""

import sys
import time
from pathlib import Path

from hepcat.config.databases import DatabaseSettings
from hepcat.stores.make import make_store
from tests.lake.make import numbered

BATCH = 50


def main() -> None:
    """Append until killed."""
    url, folder, first = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    settings = DatabaseSettings(name="real", url=url, rows=300, linger=0.01)
    store = make_store(settings, folder, lambda event, facts: None)
    print("ready", flush=True)
    while True:
        store.append(numbered(first, BATCH))
        first += BATCH
        print(first, flush=True)
        time.sleep(0.005)


if __name__ == "__main__":
    main()
