"""Reloads: whoever waits is told what became of them, also where a bug of ours stands in the way."""

import queue
import threading
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from hepcat.config.settings import Settings
from hepcat.control import running, serving
from hepcat.control.reloads import RELOAD, Reloads
from hepcat.errors import HepcatError


@pytest.mark.parametrize("reload", [serving._reload, running._reload])
def test_a_bug_ends_no_server(reload: Callable[[Any, Callable[[], Settings]], list[str]]) -> None:
    """An exception in the main thread would end it, with what waits in memory."""

    def reread() -> Settings:
        raise TypeError("a bug")

    with capture_logs() as logs, pytest.raises(HepcatError, match="not reloaded: a bug in hepcat"):
        reload(None, reread)
    assert [event["event"] for event in logs] == ["a bug in hepcat stopped a reload; please report it"]


def test_all_who_ask_have_the_outcome_of_one() -> None:
    events: queue.SimpleQueue[int] = queue.SimpleQueue()
    reloads, heard, times = Reloads(events), [], []

    def ask() -> None:
        try:
            heard.append(str(reloads.ask()))
        except HepcatError as error:
            heard.append(str(error))

    def carry_out(count: int, reload: Callable[[], list[str]]) -> None:
        threads = [threading.Thread(target=ask) for _ in range(count)]
        for thread in threads:
            thread.start()
        assert [events.get(timeout=60) for _ in threads] == [RELOAD] * count
        for _ in threads:
            reloads.carry_out(reload)
        for thread in threads:
            thread.join(60)

    def well() -> list[str]:
        times.append(1)
        return ["note"]

    def badly() -> list[str]:
        raise HepcatError("line 3")

    carry_out(3, well)
    assert heard == ["['note']"] * 3
    assert len(times) == 1, "one reload is enough for all"
    carry_out(2, badly)
    assert heard[3:] == ["line 3"] * 2
    reloads.close()
    ask()
    assert heard[-1] == "not reloaded: it is stopping"
