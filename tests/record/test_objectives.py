"""Several objectives of a trial: the evaluation that counts, constraints, and non-domination ranks."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.errors import RecordError
from sweeper.record.events import Launched, Metrics
from sweeper.record.facts import Facts
from sweeper.record.objectives import Constraint, Objective, Rows
from sweeper.record.pareto import dominates, ranks
from sweeper.record.storage.layout import TrialDir
from sweeper.record.trial import HistoryEntry, TrialRecord

Report = tuple[int, Mapping[str, float]]
LOSS, LATENCY, MEMORY = "loss/val", "latency_ms", "memory_gb"


def facts(**changes: object) -> dict[str, object]:
    known: dict[str, object] = {"number": 0, "configuration": 0, "seed": 0, "params": {}, "shown": {}, "command": []}
    known |= {"metric": LOSS, "maximize": False, "at": "last"}
    known |= {"objectives": [{"name": LOSS}, {"name": LATENCY, "maximize": True}]}
    return known | {"constraints": [{"name": MEMORY, "max": 16.0}]} | changes


def trial(tmp_path: Path, reports: Sequence[Report], **changes: object) -> TrialRecord:
    directory = TrialDir(tmp_path / "0000")
    directory.path.mkdir(exist_ok=True)
    directory.facts.write_text(json.dumps(facts(**changes)))
    entries = [HistoryEntry(1, at, Metrics(step=s, values=values)) for at, (s, values) in enumerate(reports, 1)]
    record = TrialRecord(directory=directory, facts=Facts.read(directory)).after([Launched(attempt=1, slot="cpu 0")])
    return record.with_history(entries, anew=True)


@pytest.mark.parametrize(
    ("reports", "step", "values"),
    [
        ([(9, {LOSS: 0.5, LATENCY: 3}), (19, {LOSS: 0.4, LATENCY: 4})], 19, (0.4, 4)),
        ([(9, {LOSS: 0.5}), (9, {LATENCY: 3}), (19, {LOSS: 0.4})], 19, (0.4, 3)),  # a constant so far
        ([(9, {LOSS: 0.5, LATENCY: 3}), (19, {LOSS: 0.4, LATENCY: 4}), (29, {LOSS: 0.3})], 19, (0.4, 4)),
        ([(9, {LOSS: 0.5, LATENCY: 3}), (19, {LATENCY: 4}), (29, {LATENCY: 5}), (19, {LOSS: 0.4})], 19, (0.4, 4)),
        ([(0, {LATENCY: 3}), *((s, {LOSS: 1 / s}) for s in range(1, 50))], 49, (1 / 49, 3)),
        ([*((s, {LOSS: 1 / s}) for s in range(1, 50)), (99, {LATENCY: 3})], 49, (1 / 49, 3)),
        ([(9, {LOSS: 0.5}), (10, {LATENCY: 3}), (19, {LOSS: 0.4}), (20, {LATENCY: 4})], 20, (0.4, 4)),
        ([(9, {LOSS: 0.5})], 9, None),
        ([(9, {"other": 0.5})], None, None),
        ([(9, {LOSS: 0.5, LATENCY: 3}), (19, {LOSS: math.nan, LATENCY: 4})], 19, None),
    ],
)
def test_the_last_step_with_all_objectives_counts(
    tmp_path: Path, reports: Sequence[Report], step: int | None, values: tuple[float, ...] | None
) -> None:
    record = trial(tmp_path, reports)
    assert record.values == values
    assert record.value == (None if values is None else values[0])
    assert (None if record.point is None else record.point.step) == step


def test_steps_that_cannot_count_any_more_are_dropped(tmp_path: Path) -> None:
    together = [(step, {LOSS: 1.0, LATENCY: 3}) for step in range(50)]
    assert len(trial(tmp_path, together).progress.rows.rows) == 1
    assert len(trial(tmp_path, [(0, {LATENCY: 3}), *((s, {LOSS: 1.0}) for s in range(1, 50))]).progress.rows.rows) <= 16


def test_an_objective_without_a_value_is_named(tmp_path: Path) -> None:
    point = trial(tmp_path, [(9, {LATENCY: 3})]).point
    assert point is not None
    assert point.missing == (LOSS, MEMORY)


def test_values_that_no_step_has_together_are_marked(tmp_path: Path) -> None:
    reports: list[Report] = [(9, {LOSS: 0.5}), (10, {LATENCY: 3}), (19, {LOSS: 0.4}), (20, {LATENCY: 4})]
    scattered, together = trial(tmp_path, reports).point, trial(tmp_path, [*reports, (20, {LOSS: 0.3})]).point
    assert scattered is not None
    assert together is not None
    assert (scattered.scattered, together.scattered) == (True, False)


REPORTS = st.lists(
    st.tuples(st.integers(0, 30), st.sampled_from([{LOSS: 1.0}, {LATENCY: 2.0}, {LOSS: 3.0, LATENCY: 4.0}])),
    max_size=40,
)


@given(REPORTS, st.integers(0, 40))
def test_reading_in_two_parts_gives_the_same(reports: list[Report], cut: int) -> None:
    whole, parts = Rows(), Rows()
    for step, values in reports:
        whole = whole.after(step, values, [LOSS, LATENCY])
    for step, values in [*reports[:cut], *reports[cut:]]:
        parts = parts.after(step, values, [LOSS, LATENCY])
    assert whole == parts
    assert len(whole.rows) <= 16


@given(REPORTS)
def test_the_values_are_those_of_a_step_that_existed(reports: list[Report]) -> None:
    """Oracle: all values by step, the last report of each."""
    rows, steps, last = Rows(), dict[int, dict[str, float]](), dict[str, float]()
    for step, values in reports:
        rows = rows.after(step, values, [LOSS, LATENCY])
        steps.setdefault(step, {}).update(values)
        last |= values
    point = rows.point([LOSS, LATENCY], [], last)
    both = {step for step, values in steps.items() if len(values) == 2}
    several = all(sum(name in values for values in steps.values()) > 1 for name in (LOSS, LATENCY))
    if point is not None and not point.scattered and several:
        assert point.step in both
        assert point.values == steps[point.step]


@pytest.mark.parametrize(
    ("bounds", "value", "violations"),
    [
        ({"max": 16}, 20, (4,)),
        ({"max": 16}, 16, (0,)),
        ({"min": 0.5}, 0.25, (0.25,)),
        ({"min": 0.5, "max": 1}, 0.75, (-0.25, -0.25)),
        ({"max": 16}, math.nan, (math.inf,)),
        ({"max": 16}, math.inf, (math.inf,)),
    ],
)
def test_a_violation_is_how_far_a_value_is_beyond_each_bound(
    bounds: Mapping[str, float], value: float, violations: tuple[float, ...]
) -> None:
    assert tuple(Constraint(name="m", **bounds).violations(value)) == violations


@pytest.mark.parametrize(
    ("reports", "violations"),
    [
        ([(9, {LOSS: 0.5, LATENCY: 3, MEMORY: 20}), (10, {MEMORY: 8})], (4.0,)),  # that of the evaluation
        ([(5, {MEMORY: 12}), (9, {LOSS: 0.5, LATENCY: 3})], (-4.0,)),
        ([(9, {LOSS: 0.5, LATENCY: 3}), (10, {MEMORY: 17})], (1.0,)),
        ([(9, {LOSS: 0.5, LATENCY: 3})], (math.inf,)),
    ],
)
def test_a_trial_is_feasible_if_all_bounds_are_kept(
    tmp_path: Path, reports: Sequence[Report], violations: tuple[float, ...]
) -> None:
    record = trial(tmp_path, reports)
    assert record.violations == violations
    assert record.is_feasible == (violations[0] <= 0)


def test_a_constraint_beside_one_metric_counts_with_its_last_value(tmp_path: Path) -> None:
    reports = [(9, {LOSS: 0.5, MEMORY: 20}), (19, {LOSS: 0.6, MEMORY: 8})]
    record = trial(tmp_path, reports, objectives=[], at="best")
    assert (record.value, record.values, record.violations) == (0.5, (0.5,), (-8.0,))


def test_a_record_from_before_objectives_is_read(tmp_path: Path) -> None:
    old = {key: value for key, value in facts().items() if key not in ("objectives", "constraints")}
    directory = TrialDir(tmp_path / "0000")
    directory.path.mkdir()
    directory.facts.write_text(json.dumps(old))
    read = Facts.read(directory)
    assert read.goals == (Objective(name=LOSS, maximize=False),)
    assert (read.objectives, read.constraints) == ((), ())


@pytest.mark.parametrize("damaged", ["x", [1], [{"maximize": True}], [{"name": 3}], [{"name": "a", "maximize": "no"}]])
def test_damaged_objectives_are_an_error_of_the_record(tmp_path: Path, damaged: object) -> None:
    directory = TrialDir(tmp_path / "0000")
    directory.path.mkdir()
    directory.facts.write_text(json.dumps(facts(objectives=damaged)))
    with pytest.raises(RecordError, match="expected the facts of a trial"):
        Facts.read(directory)


# ---- ranks

POINTS = st.lists(st.lists(st.integers(0, 5).map(float), min_size=4, max_size=4), max_size=25)


@given(POINTS, st.integers(1, 4))
def test_ranks_are_those_of_fronts_taken_away_one_by_one(points: list[list[float]], objectives: int) -> None:
    """Oracle: the definition, which compares every pair."""
    points = [point[:objectives] for point in points]
    left, expected, rank = set(range(len(points))), [0] * len(points), 0
    while left:
        front = {i for i in left if not any(dominates(points[j], points[i]) for j in left)}
        for index in front:
            expected[index] = rank
        left, rank = left - front, rank + 1
    assert ranks(points) == expected


@given(POINTS, st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0, math.inf]), min_size=25, max_size=25))
def test_what_misses_a_constraint_ranks_behind_by_how_much(points: list[list[float]], missed: list[float]) -> None:
    found = ranks(points, missed[: len(points)])
    for (one, a), (other, b) in itertools.combinations(zip(found, missed, strict=False), 2):
        if max(a, 0) != max(b, 0):
            assert (one < other) == (max(a, 0) < max(b, 0))
        elif a > 0:
            assert one == other
