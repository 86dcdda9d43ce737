"""A disk that fills up is warned of once it will be full within a day, and again each time that this has halved."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable
from pathlib import Path

from sweeper.orchestrator.resources.disk import DiskWatch
from sweeper.record.events import DiskFilling
from sweeper.results.wording import disk_text

GB = 1_000_000_000
HOUR = 3600


def warnings_of(free_at: Callable[[float], float], hours: float) -> list[tuple[float, DiskFilling]]:
    """Return the warnings of a disk with this free space, and the hours after which they come."""
    now = 0.0
    watch = DiskWatch(Path("/"), free=lambda: round(free_at(now)))
    found = []
    while now < hours * HOUR:
        if (warning := watch.check(now)) is not None:
            found.append((now / HOUR, warning))
        now += 5.0
    return found


def test_a_disk_that_fills_slowly_is_warned_of_at_each_halving_of_the_time_that_is_left() -> None:
    found = warnings_of(lambda now: 100 * GB * (1 - now / (30 * HOUR)), 29.9)
    left = [warning.seconds_left / HOUR for _, warning in found]
    assert 18 < left[0] <= 24
    assert all(after <= before / 2 * 1.05 for before, after in itertools.pairwise(left))
    assert left[-1] < 0.5
    assert len(found) <= 10
    for at, warning in found:
        assert abs(30 - at - warning.seconds_left / HOUR) < 0.1


def test_a_disk_that_fills_within_minutes_is_warned_of_in_time() -> None:
    found = warnings_of(lambda now: max(0.0, 100 * GB * (1 - now / (10 * 60))), 0.16)
    assert found[0][0] * 60 < 2
    assert found[0][1].seconds_left < 10 * 60


def test_a_disk_that_does_not_fill_is_not_warned_of() -> None:
    chance = random.Random(0)
    assert warnings_of(lambda _: 100 * GB, 30) == []
    assert warnings_of(lambda _: 100 * GB + chance.gauss(0, 0.5 * GB), 30) == []
    assert warnings_of(lambda now: 100 * GB - (now // 600 % 2) * 5 * GB, 30) == []  # a checkpoint is replaced
    assert warnings_of(lambda now: (100 - 5 * (now > HOUR)) * GB, 30) == []  # one large file


def test_little_space_is_warned_of_at_any_pace_and_at_each_halving() -> None:
    found = warnings_of(lambda now: 1.5 * GB if now < HOUR else 0.7 * GB, 3)
    assert [warning.free_gb for _, warning in found] == [1.5, 0.7]
    assert disk_text(found[0][1], "runs/a").startswith("The disk of runs/a has 1.5 GB left. Free some space")


def test_it_is_warned_of_anew_once_space_was_made() -> None:
    free = lambda now: (1.5 if now < HOUR or now > 2 * HOUR else 50) * GB  # noqa: E731
    assert [round(at) for at, _ in warnings_of(free, 3)] == [0, 2]


def test_the_warning_says_how_long_it_lasts() -> None:
    warning = DiskFilling(free_gb=12.34, seconds_left=2 * HOUR)
    text = "The disk of runs/a has 12.3 GB left and will be full in about 2h00m. Free some space: a full disk"
    assert disk_text(warning, "runs/a").startswith(text)
    assert math.isinf(DiskFilling(free_gb=1, seconds_left=math.inf).seconds_left)
