"""One browser for all of these tests: it takes a second to start."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.web.support import chromium


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Return Playwright's Browser."""
    with chromium() as opened:
        yield opened
