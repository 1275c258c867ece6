"""About how many records there are when: never too narrow, and near where they come evenly."""

import random

import pytest

from hepcat.stores.lake.spread import Part, Spread


def test_bounds_hold_all_records_of_any_range() -> None:
    dice = random.Random(1)
    for _ in range(300):
        groups = [sorted(dice.choices(range(100), k=dice.randint(1, 9))) for _ in range(dice.randint(0, 5))]
        spread = Spread(Part(times[0], times[-1], len(times)) for times in groups)
        since, until = dice.choice((None, dice.randrange(110))), dice.choice((None, dice.randrange(110)))
        low, high, rows = spread.about(since, until)
        here = [
            at
            for times in groups
            for at in times
            if (since is None or at >= since) and (until is None or at < until)
        ]
        if low is None or high is None:
            assert (low, high, rows, here) == (None, None, 0, [])
            continue
        assert rows >= 1
        assert all(low <= at <= high for at in here)
        if since is None and until is None:
            assert (low, high, rows) == (min(here), max(here), len(here))


def test_records_are_taken_to_come_evenly() -> None:
    spread = Spread([Part(0, 999, 1000), Part(1000, 1999, 9000)])
    assert spread.about(500, 1100) == (500, 1099, 1400)
    assert spread.about(900, None) == (900, 1999, 9100)
    assert spread.about(2000, 3000) == (None, None, 0)


@pytest.mark.parametrize(
    ("since", "until"), [(-(2**70), 2**70), (None, None), (0, 2**63), (-(2**63), 2**63 - 1)]
)
def test_no_time_is_too_far_away(since: int | None, until: int | None) -> None:
    spread = Spread([Part(-(2**63), 2**63 - 1, 10), Part(0, 0, 1)])
    assert spread.about(since, until)[2] in (6, 11)
