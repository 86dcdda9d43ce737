"""Values that rules and the ranking need, but that no trial records, are reported."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweeper import config
from sweeper.record.events import Metrics
from sweeper.record.objectives import Constraint, Objective
from sweeper.record.reader import read_trial
from sweeper.record.storage.layout import SweepDir, write_json
from sweeper.record.trial import TrialRecord
from sweeper.record.values.depth_profile import STATISTICS
from sweeper.results.receipt import receipt
from sweeper.results.status import read_sweep, to_json
from sweeper.rules.needs import CHANCE_S, EVALUATION_S, closest_metric, recorded, unmet
from sweeper.rules.settings import RULES, needs
from sweeper.views.terminal.live import PlainLines
from sweeper.views.terminal.passthrough import Passthrough
from sweeper.views.terminal.table import status_table
from tests.views.synthetic import START, Script, make_trial, play
from tests.views.terminal.test_live import rendered, view

REQUIRED = {
    "all": {"of": [{"non_finite": {}}]},
    "any": {"of": [{"non_finite": {}}]},
    "threshold": {"lower": 0.1},
    "update_ratio": {"low": 1e-5},
}
"""Settings without default."""


def rules(*rules: dict[str, Any]) -> object:
    """Return the key `early_stop` as in the resolved sweep."""
    given = {"name": "s", "method": "grid", "metric": {"name": "m"}, "command": ["true"]}
    return config.SweepSpec.from_json({**given, "early_stop": {"rules": list(rules)}}).to_json()["early_stop"]


def running(folder: Path, number: int = 0, **script: Any) -> TrialRecord:
    trial = make_trial(SweepDir(folder), number)
    play(trial, Script(until=320, outcome="", exit_code=None, **script))
    return read_trial(trial)


def silent(trial: TrialRecord, **metrics: float) -> TrialRecord:
    """Return the trial as if its script had watched nothing and had reported these metrics only."""
    series = trial.progress.metrics["loss/train"]
    kept = dict.fromkeys(metrics, series)
    return replace(trial, progress=replace(trial.progress, watching=None, observation=None, metrics=kept))


def test_every_condition_reads_something_and_no_pruner_does() -> None:
    for name, kind in RULES.items():
        resolved: Any = rules({name: REQUIRED.get(name, {})})
        assert bool(needs(name, resolved["rules"][0][name])) is issubclass(kind, config.RuleSettings), name


def test_nothing_is_reported_for_a_healthy_sweep(tmp_path: Path) -> None:
    trial = running(tmp_path)
    every: list[dict[str, Any]] = [{"stalled": {}}, {"zero_gradient": {}}, {"non_finite": {}}, {"median": {}}]
    assert unmet(rules(*every), [trial], START + 1000) == ()


def test_a_metric_that_no_trial_reports_is_named_with_the_pruners_that_need_it(tmp_path: Path) -> None:
    trial = silent(running(tmp_path), **{"accuracy-test": 1, "loss/train": 1})
    (line,) = unmet(rules({"median": {}}, {"hyperband": {}}), [trial], START + 1000)
    assert line == (
        "no trial has reported the metric accuracy/test so far: trials cannot be ranked, and "
        "median and hyperband cannot stop any (reported: accuracy-test, loss/train; did you mean accuracy-test?)"
    )


def test_each_objective_and_constraint_that_no_trial_reports_is_named(tmp_path: Path) -> None:
    trial = silent(running(tmp_path), **{"accuracy/test": 1, "loss/train": 1})
    objectives = (Objective(name="accuracy/test", maximize=True), Objective(name="latency_ms"))
    bounds = (Constraint(name="memory_gb", max=16.0),)
    trial = replace(trial, facts=replace(trial.facts, objectives=objectives, constraints=bounds))
    reported = "(reported: accuracy/test, loss/train)"
    assert unmet(None, [trial], START + 1000) == (
        f"no trial has reported the metric latency_ms so far: trials cannot be ranked {reported}",
        f"no trial has reported the metric memory_gb so far: no trial can keep to its bounds {reported}",
    )


@pytest.mark.parametrize(
    ("logged", "meant"),
    [
        ({"epoch": 1, "val_acc": 1}, "; did you mean val_acc, reported by wandb.log?)"),
        ({"epoch": 1, "grad": 1}, ")"),
    ],
)
def test_the_function_that_logged_what_was_probably_meant_is_named(
    tmp_path: Path, logged: dict[str, float], meant: str
) -> None:
    trial = silent(running(tmp_path), **logged)
    trial = replace(trial, progress=replace(trial.progress, inferred={"wandb.log": tuple(logged)}))
    (line,) = unmet(rules({"median": {}}), [trial], START + 1000)
    assert line.endswith(f"(reported: {', '.join(logged)}{meant}")


def test_what_the_automatic_watch_has_found_is_below_the_table_and_in_the_receipt(tmp_path: Path) -> None:
    trial = running(tmp_path)
    found = {"optimizers": ("opt (SGD)",), "models": ("net (Net)",), "wandb.log": ("val_acc",)}
    trial = replace(trial, progress=replace(trial.progress, inferred=found))
    line = "watch: auto found optimizers opt (SGD); models net (Net); wandb.log val_acc"
    assert f"  {line}" in rendered(status_table(view([trial]), width=100), 100)
    assert f"\n{line}\n" in receipt(trial)
    assert "watch: auto" not in receipt(running(tmp_path, 1))


def test_a_rule_on_gradients_without_a_watch_is_named_with_what_to_do(tmp_path: Path) -> None:
    trial = silent(running(tmp_path), **{"accuracy/test": 1})
    (line,) = unmet(rules({"stalled": {}}), [trial], START + 1000)
    assert line == (
        "the rule stalled cannot fire: no trial has recorded reach or update_ratio so far "
        "(no script calls trial.watch(model, optimizer))"
    )


def test_diagnoses_without_values_are_named_in_one_sentence(tmp_path: Path) -> None:
    trial = silent(running(tmp_path), **{"accuracy/test": 1})
    (line,) = unmet(rules({"vanishing_gradient": {}}, {"frozen": {}}, {"stuck": {}}), [trial], START + 1000)
    expected = "no trial has recorded the values that vanishing_gradient and frozen need so far"
    assert line == f"{expected} (no script calls trial.watch(model, optimizer))"


@pytest.mark.parametrize(
    ("rule", "script", "said"),
    [
        ({"stalled": {"ratio_of_start": None}}, {"layers": 0}, "recorded reach so far (reach needs 4 layers"),
        ({"zero_gradient": {}}, {"statistics": ("grad_norm",)}, "recorded gradient_zero so far"),
        ({"plateau": {"metric": "train_loss"}}, {}, "recorded train_loss so far (reported: accuracy/test"),
        ({"any": {"of": [{"plateau": {"metric": "x"}}, {"plateau": {"metric": "y"}}]}}, {}, "recorded x or y"),
        ({"all": {"of": [{"plateau": {"metric": "x"}}, {"plateau": {"metric": "y"}}]}}, {}, "recorded x and y"),
    ],
)
def test_each_missing_value_is_named(tmp_path: Path, rule: Any, script: dict[str, Any], said: str) -> None:
    (line,) = unmet(rules(rule), [running(tmp_path, **script)], START + 1000)
    assert line.startswith(f"the rule {next(iter(rule))} cannot fire: ")
    assert said in line


@pytest.mark.parametrize(
    ("statistics", "expected"),
    [
        (STATISTICS, {"update_ratio", "gradient_zero"}),
        ((*STATISTICS, "a_later_statistic"), {"update_ratio", "gradient_zero"}),
        (tuple(name for name in STATISTICS if name != "grad_zero"), {"update_ratio"}),
        (("grad_norm", "grad_zero"), {"gradient_zero"}),
        (("grad_norm",), set()),
    ],
)
def test_recorded_statistics_count_by_name(tmp_path: Path, statistics: tuple[str, ...], expected: set[str]) -> None:
    trial = running(tmp_path)
    assert trial.progress.watching is not None
    watching = replace(trial.progress.watching, statistics=statistics)
    other = replace(trial, progress=replace(trial.progress, watching=watching))
    assert recorded(other) & {"update_ratio", "gradient_zero"} == expected


def test_nothing_is_reported_before_a_trial_has_run_for_a_while(tmp_path: Path) -> None:
    trial = silent(running(tmp_path))
    launched = trial.attempts[0].launch_time
    said = [len(unmet(rules({"stalled": {}}), [trial], launched + s)) for s in (CHANCE_S - 1, CHANCE_S, EVALUATION_S)]
    assert said == [0, 1, 2]  # the rule, and later the metric, which may come at the end of an epoch


def test_a_complete_trial_counts_however_short_it_is(tmp_path: Path) -> None:
    run = SweepDir(tmp_path)
    play(make_trial(run, 0), Script(until=20, total=20))
    trial = silent(read_trial(run.trial(0)))
    assert trial.seconds(START) < CHANCE_S
    assert len(unmet(rules({"stalled": {}}), [trial], START)) == 2


def test_one_trial_that_records_the_value_is_enough(tmp_path: Path) -> None:
    trials = [silent(running(tmp_path)), running(tmp_path, 1)]
    assert unmet(rules({"stalled": {}}), trials, START + 1000) == ()


@pytest.mark.parametrize("odd", [None, 1, [], {}, {"rules": 1}, {"rules": [1]}, {"rules": [{"stalled": 1}]}])
def test_a_malformed_early_stop_is_ignored(tmp_path: Path, odd: object) -> None:
    assert unmet(odd, [running(tmp_path)], START + 1000) == ()


# ---- where it is shown -----------------------------------------------------------------------------------------------

LINES = ("the rule stalled cannot fire:" + " for a reason that takes two lines of a terminal" * 2, "another")


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_table_shows_all_lines_within_its_width_and_height(tmp_path: Path, width: int) -> None:
    trials = [running(tmp_path, number) for number in range(8)]
    lines = rendered(status_table(view(trials, unmet=LINES), width=width, height=14), width)
    assert max(map(len, lines)) <= width
    assert len(lines) <= 14
    assert " ".join(" ".join(lines).split()).count("for a reason that takes two lines of a terminal") == 2
    assert any("another" in line for line in lines)


def test_the_plain_view_prints_each_line_once(tmp_path: Path) -> None:
    stream, sweep = io.StringIO(), view([running(tmp_path)], unmet=LINES[:1])
    lines = PlainLines(stream)
    lines.update(sweep)
    lines.update(replace(sweep, messages=("something else",)))
    lines.update(replace(sweep, unmet=LINES))
    assert [stream.getvalue().count(f"{line}\n") for line in LINES] == [1, 1]


def test_exec_prints_a_line_once_while_the_command_runs(tmp_path: Path) -> None:
    words, sweep = io.StringIO(), view([running(tmp_path)], unmet=("another",), state="running")
    shown = Passthrough(io.BytesIO(), words)
    shown.update(sweep)
    shown.update(replace(sweep, unmet=("another", "late"), state="complete"))
    assert "late" not in words.getvalue()
    assert words.getvalue().count("sweeper: another\n") == 1


def test_status_reports_it_from_the_record_alone(tmp_path: Path) -> None:
    run = SweepDir(tmp_path)
    write_json(run.spec, {"name": "s", "spec": {"early_stop": rules({"plateau": {"metric": "missing"}})}})
    play(make_trial(run, 0), Script(extra=[Metrics(time=START, step=0, values={"loss": 1.0})]))
    sweep = read_sweep(run)
    assert len(sweep.unmet) == 1
    assert json.loads(json.dumps(to_json(sweep)))["unmet"] == list(sweep.unmet)


@pytest.mark.parametrize(
    ("metric", "names", "close"),
    [
        ("accuracy", ["val_acc", "test_acc"], "val_acc"),
        ("acc", ["test_acc", "eval/acc"], "eval/acc"),
        ("loss", ["test_loss", "valid_loss", "train_loss"], "valid_loss"),
        ("test/acc", ["val_acc", "test_acc"], "test_acc"),  # that set was meant
        ("acc", ["accuracy/test", "loss/train"], "accuracy/test"),  # the only set that is evaluated
    ],
)
def test_the_set_that_is_kept_for_the_end_is_not_proposed(metric: str, names: list[str], close: str) -> None:
    assert closest_metric(metric, frozenset(names)) == close
