"""Those who need no account cannot keep the server busy with questions."""

import threading
from pathlib import Path
from typing import Any

import pytest

from hepcat.config.settings import Settings
from hepcat.web import asking
from hepcat.web.asking import ServerControl
from hepcat.web.problems import Problem


def test_one_asks_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    control = ServerControl(Settings(data=tmp_path))
    asked: list[str] = []

    def call(method: str, params: Any = None) -> int:
        asked.append(method)
        return len(asked)

    monkeypatch.setattr(control, "call", call)
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(control.recent("status"))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1] * 20
    assert control.recent("metrics") == 2, "another question"
    monkeypatch.setattr(asking, "_RECENT", -1.0)
    assert control.recent("status") == 3, "a later one is asked again"


def test_that_nobody_answers_is_an_answer_too(tmp_path: Path) -> None:
    control = ServerControl(Settings(data=tmp_path))
    for _ in range(2):
        with pytest.raises(Problem) as raised:
            control.recent("status")
        assert (raised.value.status, raised.value.kind) == (503, "no-server")
