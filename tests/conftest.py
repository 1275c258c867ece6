"""For all tests: one server of each kind of database, started when first asked for; no timed examples."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.servers import Servers, open_servers

# A machine that has other work to do makes no example wrong.
settings.register_profile("hepcat", deadline=None)
settings.load_profile("hepcat")


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    with open_servers() as made:
        yield made
