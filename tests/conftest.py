"""For all tests: one server of each kind of database, started when first asked for; examples that stay.

Hypothesis gives a test the same examples in every run, so that a change that breaks nothing cannot fail for
what chance found today. `make explore` gives it new ones, and many more.
"""

import os
import signal
from collections.abc import Iterator
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, settings

from tests.servers import Servers, open_servers

# A machine that has other work to do makes no example wrong: no deadline, also for making them.
NO_CLOCK: Final[Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("hepcat", derandomize=True, **NO_CLOCK)
settings.register_profile("explore", max_examples=300, **NO_CLOCK)
# A shell's background job ignores Ctrl-C, and so would every program that a test starts and ends by it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
settings.load_profile("explore" if "HEPCAT_EXPLORE" in os.environ else "hepcat")


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    with open_servers() as made:
        yield made


@pytest.fixture(autouse=True)
def nothing_left_open(request: pytest.FixtureRequest) -> Iterator[None]:
    """Close what a test left open in its browser: it would slow the tests after it or fail them."""
    browser = request.getfixturevalue("browser") if "browser" in request.fixturenames else None
    shared = list(browser.contexts) if browser else []  # pages that all tests of a module look at
    yield
    for context in list(browser.contexts) if browser else ():
        if context not in shared:
            context.close()
