"""Several stores at once: none holds another up, and each record is counted once."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from hepcat.batch.drops import Drop
from hepcat.batch.layout import Batch
from hepcat.config.settings import Settings
from hepcat.errors import HepcatError
from hepcat.pipeline import storing
from hepcat.pipeline.nonsip import NonSipHook, read_hook
from hepcat.pipeline.server import Server, stored_headers
from hepcat.pipeline.stores import StoreFan
from hepcat.sources.source import Tally
from hepcat.stores.store import StoreUnavailable
from tests.support import wait_for

DATABASE = {"name": "db", "url": "sqlite:///calls.db"}


class Held:
    """A store that keeps what it is given once it is let go; `away` refuses."""

    def __init__(self) -> None:
        self.rows = 0
        self.go = threading.Event()
        self.away = False

    def append(self, batch: Batch) -> None:
        assert self.go.wait(120)
        if self.away:
            raise StoreUnavailable("away", Drop.STORE_FAILED)
        self.rows += batch.n

    def close(self) -> None:
        pass


def batch_of(rows: int, hep_type: int = 1) -> Batch:
    batch = Batch.empty(rows, 64)
    batch.n = rows
    batch.hep_type[:] = hep_type
    return batch


def test_one_store_that_stands_holds_no_other_up() -> None:
    fan = StoreFan(("lake", "db"), 10 * 2**20)
    fast, slow = Held(), Held()
    fast.go.set()
    tally = Tally("udp")
    fan.start({"lake": fast, "db": slow})
    for _ in range(10):
        assert fan.put(batch_of(3), tally) is None
    wait_for(lambda: fast.rows == 30)
    assert slow.rows == 0
    assert tally.stored == 0  # not decided yet
    slow.go.set()
    wait_for(lambda: tally.stored == 30)
    assert fan.stats()["db"] == {
        "taken": 30, "stored": 30, "queued": 0, "dropped": {}, "trouble": None
    }  # fmt: skip
    fan.stop(1.0)
    assert fan.join(60.0)


def test_what_one_store_keeps_is_stored_and_what_none_keeps_is_lost() -> None:
    fan = StoreFan(("lake", "db"), 1)
    good, bad = Held(), Held()
    bad.away = True
    bad.go.set()
    tally = Tally("udp")
    fan.start({"lake": good, "db": bad})
    assert fan.put(batch_of(3), tally) is None
    wait_for(lambda: fan.trouble is not None)
    assert fan.put(batch_of(4), tally) is Drop.STORE_FAILED or tally.stored == 0  # both queues are full
    good.go.set()
    wait_for(lambda: good.rows == 3)
    assert fan.put(batch_of(5), tally) is None  # one queue has room
    wait_for(lambda: good.rows == 8)
    fan.stop(0.0)
    assert fan.join(60.0)
    assert tally.stored == 8
    assert fan.stats()["db"]["dropped"] == {"store_failed": 12} or fan.stats()["db"]["dropped"] == {
        "store_failed": 8, "queue_full": 4
    }  # fmt: skip
    assert "away" in str(fan.stats()["db"]["trouble"])


def test_headers_that_classic_tables_have_are_kept_too() -> None:
    settings = Settings.model_validate({"databases": [DATABASE], "extra_headers": ["x-oip", "X-Mine"]})
    assert stored_headers(settings) == ("x-oip", "X-Mine")
    both = settings.model_copy(update={"stores": ("lake", "db")})
    assert [name.lower() for name in stored_headers(both)] == ["x-oip", "x-mine", "mac", "ip", "port"]


def plan(tmp_path: Path, text: str) -> str:
    file = tmp_path / "nonsip.cfg"
    file.write_text(text)
    return str(file)


def test_the_hook_drops_what_its_plan_drops(tmp_path: Path) -> None:
    text = 'capture {\n  if (msg_check("dst_port", "5060")) {\n    drop;\n  }\n}\n'
    fan = StoreFan(("lake",), 10 * 2**20)
    store = Held()
    store.go.set()
    fan.start({"lake": store})
    hook = NonSipHook(read_hook(plan(tmp_path, text)), fan)
    tally = Tally("udp")
    batch = batch_of(6)
    batch.hep_type[:] = [1, 1, 100, 100, 5, 1]
    batch.dst_port[:] = [5060, 7, 5060, 7, 5060, 9]
    tally.handed += 6
    assert hook.put(batch, tally) is None
    wait_for(lambda: tally.stored == 4)
    fan.stop(1.0)
    assert fan.join(60.0)
    lost = {Drop(i).name: int(tally.store_drops[i]) for i in np.flatnonzero(tally.store_drops).tolist()}
    assert lost == {"PLAN": 2}
    assert store.rows == 4
    assert tally.handed == tally.stored + 2


def test_a_server_with_a_hook(tmp_path: Path) -> None:
    classic = {"capture_on": 1, "hep_capture_on": 1, "nonsip_hook": plan(tmp_path, "capture { drop; }")}
    server = Server(Settings.model_validate({"sipcapture": classic}))
    assert isinstance(server._entry, NonSipHook)
    with pytest.raises(HepcatError, match="nonsip_hook: cannot read"):
        Server(Settings.model_validate({"sipcapture": classic | {"nonsip_hook": "/nosuch.cfg"}}))
    (tmp_path / "nonsip.cfg").write_text("capture { if }")
    with pytest.raises(HepcatError, match=r"nonsip.cfg:1:"):
        Server(Settings.model_validate({"sipcapture": classic}))


def test_a_stop_does_not_hurry_a_store_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storing, "LONGEST_WAIT", 0.1)
    fan = StoreFan(("lake",), 10 * 2**20)
    away = Held()
    away.away = True
    away.go.set()
    tries: list[float] = []
    append = away.append

    def counted(batch: Batch) -> None:
        tries.append(time.monotonic())
        append(batch)

    away.append = counted  # type: ignore[method-assign]
    fan.start({"lake": away})
    fan.put(batch_of(1), Tally("udp"))
    wait_for(lambda: len(tries) > 1)
    fan.stop(1.0)
    assert fan.join(60.0)
    assert len(tries) < 20, f"offered {len(tries)} times"


def test_about_tells_where_records_go_whatever_was_reloaded(tmp_path: Path) -> None:
    server = Server(Settings.model_validate({"data": tmp_path}))
    other = {"data": tmp_path / "other", "stores": ["db"], "databases": [DATABASE]}
    notes = server.reload(Settings.model_validate(other))
    assert [note.partition(" ")[0] for note in notes] == ["data", "databases.db", "stores"]
    assert server.about()["data"] == str(tmp_path)
    assert server.about()["stores"] == ["lake"]


def test_what_the_hook_hands_on_and_no_store_takes_is_counted(tmp_path: Path) -> None:
    class Full:
        def put(self, batch: Batch, tally: Tally) -> Drop | None:
            return Drop.QUEUE_FULL

    hook = NonSipHook(read_hook(plan(tmp_path, "capture { }")), Full())
    tally, batch = Tally("udp"), batch_of(5)
    batch.hep_type[:] = [1, 1, 100, 5, 1]
    assert hook.put(batch, tally) is None
    assert tally.store_drops[Drop.QUEUE_FULL] == 5


def test_a_reload_resizes_every_queue() -> None:
    databases = {"databases": [DATABASE], "stores": ["lake", "db"]}
    server = Server(Settings.model_validate(databases))
    assert server.reload(Settings.model_validate(databases | {"queue": {"memory": 2**21}})) == []
    assert [lane.queue.max_octets for lane in server.queue.lanes] == [2**21, 2**21]
