"""For all tests: one server of each kind of database, started when first asked for; examples that stay.

Hypothesis gives a test the same examples in every run, so that a change that breaks nothing cannot fail for
what chance found today. `make explore` gives it new ones, and many more.
"""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.servers import Servers, open_servers

# A machine that has other work to do makes no example wrong: no deadline.
settings.register_profile("hepcat", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=300)
settings.load_profile("explore" if "HEPCAT_EXPLORE" in os.environ else "hepcat")


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    with open_servers() as made:
        yield made
