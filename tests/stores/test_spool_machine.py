"""All that can happen to a spooled store, in any order: what was appended is there once, or counted."""

import shutil
import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from hepcat.batch.drops import Drop
from hepcat.stores.spooled import drain
from hepcat.stores.spooled import spool as spool_module
from hepcat.stores.store import StoreUnavailable
from tests.lake.make import build
from tests.stores.faulty import assert_once, wrong_password
from tests.stores.rig import Rig, assert_sum

FAULTS = st.lists(
    st.sampled_from(["ok", "ok", "away", "lost answer", "refused", "bug", "bug after commit"]), max_size=8
)


class Spooled(RuleBasedStateMachine):
    """The model: which payloads were accepted, in order, and which the database always refuses."""

    @initialize(rows=st.integers(1, 40), connections=st.sampled_from([1, 1, 1, 3]), retries=st.integers(0, 2))
    def begin(self, rows, connections, retries):
        self.root = Path(tempfile.mkdtemp(prefix="hepcat-spool-"))
        self.rig = Rig(
            self.root, rows=rows, connections=connections, insert_retries=retries, insert_retry_timeout=0.02,
            linger=0.001, spool=2**20,
        )  # fmt: skip
        self.appended = []
        self.number = 0
        self.lost = {}
        self.refused = []
        self.rig.start()

    @rule(n=st.integers(1, 60), extra=st.sampled_from([(), (), ("X-A",)]), pad=st.sampled_from([0, 0, 900]))
    def append(self, n, extra, pad):
        records = [
            {"payload": b"%d " % (self.number + i) + b"-" * pad, "X-A": b"1"} if extra
            else {"payload": b"%d " % (self.number + i) + b"-" * pad}
            for i in range(n)
        ]  # fmt: skip
        self.number += n
        try:
            self.rig.store.append(build(records, extra))
        except StoreUnavailable as error:
            self.refused.append(error.drop)
        else:
            self.appended += [record["payload"] for record in records]

    @rule(plan=FAULTS)
    def fail(self, plan):
        self.rig.faults.plan = plan

    @rule(kind=st.sampled_from([None, None, "away", "password"]))
    def away(self, kind):
        self.rig.faults.away = {
            None: None,
            "away": StoreUnavailable("away", Drop.STORE_FAILED),
            "password": wrong_password(),
        }[kind]

    @precondition(lambda self: self.appended)
    @rule(chance=st.randoms(use_true_random=False), what=st.sampled_from(["refuse", "refuse", "bug"]))
    def refuse(self, chance, what):
        number = chance.randrange(max(0, self.number - 30), self.number + 30)
        getattr(self.rig.faults, what).update({b"%d " % number, b"%d " % number + b"-" * 900})

    @rule(rows=st.integers(1, 40), spool=st.sampled_from([2**20, 2**22]))
    def reconfigure(self, rows, spool):
        self.rig.settings = self.rig.settings.model_copy(update={"rows": rows, "spool": spool})
        self.rig.store.reconfigure(self.rig.settings)

    @rule(seconds=st.sampled_from([0, 0, 0.01, 1]))
    def restart(self, seconds):
        counts = self._stop(seconds)
        self.rig.start()
        assert self.rig.store.counts().taken == counts.waiting

    @rule(cut=st.integers(0, 400))
    def crash(self, cut):
        """Leave the spool as a killed process does: claims and floor as they were, a torn end."""
        files = {name: self.rig.spool / name for name in ("writer", "floor")}
        before = {name: path.read_bytes() for name, path in files.items() if path.exists()}
        self._stop(0)
        for name, path in files.items():
            path.write_bytes(before.get(name, b""))
        if (files := sorted(self.rig.spool.glob("0*.arrows"))) and cut:
            octets = files[-1].read_bytes()
            batches = octets.rfind(b"\xff\xff\xff\xff", 0, len(octets) - 8)
            files[-1].write_bytes(
                octets + octets[batches : batches + cut][: max(len(octets) - batches - 1, 0)]
            )
        self.rig.start()

    @precondition(lambda self: self.rig.faults.away is None)
    @rule()
    def drain(self):
        assert_sum(self.rig.drained())

    def _stop(self, seconds):
        counts = self.rig.stop(seconds)
        for reason, count in counts.drops.items():
            self.lost[reason] = self.lost.get(reason, 0) + count
        return counts

    def teardown(self):
        if not hasattr(self, "rig"):
            return
        try:
            self._check()
        finally:
            if self.rig.store is not None:
                self.rig.store.close(0)
            shutil.rmtree(self.root)

    def _check(self):
        self.rig.faults.away = None
        self.rig.drained()
        self._stop(5)
        found = self.rig.found()
        assert_once(found)
        assert set(found) <= set(self.appended)
        if self.rig.settings.connections == 1:
            there = set(found)
            assert found == [payload for payload in self.appended if payload in there]
        assert set(self.refused) <= {Drop.STORE_FULL}
        missing = set(self.appended) - set(found)
        assert len(missing) == sum(self.lost.values()), self.lost
        assert set(self.lost) <= {Drop.ROW_REFUSED, Drop.STORE_FAILED}
        aside = set()
        for path in self.rig.spool.glob("refused-*.arrows"):
            with pa.OSFile(str(path)) as file:
                table = pa.ipc.open_stream(file).read_all()
            aside |= {octets.as_py().split(b" ")[0] + b" " for octets in table.column("octets")}
        for payload in missing:
            assert payload in self.rig.faults.refused_alone or payload.rstrip(b"-") in aside
        assert not list(self.rig.spool.glob("0*.arrows"))


@pytest.mark.hypothesis
def test_machine(monkeypatch):
    monkeypatch.setattr(drain, "FIRST_WAIT", 0.0005)
    monkeypatch.setattr(drain, "LONGEST_WAIT", 0.002)
    monkeypatch.setattr(spool_module, "FILE_OCTETS", 2**15)
    monkeypatch.setattr(spool_module, "FLOOR_SECONDS", 0)
    monkeypatch.setattr(spool_module, "SMALL_OCTETS", 2**14)
    run = settings(
        max_examples=60,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Spooled, settings=run)
