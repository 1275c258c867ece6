"""One server of each kind for all tests of this folder, started when the first test asks for it."""

from collections.abc import Iterator

import pytest

from tests.whole.backends import Servers, open_servers


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with open_servers(tmp_path_factory.mktemp("databases")) as made:
        yield made
