"""Equal requests of one moment are one search; others are not mixed up with them."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support import hepcat
from tests.web.support import Site, import_lake


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("sharing")
    capture = folder / "calls.pcap"
    hepcat("bench", "pcap", "--out", str(capture), "--packets", "3000", "--calls", "200")
    with Site(import_lake(folder / "data", [capture]), folder) as started:
        yield started


def test_many_who_ask_the_same_get_the_same(site: Site) -> None:
    """Each answer says until when it looked: those of one search say the same microsecond."""
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(site.get, "/api/calls", since="9999d", limit=5) for _ in range(40)]
        answers = [one.result() for one in asked]
    assert len({str(answer["calls"]) for answer in answers}) == 1
    assert len({answer["since"] for answer in answers}) < 20


def test_another_request_is_another_search(site: Site) -> None:
    one, two = site.get("/api/calls", since="9999d", limit=5), site.get("/api/calls", since="9999d", limit=6)
    assert (len(one["calls"]), len(two["calls"])) == (5, 6)
    invites = site.get("/api/histogram", q="method:INVITE", since="9999d")
    assert sum(invites["total"]) < sum(site.get("/api/histogram", since="9999d")["total"])


def test_what_was_stored_since_is_found_a_moment_later(site: Site, tmp_path: Path) -> None:
    def total() -> int:
        return sum(site.get("/api/histogram", since="9999d", of="messages")["total"])

    before = total()
    capture = tmp_path / "more.pcap"
    hepcat("bench", "pcap", "--out", str(capture), "--packets", "500", "--seed", "7")
    import_lake(site.data, [capture])
    time.sleep(1.1)  # the second in which it was asked has passed
    assert total() == before + 500
