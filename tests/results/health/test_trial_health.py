"""The health of trials in the table, the receipt, the JSON and the end of a sweep."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sweeper.record.events import (
    Diagnosed,
    Event,
    Exit,
    Finished,
    Launched,
    Metrics,
    Noted,
    Observation,
    Parameters,
    Plan,
    Started,
)
from sweeper.record.reader import history, read_trial
from sweeper.record.storage.codec import encode
from sweeper.record.storage.journal import JournalWriter
from sweeper.record.storage.layout import SweepDir, TrialDir, write_json
from sweeper.record.trial import TrialRecord
from sweeper.results.health.advice import by_learning_rate
from sweeper.results.health.timeline import MOST_CHANGES, timeline
from sweeper.results.health.trial_health import (
    counts_text,
    health_text,
    is_healthy,
    read_diagnosed,
    unobserved_text,
    values_text,
)
from sweeper.results.ranking import end_text, ranking_text
from sweeper.results.receipt import receipt
from sweeper.results.status import NO_CALL, SweepReader, read_sweep, to_json
from sweeper.rules import health_of, needs
from sweeper.rules.diagnoses import DIAGNOSES, Effect
from sweeper.views.terminal.table import status_table
from tests.views.synthetic import START, Script, began, diagnose, facts, make_trial, over, play
from tests.views.terminal.test_live import HOSTILE, rendered, view

VANISHING = DIAGNOSES["vanishing_gradient"]


def trial_with(run: SweepDir, number: int, *changes: Diagnosed, lr: float = 6e-4, **script: Any) -> TrialRecord:
    """A trial with a recorded timeline and a learning rate."""
    shown = {"lr": lr}
    trial = make_trial(run, number, params=shown, shown=shown)
    play(trial, Script(**{"until": 130, **script}))
    diagnose(trial, *changes)
    return read_trial(trial)


@pytest.fixture
def run(tmp_path: Path) -> SweepDir:
    return SweepDir(tmp_path / "runs" / "s")


# ---- the column -----------------------------------------------------------------------------------------------------


def test_a_trial_is_ok_or_unknown_or_has_its_most_important_diagnosis(run: SweepDir) -> None:
    assert health_text(trial_with(run, 0)) == "ok"
    assert health_text(read_trial(make_trial(run, 1))) == "-"
    assert health_text(trial_with(run, 2, began("vanishing_gradient", 110))) == "vanishing since 110"
    several = trial_with(run, 3, began("converged", 20), began("oscillating", 40), began("non_finite", 60, 60))
    assert health_text(several) == "non-finite since 60 +2"
    ended = trial_with(run, 4, began("stuck", 20), over("stuck", 20, 90))
    assert health_text(ended) == "ok"
    assert not any(trial.health for trial in (ended, read_trial(make_trial(run, 5))))


def test_observations_of_a_record_from_before_the_diagnoses_are_not_called_ok(run: SweepDir) -> None:
    trial = make_trial(run)
    observation = Observation(time=START, step=9, row=0, reach=1.0, update_ratio=1e-3, learning_rate=1e-3)
    play(trial, Script(until=5, extra=[observation], outcome="", exit_code=None))
    assert health_text(read_trial(trial)) == "-"


@pytest.mark.parametrize("name", DIAGNOSES)
def test_every_class_has_a_short_name_without_underscores(run: SweepDir, name: str) -> None:
    text = health_text(trial_with(run, 0, began(name, 7)))
    assert text.endswith(" since 7")
    assert "_" not in text
    assert len(text) <= len("no gradient since 7")


def test_a_healthy_trial_has_nothing_that_stops_or_warns(run: SweepDir) -> None:
    assert is_healthy(trial_with(run, 0, began("converged", 20)))
    assert not is_healthy(trial_with(run, 1, began("oscillating", 20)))
    assert not is_healthy(trial_with(run, 2, began("of_a_newer_version", 20)))


def test_the_health_column_loses_the_step_and_is_then_dropped_in_a_narrow_table(run: SweepDir) -> None:
    sweep = view([trial_with(run, 0, began("vanishing_gradient", 110)), trial_with(run, 1)])
    lines = {width: rendered(status_table(sweep, width=width), width) for width in (40, 74, 100)}
    assert [line.split()[-1] for line in lines[100][1:4]] == ["health", "110", "ok"]
    assert lines[100][2].endswith("vanishing since 110")
    assert [line.split()[-1] for line in lines[74][1:4]] == ["health", "vanishing", "ok"]
    assert "health" not in lines[40][1]
    for width in range(20, 120):
        assert max(map(len, rendered(status_table(sweep, width=width), width))) <= width


def test_diagnoses_that_stop_are_red_and_warnings_are_yellow(run: SweepDir) -> None:
    trials = [trial_with(run, i, began(name, 7)) for i, name in enumerate(("stuck", "saturated", "converged"))]
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system="standard")
    console.print(status_table(view(trials), width=120))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "\x1b[31mstuck since 7" in shown
    assert "\x1b[33msaturated since 7" in shown
    assert "\x1b[0mconverged" not in shown
    assert "converged since 7" in shown


def test_the_line_says_which_values_are_the_loss_and_the_score(run: SweepDir) -> None:
    def said(metric: str, *names: str) -> str:
        number = len(run.trials())
        trial = make_trial(run, number, metric=metric)
        reported = Metrics(time=START, step=3, values=dict.fromkeys(names, 1.0))
        play(trial, Script(until=0, extra=[reported] if names else []))
        return values_text([read_trial(trial)])

    assert said("accuracy/test", "loss/train", "accuracy/test") == "loss: loss/train; score: accuracy/test"
    assert said("val_loss", "loss", "val_loss", "acc") == "loss: loss; held-out loss: val_loss; score: acc"
    assert said("loss", "loss") == "loss: loss; score: none recognised"
    assert said("gain", "loss") == "loss: loss; score: gain (not logged yet)"
    assert said("", "a", "b") == "loss: none, score: none (no name of a logged metric fits: a, b)"
    assert said("accuracy") == ""


# ---- for programs ---------------------------------------------------------------------------------------------------


def test_json_has_the_timeline_of_each_trial(run: SweepDir) -> None:
    (run.path / "trials").mkdir(parents=True)
    write_json(run.spec, {"name": "s", "spec": {}})
    evidence = {"statistic": "reach", "median": math.nan}
    trial_with(run, 0, began("vanishing_gradient", 110, 130, reason="gone", evidence=evidence))
    trial_with(run, 1, began("stuck", 20, 30), over("stuck", 20, 90))
    first, second = json.loads(json.dumps(to_json(read_sweep(run)), allow_nan=False))["trials"]
    found = {"diagnosis": "vanishing_gradient", "since": 110, "step": 130, "holds": True, "reason": "gone"}
    assert first["health"] == [{**found, "evidence": {"statistic": "reach", "median": "nan"}, "effect": "stops"}]
    assert first["healthy"] is False
    assert [(one["step"], one["holds"]) for one in second["health"]] == [(30, True), (90, False)]
    assert second["healthy"] is True


# ---- the receipt ----------------------------------------------------------------------------------------------------


def test_the_receipt_has_the_timeline_and_the_advice_on_what_holds(run: SweepDir) -> None:
    changes = [began("oscillating", 20, 30, reason="it swings"), over("oscillating", 20, 90)]
    trial = trial_with(run, 0, *changes, began("vanishing_gradient", 110, reason="the gradient is gone"))
    text = receipt(trial)
    expected = f"""
