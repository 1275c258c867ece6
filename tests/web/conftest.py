"""One browser for all of these tests: it takes a second to start."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.web.search_pages import made_lake
from tests.web.support import Site, chromium


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """Return Playwright's Browser."""
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="package")
def search_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Return the page on a lake of 12,000 made-up messages."""
    folder = tmp_path_factory.mktemp("search")
    with Site(made_lake(folder, 12_000, 800), folder) as started:
        yield started


@pytest.fixture(scope="package")
def large_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Return the page on a lake of more than 100,000 messages."""
    folder = tmp_path_factory.mktemp("large")
    many = {"HEPCAT_WEB_PAGE_ROWS": "5000"}  # a page: the test is about the browser
    with Site(made_lake(folder, 101_000, 20_000), folder, environment=many) as started:
        yield started
