"""One server of each kind of database for all tests, started when the first test asks for it."""

from collections.abc import Iterator

import pytest

from tests.servers import Servers, open_servers


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with open_servers(tmp_path_factory.mktemp("databases")) as made:
        yield made
