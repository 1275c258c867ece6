"""Retention by age and by size, counted."""

import datetime as dt
import time
from pathlib import Path

from hepcat.config.lake import LakeSettings
from hepcat.stores.lake import LakeWriter
from hepcat.stores.lake.catalog import listing
from hepcat.stores.lake.compact import Compactor
from hepcat.stores.lake.retention import retain
from tests.lake.count import assert_exactly
from tests.lake.make import NOON, numbered, traffic

DAY = 86_400_000_000
TODAY = dt.date(2026, 11, 23)
OFF = LakeSettings(compact=False)


def _days(path, days, rows=10):
    with LakeWriter(path, OFF) as writer:
        for k in range(days):  # the newest first in number, so that what stays is 0..
            writer.append(numbered(rows * k, rows, ts=NOON - k * DAY))
            writer.seal()


def test_days_older_than_the_limit_go_with_their_folder(tmp_path):
    _days(tmp_path, 6)
    deleted = retain(tmp_path, LakeSettings(retention_days=2), TODAY)
    assert (deleted.files, deleted.rows) == (3, 30)
    assert deleted.octets > 0
    assert_exactly(tmp_path, 30)
    assert sorted(p.name for p in (tmp_path / "sip").iterdir()) == [
        "date=2026-11-21",
        "date=2026-11-22",
        "date=2026-11-23",
    ]
    assert retain(tmp_path, LakeSettings(retention_days=2), TODAY).files == 0


def test_the_oldest_files_go_until_the_rest_fits(tmp_path):
    with LakeWriter(tmp_path, OFF) as writer:
        for k in range(4):
            writer.append(traffic(300, seed=k, ts=NOON - k * DAY))
            writer.seal()
    sizes = {p.parent.name: p.stat().st_size for p in tmp_path.glob("sip/*/*.parquet")}
    bound = sum(sizes.values()) - min(sizes.values()) // 2
    deleted = retain(
        tmp_path, LakeSettings.model_construct(retention_days=None, retention_octets=bound), TODAY
    )
    assert (deleted.files, deleted.rows) == (1, 300)
    assert sorted(p.parent.name for p in tmp_path.glob("sip/*/*.parquet")) == sorted(sizes)[1:]


def test_a_server_does_it_by_itself_and_counts(tmp_path):
    _days(tmp_path, 3)
    events = []
    settings = LakeSettings(retention_days=1)
    with LakeWriter(tmp_path, settings, on_event=lambda name, facts: events.append((name, facts))) as writer:
        end = time.monotonic() + 60
        while not any(name == "retention" for name, _ in events) and time.monotonic() < end:
            time.sleep(0.02)
        gone = dict(events)["retention"]["rows"]
        assert gone >= 10
        time.sleep(0.05)
        assert writer.stats()["retention_rows"] == gone


def test_without_settings_everything_stays(tmp_path):
    _days(tmp_path, 3)
    assert retain(tmp_path, LakeSettings(), TODAY).files == 0
    assert_exactly(tmp_path, 30)


def test_files_that_a_merge_replaced_push_no_good_day_out(tmp_path):
    """They are still there for a while, and are not in what the lake takes."""
    with LakeWriter(tmp_path, OFF) as writer:
        for k in range(4):
            writer.append(traffic(300, seed=k, ts=NOON - (3 if k == 0 else 0) * DAY))
            writer.seal()
    assert Compactor(tmp_path, LakeSettings(compact_files=3, delete_after=3600), lambda *_: None).step()
    found = listing(tmp_path)
    assert len(found.replaced) == 3
    bound = sum(Path(f.path).stat().st_size for f in found.files)
    settings = LakeSettings.model_construct(retention_days=None, retention_octets=bound)
    assert retain(tmp_path, settings, TODAY).files == 0
    settings = LakeSettings.model_construct(retention_days=None, retention_octets=bound - 1)
    deleted = retain(tmp_path, settings, TODAY)
    assert (deleted.files, deleted.rows) == (1, 300)
    assert [p.name for p in (tmp_path / "sip").iterdir()] == ["date=2026-11-23"]