health: vanishing since 110
  since 20, found at 30    oscillating: it swings
  at 90                    oscillating no longer holds
  since 110, found at 130  vanishing_gradient: the gradient is gone
    advice: {VANISHING.advice}
"""
    assert expected in text
    assert text.count("advice:") == 1


def test_the_receipt_of_a_healthy_trial_says_so_and_that_of_a_plain_command_says_nothing(run: SweepDir) -> None:
    assert "\nhealth: ok\n" in receipt(trial_with(run, 0))
    plain = make_trial(run, 1)
    with JournalWriter(plain.control) as control:
        control.append(Launched(time=START, attempt=1, slot="cpu 0"))
    assert "health" not in receipt(read_trial(plain))


def test_of_many_changes_the_newest_and_those_that_hold_are_shown(run: SweepDir) -> None:
    swings = [
        change
        for step in range(100, 200)
        for change in (began("oscillating", step, step), over("oscillating", step, step))
    ]
    trial = trial_with(run, 0, began("saturated", 5), *swings)
    lines = timeline(trial)
    assert len(lines) == MOST_CHANGES + 2
    assert lines[0].text == "160 changes are not shown"
    assert lines[1].text == "saturated: because"


def test_hostile_text_in_a_timeline_is_shown_and_does_nothing(run: SweepDir) -> None:
    trial = trial_with(run, 0, began(HOSTILE, 3, reason=HOSTILE))
    sweep = view([trial])
    console = Console(file=io.StringIO(), width=160, force_terminal=False)
    console.print(status_table(sweep, width=160))
    assert isinstance(console.file, io.StringIO)
    for text in (console.file.getvalue(), receipt(trial), ranking_text(sweep), end_text("complete", [trial])):
        assert "[red]x[/red]?[31m? next?" in text
        assert not {"\x1b", "\x07", "\u202e"} & set(text)


# ---- what siblings say of the learning rate -------------------------------------------------------------------------


def test_the_advice_names_the_highest_learning_rate_up_to_which_siblings_learned(run: SweepDir) -> None:
    trials = [trial_with(run, number, lr=lr) for number, lr in enumerate((3e-4, 1.3e-3, 5e-2))]
    failed = trial_with(run, 3, began("vanishing_gradient", 30), lr=1e-2)
    assert by_learning_rate(failed, trials, VANISHING.advice) == ["siblings at or below 0.0013 learned"]
    assert "    siblings at or below 0.0013 learned\n" in receipt(failed, trials)
    assert by_learning_rate(failed, trials, DIAGNOSES["frozen"].advice) == ["siblings at or above 0.05 learned"]
    assert by_learning_rate(failed, trials, DIAGNOSES["saturated"].advice) == []


def test_the_advice_names_one_sibling_if_not_all_below_it_learned(run: SweepDir) -> None:
    learned, stuck = trial_with(run, 0, lr=1e-3), trial_with(run, 1, began("stuck", 50), lr=1e-4)
    failed = trial_with(run, 2, began("diverged", 30), lr=1.0)
    advice = DIAGNOSES["diverged"].advice
    assert by_learning_rate(failed, [learned, stuck], advice) == ["a sibling at 1e-3 learned"]
    assert by_learning_rate(failed, [stuck], advice) == []


@pytest.mark.parametrize(
    ("name", "found"),
    [("learning_rate", True), ("peakLr", True), ("optimizer.lr", True), ("lr_decay", False), ("colr", False)],
)
def test_a_learning_rate_is_known_by_its_name(run: SweepDir, name: str, found: bool) -> None:
    def at(number: int, rate: float) -> TrialRecord:
        trial = make_trial(run, number, params={name: rate}, shown={name: rate})
        play(trial, Script(until=30))
        return read_trial(trial)

    assert bool(by_learning_rate(at(0, 1.0), [at(1, 0.1)], VANISHING.advice)) is found


# ---- what the record says of a script that is not observed ----------------------------------------------------------


def unwatched(run: SweepDir, *events: Event, number: int = 0) -> TrialRecord:
    """A trial that reports a value, with other events as given."""
    trial = make_trial(run, number)
    trial.attempt(1).path.mkdir(parents=True)
    with JournalWriter(trial.control) as control:
        control.append(Launched(time=START, attempt=1, slot="cpu 0"))
    with JournalWriter(trial.attempt(1).events) as journal:
        report = Metrics(time=START + 2, step=99, values={"loss": 1.0})
        for event in (Started(time=START, pid=1, host="h", attempt=1), *events, report, Finished(outcome="completed")):
            journal.append(event)
    ended = Exit(time=START + 9, attempt=1, code=0, signal=None, cause="", peak_memory_mb=1)
    trial.attempt(1).exit.write_bytes(encode(ended))
    return read_trial(trial)


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([], "not observed: the script does not call trial.watch(model, optimizer)"),
        (
            [Parameters(trained=0, frozen=1200, unowned=34, foreign=5, names=("a.b",))],
            (
                "nothing is trained: 1,200 parameters are frozen, 34 parameters are in no optimizer (a.b), "
                "5 parameters of the optimizer are not in the model"
            ),
        ),
        ([Parameters(trained=0)], "nothing is trained: the model has no parameters"),
        (
            [Noted(text="nothing is watched: not watched: frozen: weight")],
            "not observed: trial.watch was called but found nothing to watch (see the note)",
        ),
        (
            [Parameters(trained=7)],
            "not observed: trial.watch was called but the optimizer took no step; 7 parameters are trained",
        ),
    ],
)
def test_the_receipt_says_why_a_script_was_not_observed(run: SweepDir, events: list[Event], said: str) -> None:
    trial = unwatched(run, *events)
    assert unobserved_text(trial) == said
    assert f"\nhealth: ok\n  {said}\n" in receipt(trial)


def test_a_trial_that_was_observed_or_has_not_started_is_not_called_unobserved(run: SweepDir) -> None:
    assert unobserved_text(trial_with(run, 0)) == ""
    assert unobserved_text(read_trial(make_trial(run, 1))) == ""


def test_status_does_not_say_that_no_script_calls_watch_if_one_does(run: SweepDir) -> None:
    assert NO_CALL in Path(needs.__file__).read_text("utf-8"), "the words of rules.needs have changed"
    (run.path / "trials").mkdir(parents=True)
    rules: Mapping[str, object] = {"rules": [{"vanishing_gradient": {}}]}
    write_json(run.spec, {"name": "s", "spec": {"early_stop": rules}})
    unwatched(run)
    assert NO_CALL in " ".join(read_sweep(run).unmet)
    unwatched(run, Parameters(trained=0, frozen=12), number=1)
    said = " ".join(read_sweep(run).unmet)
    assert NO_CALL not in said
    assert "trial 0001: nothing is trained: 12 parameters are frozen" in said


# ---- scripts that run alone -----------------------------------------------------------------------------------------


def alone(run: SweepDir, *, reports: int) -> TrialDir:
    """A script that was started without an orchestrator; its loss is not finite from step 40 on."""
    (run.path / "trials").mkdir(parents=True)
    write_json(run.spec, {"name": "s", "spec": {}})
    trial = make_trial(run, metric="")
    trial.attempt(1).path.mkdir(parents=True)
    with JournalWriter(trial.control) as control:
        control.append(Launched(time=START, attempt=1, slot="alone"))
    with JournalWriter(trial.attempt(1).events) as journal:
        journal.append(Started(time=START, pid=1, host="h", attempt=1))
        journal.append(Plan(time=START, total_steps=200))
    report(trial, 0, reports)
    return trial


def report(trial: TrialDir, first: int, until: int) -> None:
    with JournalWriter(trial.attempt(1).events) as journal:
        for step in range(first, until):
            journal.append(Metrics(time=START + step, step=step, values={"loss": 1.0 if step < 40 else math.nan}))


def test_the_timeline_of_a_standalone_trial_is_computed_from_its_history(run: SweepDir) -> None:
    trial = alone(run, reports=100)
    read = read_diagnosed(trial)
    assert health_text(read).startswith("non-finite since ")
    assert read_trial(trial).diagnosed == ()
    assert not (trial.path / "control.jsonl").read_bytes().count(b"Diagnosed")
    assert "advice: lower the peak learning rate" in receipt(read)
    (found,) = json.loads(json.dumps(to_json(read_sweep(run)), allow_nan=False))["trials"]
    assert found["health"][0]["diagnosis"] == "non_finite"
    health = health_of([])
    state = health.start()
    for event in history([trial.attempt(1)]):
        state, _ = health.step(state, event)
    assert [(c.diagnosis, c.step, c.since) for c in state.timeline] == [
        (c.diagnosis, c.step, c.since) for c in read.diagnosed
    ]


def test_the_timeline_of_a_standalone_trial_grows_with_its_record(run: SweepDir) -> None:
    trial = alone(run, reports=30)
    reader = SweepReader(run)
    assert [health_text(one) for one in reader.read().trials] == ["ok"]
    report(trial, 30, 100)
    (found,) = reader.read().trials
    assert found.diagnosed == read_diagnosed(trial).diagnosed
    assert health_text(found).startswith("non-finite since ")


def test_a_recorded_timeline_is_not_computed_again(run: SweepDir) -> None:
    trial = trial_with(run, 0, began("stuck", 20))
    assert read_diagnosed(trial.directory).diagnosed == trial.diagnosed


# ---- the end of a sweep ---------------------------------------------------------------------------------------------


def test_the_end_says_how_many_trials_have_each_diagnosis(run: SweepDir) -> None:
    trials = [trial_with(run, number) for number in range(2)]
    trials.append(trial_with(run, 2, began("converged", 20)))
    trials += [trial_with(run, number, began("vanishing_gradient", 20)) for number in (3, 4)]
    trials.append(trial_with(run, 5, began("non_finite", 20), began("oscillating", 30), over("non_finite", 20, 40)))
    assert counts_text(trials) == "3 ok, 2 vanishing_gradient, 1 non_finite"
    trials.append(read_trial(make_trial(run, 6)))
    counts = "3 ok, 2 vanishing_gradient, 1 non_finite, 1 unknown"
    assert f"\n7 trials: {counts}.\n" in ranking_text(view(trials))
    assert end_text("complete", trials).startswith(f"complete: 1 WAITING, 6 COMPLETE; health: {counts}; best ")


def test_the_end_of_plain_commands_says_nothing_of_health(run: SweepDir) -> None:
    trial = read_trial(make_trial(run, 0))
    assert counts_text([trial]) == ""
    assert end_text("complete", [trial]) == "complete: 1 WAITING"
    assert facts().metric


def test_the_most_important_effect_comes_first() -> None:
    assert [effect.value for effect in Effect] == ["stops", "warns", "informs"]
