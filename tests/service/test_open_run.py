"""The queries about a run: what they say, and that they follow the record."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from sweeper.errors import UsageError
from sweeper.record.storage.lease import acquire
from sweeper.service.open_run import OpenRun
from sweeper.service.service import Service
from sweeper.service.table import TrialQuery
from sweeper.service.thinning import evenly, thinned
from tests.service.runs import end, launch, make_run, make_trial, prune, report, small


def numbers(run: OpenRun, **query: object) -> list[int]:
    return [row.number for row in run.trials(TrialQuery(**query)).rows]  # type: ignore[arg-type]


def test_a_sweep_in_one_answer(tmp_path: Path) -> None:
    sweep = OpenRun(small(tmp_path)).sweep()
    assert (sweep.state, sweep.total, sweep.metric, sweep.maximize) == ("STOPPED", 4, "acc", True)
    assert sweep.counts == {"WAITING": 1, "COMPLETE": 1, "PRUNED": 1, "FAIL": 1}
    assert sweep.best is not None
    assert (sweep.best.number, sweep.best.value, sweep.best.params) == (0, 0.5, {"lr": 1})
    assert "best acc 0.5 of 0000" in sweep.verdict
    trials = next(part for part in sweep.budget if part.name == "trials")
    assert (trials.limit, trials.used, trials.spent) == (3, 3, True)
    assert [(one.do, one.by, one.because) for one in sweep.commands] == [("pause", "an agent", "its loss is flat")]


def test_pages_are_sorted_filtered_and_cut(tmp_path: Path) -> None:
    run = OpenRun(small(tmp_path))
    assert numbers(run) == [0, 1, 2, 3]  # the ranking; without a value last
    assert numbers(run, sort="value") == [1, 0, 2, 3]
    assert numbers(run, sort="value", descending=True) == [0, 1, 2, 3]
    assert numbers(run, sort="param:lr", descending=True) == [3, 2, 1, 0]
    assert numbers(run, states=["PRUNED", "FAIL"]) == [1, 2]
    assert numbers(run, flagged=True) == [1]
    assert numbers(run, text="lr=3") == [2]
    assert numbers(run, numbers=[3, 0]) == [0, 3]
    page = run.trials(TrialQuery(sort="number", offset=1, limit=2))
    assert ([row.number for row in page.rows], page.matched, page.total) == ([1, 2], 4, 4)
    assert [row.place for row in page.rows] == [2, None]
    assert page.rows[0].reason == "pruned by stalled at step 4: the reach is 0.001"


@pytest.mark.parametrize("text", ["lr=1e-4", "lr=0.0001", "0.0001", "LR=1E-4"])
def test_a_number_is_found_in_each_spelling(text: str, tmp_path: Path) -> None:
    directory = make_run(tmp_path)
    for number, rate in enumerate((1e-4, 3e-4)):
        make_trial(directory, number, lr=rate)
    assert numbers(OpenRun(directory), text=text) == [0]


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("metric:ac", "sort: expected metric:NAME, where NAME is acc, got 'metric:ac'"),
        ("param:dept", "sort: expected param:NAME, where NAME is depth or lr, got 'param:dept'"),
    ],
)
def test_a_sort_by_an_unknown_name_lists_the_nearest(sort: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=expected):
        numbers(OpenRun(small(tmp_path)), sort=sort)


def test_a_sort_by_a_metric_is_allowed_until_one_is_recorded(tmp_path: Path) -> None:
    directory = make_run(tmp_path)
    trial = make_trial(directory, 0)
    assert numbers(OpenRun(directory), sort="metric:loss") == [0]
    launch(trial)
    assert numbers(OpenRun(directory), sort="metric:acc") == [0]


@pytest.mark.parametrize("wrong", [{"sort": "colour"}, {"states": ["DONE"]}, {"limit": 0}, {"offset": -1}])
def test_a_query_that_is_wrong_says_what_was_expected(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="expected"):
        TrialQuery(**wrong)  # type: ignore[arg-type]


def test_a_query_follows_the_record_and_the_revision_grows_only_then(tmp_path: Path) -> None:
    directory = make_run(tmp_path)
    trial = launch(make_trial(directory, 0), [0.1])
    lease = acquire(trial.attempt(1).lease, holder="me")
    assert lease is not None
    run = OpenRun(directory)
    first = run.refresh()
    assert run.refresh() == first
    report(trial, [0.7], first=1)
    assert run.refresh() > first
    assert run.trials().rows[0].value == 0.7
    end(trial)
    prune(launch(make_trial(directory, 1), [0.9]))
    second = run.refresh()
    assert [(row.number, row.state) for row in run.trials().rows] == [(1, "PRUNED"), (0, "COMPLETE")]
    lease.release()
    assert run.refresh() == second


def test_a_trial_in_full(tmp_path: Path) -> None:
    run = OpenRun(small(tmp_path))
    trial = run.trial(1)
    assert trial.status.pruned is not None
    assert trial.status.pruned.rule == "stalled"
    assert [(one.number, one.slot, one.outcome) for one in trial.attempt_list] == [(1, "cpu 0", "stopped")]
    assert [one.name for one in trial.metrics] == ["acc"]
    assert [(one.do, one.by) for one in trial.commands] == [("pause", "an agent")]
    assert any("pause by an agent: its loss is flat" in line for line in trial.receipt)
    assert trial.receipt == run.why(1).lines
    with pytest.raises(UsageError, match=r"a trial \(0 to 3\), got 9"):
        run.trial(9)


def test_two_trials_side_by_side(tmp_path: Path) -> None:
    found = OpenRun(small(tmp_path)).compare(0, 1)
    assert [(one.name, one.first, one.second) for one in found.params] == [("lr", 1, 2)]
    assert found.equal == 2  # depth and the seed
    assert found.text == "0000 is better: acc 0.5, against 0.2 of 0001"
    assert [(one.name, one.first, one.second) for one in found.metrics] == [("acc", 0.4, 0.2)]


def test_curves_by_step_and_by_time(tmp_path: Path) -> None:
    run = OpenRun(small(tmp_path))
    (curve,) = run.curves([0]).curves
    assert (curve.metric, curve.x, curve.y, curve.recorded) == ("acc", [0, 1, 2], [0.1, 0.5, 0.4], 3)
    (curve,) = run.curves([0], by="time").curves
    assert curve.x == [2.0, 3.0, 4.0]  # since the launch
    found = run.curves([0], ["gradient/reach"])
    assert found.curves[0].y == [None, 0.5, 0.5]
    assert {"acc", "gradient/reach", "learning_rate"} <= {*found.metrics}
    assert run.curves([2]).curves[0].y == [None]
    with pytest.raises(UsageError, match="step or time"):
        run.curves([0], by="epoch")


def test_curves_follow_a_trial_that_runs(tmp_path: Path) -> None:
    directory = make_run(tmp_path)
    trial = launch(make_trial(directory, 0), [0.1])
    run = OpenRun(directory)
    assert run.curves([0]).curves[0].y == [0.1]
    report(trial, [0.2], first=1)
    assert run.curves([0]).curves[0].y == [0.1, 0.2]


def test_the_depth_profile_by_step(tmp_path: Path) -> None:
    depth = OpenRun(small(tmp_path)).depth(0)
    assert (depth.layers, depth.observations) == (("a", "b", "c", "d"), 3)
    assert [profile.step for profile in depth.profiles] == [0, 1, 2]
    assert depth.profiles[1].rms == [1.0, 2.0, 3.0, 4.0]  # the norm over the root of four entries
    assert [profile.reach for profile in depth.profiles] == [None, 0.5, 0.5]
    assert OpenRun(small(tmp_path, "t")).depth(0, most=2).profiles[-1].step == 2
    assert OpenRun(small(tmp_path, "u")).depth(3).profiles == []


def test_slots_over_time(tmp_path: Path) -> None:
    run = OpenRun(small(tmp_path))
    found = run.slots()
    assert found.slots == ["cpu 0"]
    assert [(one.number, one.begin, one.end, one.ended) for one in found.spans] == [
        (0, 10.0, 51.0, "completed"),
        (1, 10.0, 51.0, "stopped"),
        (2, 10.0, 51.0, "error"),
    ]
    assert (len(run.slots(most=1).spans), run.slots(most=1).left_out) == (1, 2)


def test_output_from_its_end_and_from_an_offset(tmp_path: Path) -> None:
    run = OpenRun(small(tmp_path))
    whole = run.output(0)
    assert (whole.text, whole.running) == ("one\ntwo ?[31mred?[0m\nthree\n", False)
    assert run.output(0, after=whole.end).text == ""
    assert run.output(0, most=8).text == "three\n"  # the line that is cut is left out
    assert run.output(0, after=0, most=4).text == "one\n"
    assert run.output(3).attempt == 0
    with pytest.raises(UsageError, match="expected one from 1 to 1, got 2"):
        run.output(0, attempt=2)


def test_thinning_keeps_the_ends_the_peaks_and_the_gaps() -> None:
    values = [float(i % 7) for i in range(10_000)]
    values[3333], values[4444] = 99.0, -99.0
    values[5000:5300] = [math.nan] * 300
    places = thinned(values, 200)
    assert len(places) <= 200
    assert places == sorted(set(places))
    assert {0, 3333, 4444, 9999} <= set(places)
    assert any(math.isnan(values[place]) for place in places)
    assert thinned([1.0, 2.0], 4) == [0, 1]
    assert evenly(1000, 5) == [0, 250, 500, 749, 999]


@pytest.mark.parametrize("most", [4, 5, 7, 50, 399])
def test_thinning_never_keeps_too_many(most: int) -> None:
    places = thinned([math.sin(i) for i in range(400)], most)
    assert len(places) <= most
    assert {0, 399} <= set(places)


def test_the_runs_of_a_folder_and_names_that_are_none(tmp_path: Path) -> None:
    small(tmp_path, "old")
    launch(make_trial(make_run(tmp_path, "empty"), 0))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/spec.json").write_text("{")
    service = Service(tmp_path)
    rows = {row.name: row for row in service.runs().runs}
    assert rows.keys() == {"old", "empty", "broken"}
    assert (rows["old"].trials, rows["broken"].state) == (4, "UNREADABLE")
    assert rows["broken"].problem
    assert service.run("old") is service.run("old")
    for name in ("../old", ".", "", "none", str(tmp_path / "old")):
        with pytest.raises(UsageError, match="expected the name of a run"):
            service.run(name)
    assert Service(tmp_path / "old").names() == ["old"]
    assert Service(tmp_path / "nowhere").runs().runs == []
