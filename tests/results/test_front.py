"""The Pareto front in rankings, receipts, exports, the JSON and comparisons."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import optuna
import pytest

from sweeper.backtest.audits import outcomes
from sweeper.cli import main
from sweeper.config import SweepSpec
from sweeper.orchestrator.search.studies import entries_of
from sweeper.record.decision import Decision
from sweeper.record.events import AUDITED, Continued, Exit, Finished, Launched, Metrics, Started, StopRequested
from sweeper.record.reader import read_trials
from sweeper.record.storage.codec import encode
from sweeper.record.storage.journal import JournalWriter
from sweeper.record.storage.layout import SweepDir, write_json
from sweeper.results.captions import FRONT
from sweeper.results.export import export_of
from sweeper.results.front import front_of, trial_ranks
from sweeper.results.front_points import front_points
from sweeper.results.ranking import end_text, ranked, ranking_text
from sweeper.results.receipt import receipt
from sweeper.results.status import read_sweep, to_json
from sweeper.search.importance import importance
from sweeper.service.open_run import OpenRun

LOSS, LATENCY, MEMORY = "loss/val", "latency_ms", "memory_gb"
OBJECTIVES = [{"name": LOSS}, {"name": LATENCY}]
BOUNDS = [{"name": MEMORY, "max": 16}]
Values = Mapping[str, float]

TRIALS: Sequence[tuple[Values, str]] = (
    ({LOSS: 0.5, LATENCY: 10, MEMORY: 8}, "completed"),
    ({LOSS: 0.4, LATENCY: 20, MEMORY: 8}, "completed"),
    ({LOSS: 0.6, LATENCY: 12, MEMORY: 8}, "completed"),  # 0 dominates it
    ({LOSS: 0.1, LATENCY: 5, MEMORY: 20}, "completed"),  # beyond the constraint
    ({LOSS: 9.0, LATENCY: 1, MEMORY: 8}, "stopped"),  # diverged, and fast
    ({LOSS: 0.7, MEMORY: 8}, "completed"),  # no latency
    ({LOSS: math.nan, LATENCY: 3, MEMORY: 8}, "completed"),
)


def make(
    folder: Path,
    trials: Sequence[tuple[Values, str]] = TRIALS,
    *,
    seeds: int = 1,
    objectives: Sequence[Mapping[str, object]] = OBJECTIVES,
) -> SweepDir:
    run = SweepDir(folder / "runs" / "s")
    (run.path / "trials").mkdir(parents=True)
    metric = {} if objectives else {"metric": {"name": LOSS}}
    spec = SweepSpec.from_json(
        {
            "name": "s",
            "method": "random",
            "command": ["a"],
            "constraints": BOUNDS,
            "parameters": {"lr": {"min": 0.0, "max": 99.0}},
            **({"objectives": list(objectives)} if objectives else metric),
        }
    )
    write_json(run.spec, {"name": "s", "spec": spec.to_json()})
    targets = [{"name": one["name"], "maximize": one.get("goal") == "maximize"} for one in objectives]
    for number, (values, outcome) in enumerate(trials):
        trial, attempt = run.trial(number), run.trial(number).attempt(1)
        attempt.path.mkdir(parents=True)
        params = {"lr": float(number // seeds)}
        facts: dict[str, object] = {
            "number": number,
            "configuration": number // seeds,
            "seed": number % seeds,
            "seeds": seeds,
        }
        facts |= {"params": params, "shown": params, "command": [], "metric": LOSS, "maximize": False, "at": "last"}
        write_json(trial.facts, {**facts, "objectives": targets, "constraints": BOUNDS})
        decision = Decision(rule="diverged", step=4, reason="because", evidence={"value": 1})
        stop = [StopRequested(time=12.5, attempt=1, cause="pruned", decision=decision)] if outcome == "stopped" else []
        with JournalWriter(trial.control) as control:
            control.extend([Launched(time=10.0, attempt=1, slot="cpu 0"), *stop])
        with JournalWriter(attempt.events) as events:
            metrics = Metrics(time=12.0, step=4, values=values)
            events.extend([Started(time=11.0, pid=1, host="h"), metrics, Finished(time=13.0, outcome=outcome)])
        exit_ = Exit(time=14.0, attempt=1, code=0, signal=None, cause="", peak_memory_mb=1)
        attempt.exit.write_bytes(encode(exit_))
    return run


def test_the_front_is_first_and_what_did_not_end_well_is_not_on_it(tmp_path: Path) -> None:
    trials = read_sweep(make(tmp_path)).trials
    assert [trial.number for trial in front_of(trials)] == [1, 0]
    assert trial_ranks(trials) == {0: 0, 1: 0, 2: 1, 3: 2}
    assert [trial.number for trial in ranked(trials)] == [1, 0, 2, 3, 4, 5, 6]
    text = "Pareto front of 2 trials: 0001 (loss/val 0.4, latency_ms 20), 0000 (loss/val 0.5, latency_ms 10)"
    assert end_text("complete", trials).endswith(f"; {text}")


def test_the_page_and_the_report_draw_the_same_front(tmp_path: Path) -> None:
    run = make(tmp_path)
    points = front_points(read_sweep(run).trials)
    assert points is not None
    assert [trial.number for trial in points.trials] == [0, 1, 2, 3, 4]  # the others lack an objective
    assert [trial.number for trial in points.front] == [1, 0]
    assert (points.pairs, points.is_stepped) == ([(0, 1)], True)
    chart = OpenRun(run).front()
    assert (chart.front, chart.caption) == ([1, 0], FRONT)
    known = dict(zip(chart.numbers, zip(*(axis.values for axis in chart.axes), strict=True), strict=True))
    assert known == {trial.number: trial.values for trial in points.trials}
    assert dict(zip(chart.numbers, chart.feasible, strict=True))[3] is False
    assert [axis.better for axis in chart.axes] == ["lower is better", "lower is better"]


def test_a_large_chart_leaves_out_trials_behind_the_front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeper.service.front.MOST", 1)
    chart = OpenRun(make(tmp_path)).front()
    assert (chart.numbers, chart.left_out) == ([1, 0, 2], 2)


def test_one_objective_has_no_front_to_draw(tmp_path: Path) -> None:
    run = make(tmp_path, objectives=())
    assert front_points(read_sweep(run).trials) is None
    assert OpenRun(run).front().numbers == []


def test_the_ranking_has_a_column_for_each_objective_and_marks_what_is_beyond_a_bound(tmp_path: Path) -> None:
    lines = ranking_text(read_sweep(make(tmp_path))).splitlines()
    assert lines[0].split() == [
        "rank",
        LOSS,
        LATENCY,
        MEMORY,
        "at",
        "step",
        "trial",
        "parameters",
        "seed",
        "state",
        "time",
    ]
    cells = [line.split()[:4] for line in lines[1:8]]
    assert cells[0] == ["front", "0.4", "20", "8"]
    assert cells[2:4] == [["2", "0.6", "12", "8"], ["infeasible", "0.1", "5", "20!"]]
    assert cells[4:6] == [["-", "9", "1", "8"], ["-", "0.7", "-", "8"]]
    assert "! is beyond a constraint (memory_gb <= 16): 1 trial." in lines
    assert lines[-1].startswith("Pareto front of 2 trials: 0001 (")


def test_with_seeds_configurations_rank_by_their_means(tmp_path: Path) -> None:
    good, bad, slow = {LOSS: 0.2, LATENCY: 10, MEMORY: 8}, {LOSS: 0.8, LATENCY: 12, MEMORY: 8}, {LOSS: 0.1, LATENCY: 30}
    beyond = {LOSS: 0.1, LATENCY: 1, MEMORY: 20}
    trials = [good, bad, bad, bad, {**slow, MEMORY: 1}, {**slow, MEMORY: 2}, good, beyond]
    sweep = read_sweep(make(tmp_path, [(values, "completed") for values in trials], seeds=2))
    lines = ranking_text(sweep).splitlines()
    assert lines[0].split()[:5] == ["rank", "mean", LOSS, "95%", "interval"]
    ranks = {line.split("lr=")[1].split()[0]: line.split()[0] for line in lines[1:5]}
    assert ranks == {"2": "front", "0": "front", "1": "2", "3": "infeasible"}
    assert lines[-1] == (
        "Pareto front of 2 configurations: lr=2 (loss/val 0.1, latency_ms 30), lr=0 (loss/val 0.5, latency_ms 11)."
    )


@pytest.mark.parametrize(
    ("number", "lines"),
    [
        (0, ["complete: loss/val 0.5, latency_ms 10 at step 4, after 5 steps", "on the Pareto front, with 1 of 6"]),
        (2, ["rank 2: 0000 is at least as good in every objective (loss/val 0.5, latency_ms 10)"]),
        (3, ["not on the Pareto front: memory_gb 20 is beyond memory_gb <= 16"]),
        (4, ["not on the Pareto front, because it did not end well"]),
        (5, ["latency_ms was not logged, so the trial has no rank; other metrics: loss/val 0.7, memory_gb 8"]),
        (6, ["loss/val was not finite, so the trial has no rank"]),
    ],
)
def test_the_receipt_says_why_a_trial_is_not_on_the_front(tmp_path: Path, number: int, lines: list[str]) -> None:
    trials = read_sweep(make(tmp_path)).trials
    text = receipt(trials[number], [trial for trial in trials if trial.number != number])
    for line in lines:
        assert line in text


def test_the_json_has_values_ranks_and_the_front(tmp_path: Path) -> None:
    status = json.loads(json.dumps(to_json(read_sweep(make(tmp_path)))))
    assert status["front"] == [1, 0]
    keys = ("values", "constraints", "feasible", "rank")
    found = [tuple(trial[key] for key in keys) for trial in status["trials"]]
    assert found[3] == ({LOSS: 0.1, LATENCY: 5.0}, {MEMORY: 20.0}, False, 2)
    assert found[5] == (None, {MEMORY: 8.0}, True, None)


def test_the_table_has_a_column_for_each_objective(tmp_path: Path) -> None:
    table = export_of(read_sweep(make(tmp_path)))
    rows = list(csv.DictReader(table.csv().splitlines()))
    names = (f"objectives.{LOSS}", f"objectives.{LATENCY}", f"constraints.{MEMORY}", "feasible", "rank")
    assert tuple(rows[3][name] for name in names) == ("0.1", "5.0", "20.0", "False", "2")
    assert tuple(rows[5][name] for name in names) == ("", "", "8.0", "True", "")


def test_the_optuna_study_has_the_same_front(tmp_path: Path) -> None:
    run = make(tmp_path)
    assert main(["export", str(run.path), "--optuna", str(tmp_path / "study.db")]) == 0
    [summary] = optuna.get_all_study_summaries(f"sqlite:///{tmp_path / 'study.db'}")
    study = optuna.load_study(study_name=summary.study_name, storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert [direction.name for direction in study.directions] == ["MINIMIZE", "MINIMIZE"]
    assert study.metric_names == [LOSS, LATENCY]
    assert sorted(trial.user_attrs["number"] for trial in study.best_trials) == [0, 1]


def test_each_objective_has_its_own_importances(tmp_path: Path) -> None:
    trials = [({LOSS: n / 10, LATENCY: 7.0, MEMORY: 1}, "completed") for n in range(8)]
    run = make(tmp_path, trials)
    spec = SweepSpec.from_json(json.loads(run.spec.read_text())["spec"])
    entries = entries_of(read_trials(run)[0])
    assert importance(spec, entries) == {"lr": 1.0}
    assert importance(spec, entries, 1) == {}, "all latencies are equal"


def test_the_report_shows_the_front(tmp_path: Path) -> None:
    run = make(tmp_path)
    assert main(["report", str(run.path)]) == 0
    page = (run.report / "report.html").read_text()
    assert "<h2>Pareto front</h2>" in page
    assert "Pareto front of 2 trials: 0001 (loss/val 0.4, latency_ms 20)" in page
    for head in ("rank", LOSS, LATENCY, MEMORY):
        assert f"<th>{head}</th>" in page


def test_with_three_objectives_the_report_shows_each_pair(tmp_path: Path) -> None:
    page = report_of(make(tmp_path, objectives=[*OBJECTIVES, {"name": MEMORY, "goal": "maximize"}]))
    figure = page.split("<h2>Pareto front</h2>")[1].split("</svg>")[0]
    assert figure.count(f"{MEMORY} (higher is better)") == 2
    assert figure.count(f"{LOSS} (lower is better)") == 2


def test_with_one_metric_the_report_has_no_front(tmp_path: Path) -> None:
    assert "Pareto front" not in report_of(make(tmp_path, objectives=[]))


def report_of(run: SweepDir) -> str:
    assert main(["report", str(run.path)]) == 0
    return (run.report / "report.html").read_text()


def test_with_one_metric_constraints_decide_first(tmp_path: Path) -> None:
    sweep = read_sweep(make(tmp_path, objectives=[]))
    order = [trial.number for trial in ranked(sweep.trials)]
    assert order == [1, 0, 2, 5, 4, 3, 6]
    assert front_of(sweep.trials) == []
    lines = ranking_text(sweep).splitlines()
    assert lines[0].split()[:4] == ["last", LOSS, MEMORY, "at"]
    assert [line.split()[1] for line in lines[1:7]] == ["8", "8", "8", "8", "8", "20!"]
    text = receipt(sweep.trials[3])
    assert "misses a constraint: memory_gb 20 is beyond memory_gb <= 16" in text


def test_an_audited_trial_on_the_front_has_learned(tmp_path: Path) -> None:
    """Its first objective is the worst of all, but no trial is as fast."""
    trials = [({LOSS: loss, LATENCY: 10, MEMORY: 1}, "completed") for loss in (0.1, 0.2, 0.3)]
    trials += [({LOSS: 0.9, LATENCY: 1, MEMORY: 1}, "completed"), ({LOSS: 0.9, LATENCY: 20, MEMORY: 1}, "completed")]
    run = make(tmp_path, trials)
    decision = Decision(rule="stuck", step=4, reason="because", evidence={"value": 1}, version="stuck-1")
    for number in (3, 4):
        with JournalWriter(run.trial(number).control) as control:
            control.append(Continued(time=12.5, attempt=1, cause=AUDITED, decision=decision))
    assert outcomes(read_sweep(run).trials) == [("stuck-1", True), ("stuck-1", False)]


def test_two_sweeps_are_compared_by_their_fronts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    better = [({LOSS: 0.3, LATENCY: 9, MEMORY: 1}, "completed"), ({LOSS: 0.9, LATENCY: 8, MEMORY: 1}, "completed")]
    mixed = [({LOSS: 0.3, LATENCY: 30, MEMORY: 1}, "completed")]
    first, second, third = (
        str(make(tmp_path / name, trials).path) for name, trials in (("a", TRIALS), ("b", better), ("c", mixed))
    )
    assert main(["compare", first, second, third]) == 0
    out = capsys.readouterr().out
    assert "the front of A has 2 trials; the front of B dominates 2 of them" in out
    assert "the front of B has 2 trials; the front of A dominates 0 of them" in out
    assert "The front of B is better than that of A: it dominates or equals every point of it." in out
    assert "Neither front is better: each has points that the other does not dominate (A and C)." in out
    assert "   Pareto front of 2 trials: 0001 (loss/val 0.4, latency_ms 20), 0000 (loss/val 0.5, latency_ms 10)" in out
