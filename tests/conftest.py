"""One server of each kind of database for all tests, started when the first test asks for it."""

from collections.abc import Iterator

import pytest

from tests.servers import Servers, open_servers


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    with open_servers() as made:
        yield made
