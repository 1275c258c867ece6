"""A ClickHouse store for tests that kill it: appends numbered records and says how many it has stored.

Arguments: folder of the spool, URL, first number.
"""

import sys
import time
from pathlib import Path

from pydantic import SecretStr

from hepcat.config.databases import DatabaseSettings
from hepcat.stores.clickhouse.store import make_clickhouse_store
from tests.stores.clickhouse_support import Told, numbered

BATCH = 50


def main() -> None:
    """Append until killed."""
    folder, url, first = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    settings = DatabaseSettings(name="click", url=SecretStr(url), linger=0.01, rows=300)
    store = make_clickhouse_store(settings, folder, Told())
    print("ready", flush=True)
    while True:
        store.append(numbered(first, BATCH))
        first += BATCH
        print(first, flush=True)
        time.sleep(0.002)


if __name__ == "__main__":
    main()
