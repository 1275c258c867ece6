"""A second try, by themselves, for a few tests with real parts that failed: `make test` calls this.

Browsers, databases and the kernel answer when they get to it, and a test that gave them too little time has
found no fault of the project's. What passes at the second try is named, to be mended; what depends on nothing
but the code gets no second try, nor does a run in which more than a few tests failed.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

#: Where pytest keeps the names of what failed last, in the project's folder. `make test` starts without it.
FAILED: Final = Path(".pytest_cache", "v", "cache", "lastfailed")
#: Folders whose tests talk to nothing outside their process.
NOTHING_BUT_CODE: Final = ("tests/wire/", "tests/batch/", "tests/plans/", "tests/config/")
MOST: Final = 3
#: What pytest returns where tests ran and some failed; anything else is no test's failure.
SOME_FAILED: Final = 1


def worth_a_try(failed: list[str]) -> bool:
    """Return whether tests that failed may be tried again: few, and each with real parts."""
    return 0 < len(failed) <= MOST and not any(name.startswith(NOTHING_BUT_CODE) for name in failed)


def main(status: int) -> int:
    """Try again what failed in a run of pytest that returned `status`; return the status of it all."""
    if status != SOME_FAILED or not FAILED.exists():
        return status
    failed = sorted(json.loads(FAILED.read_text()))
    if not worth_a_try(failed):
        return status
    print(f"\ntrying again, by themselves: {', '.join(failed)}", flush=True)
    again = subprocess.run([sys.executable, "-m", "pytest", "-q", *failed]).returncode
    if again == 0:
        print(f"\nPASSED ONLY AT THE SECOND TRY, to be mended: {', '.join(failed)}")
    return again


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
