"""Backtests on synthetic records with known outcomes, on a real record, and on TensorBoard logs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from sweeper import config
from sweeper.backtest import Case, Recording, arms, backtest, read_recording
from sweeper.backtest.replay import PrunerArm, RuleArm, Verdicts
from sweeper.backtest.report import Tally, tallied
from sweeper.cli import main
from sweeper.orchestrator.follower import Follower
from sweeper.record.events import Event, Metrics, Observation
from sweeper.record.progress import Evaluation
from sweeper.record.storage.journal import JournalWriter
from sweeper.record.storage.layout import read_json, write_json
from sweeper.rules import rule_of
from sweeper.search import pruners
from sweeper.search.pruners import History
from tests.backtest.records import (
    ACCURACY,
    BEGIN,
    events_of,
    flagged,
    recording_of,
    rising,
    steps_of,
    write_run,
    write_trial,
)

PRUNERS = ["median", "successive_halving", "hyperband", "one_epoch", "percentile", "one_epoch, waiting"]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Two learners, a stall without a gradient, a stall with one, and two trials that are left out."""
    run = write_run(
        tmp_path / "known",
        [
            events_of(rising(0.9)),
            events_of(rising(0.7), begin=BEGIN + 1),
            events_of([0.3] * 5, begin=BEGIN + 2, gone_from=80, learns=False),
            events_of([0.3, 0.3, 0.3, 0.3, 0.35], begin=BEGIN + 3, learns=False),
        ],
    )
    write_trial(run, 4, events_of(rising(0.8)), pruned=True)
    write_trial(run, 5, [event for event in events_of(rising(0.8)) if not _evaluates(event)])
    return run


def _evaluates(event: Event) -> bool:
    return isinstance(event, Metrics) and ACCURACY in event.values


def verdicts_of(name: str, recording: Recording) -> Verdicts | str:
    (arm,) = (arm for arm in arms(None) if arm.name == name)
    return arm.verdicts(recording)


def tally_of(recording: Recording, settings: config.RuleSettings) -> Tally:
    found = RuleArm(settings=settings).verdicts(recording)
    assert not isinstance(found, str)
    return tallied(recording, found)


# ---- outcomes --------------------------------------------------------------------------------------------------------


def test_learners_stalls_and_trials_that_are_left_out(run: Path) -> None:
    recording = recording_of(run)
    assert [case.number for case in recording.cases] == [0, 1, 2, 3]
    assert recording.left_out == {"PRUNED": 1, f"without {ACCURACY}": 1}
    assert recording.start == pytest.approx(0.3)
    assert [recording.is_learner(case) for case in recording.cases] == [True, True, False, False]


@pytest.mark.parametrize(("first", "count"), [(400, 4), (0, 5)])
def test_a_trial_that_continued_from_a_checkpoint_is_left_out_because_it_is_a_part_of_a_run(
    run: Path, first: int, count: int
) -> None:
    """One whose script began at the start nevertheless is a whole run."""
    events = [event for event in events_of(rising(0.8)) if getattr(event, "step", first) >= first]
    trial = write_trial(run, 6, events)
    derived = {"parent": 0, "step": 399, "checkpoint": "step-000000399.3fa94c01d2e7b655.pt"}
    write_json(trial.facts, {**read_json(trial.facts), "derived": derived})
    recording = recording_of(run)
    assert len(recording.cases) == count
    assert recording.left_out.get("continued from a checkpoint of another trial", 0) == 5 - count


def plain_case(number: int, *values: float) -> Case:
    evaluations = [Evaluation(float(i), 10 * i, value) for i, value in enumerate(values)]
    return Case(number=number, label="", events=(), evaluations=evaluations, steps=100, seconds=1.0, ended=99.0)


def of_values(*trials: Sequence[float], maximize: bool = True, **options: Any) -> Recording:
    cases = [plain_case(number, *values) for number, values in enumerate(trials)]
    return Recording(name="made", metric="m", maximize=maximize, cases=cases, **options)


@pytest.mark.parametrize(
    ("recording", "start", "learners"),
    [
        (of_values([0.25, 1.0], [0.5, 0.625], [0.5, 0.62]), 0.25, [True, True, False]),
        (of_values([2.0, 0.0], [1.0, 1.0], [1.5, 1.1], maximize=False), 2.0, [True, True, False]),
        # Twelve trials: one that exploded does not move the start.
        (of_values(*[[2.0, 0.2]] * 11, [1e9, 2.0], maximize=False), 2.0, [True] * 11 + [False]),
        (of_values([0.3, 0.3], [0.3, 0.2]), 0.3, [False, False]),  # no trial gained anything
        (of_values([0.3, 0.9], [0.3, math.nan]), 0.3, [True, False]),
        (of_values([math.nan, 0.9], [0.3, 0.5]), 0.3, [True, False]),
        (of_values([0.8, 0.9], [0.8, 0.82], given_start=0.1), 0.1, [True, True]),
        (of_values([0.8, 0.9], [0.8, 0.82]), 0.8, [True, False]),
    ],
)
def test_a_learner_ends_with_half_of_the_best_gain(recording: Recording, start: float, learners: list[bool]) -> None:
    assert recording.start == start
    assert [recording.is_learner(case) for case in recording.cases] == learners


def test_the_onset_is_the_last_gain_of_the_loss(run: Path) -> None:
    recording = recording_of(run)
    assert [recording.onset(case) for case in recording.cases] == [630, 630, 0, 0]
    losses = [1.38] * 20 + [1.2] * 44  # one gain, at look 20: the median of five sees it two looks later
    late = [Metrics(step=10 * i, values={"loss/train": loss, "m": 0.3}) for i, loss in enumerate(losses)]
    case = Case(number=0, label="", events=late, evaluations=[Evaluation(0, 0, 0.3)], steps=640, seconds=1, ended=1)
    assert Recording(name="made", metric="m", maximize=True, cases=[case]).onset(case) == 220


# ---- counts ----------------------------------------------------------------------------------------------------------


def test_the_counts_of_a_rule_with_known_verdicts(run: Path) -> None:
    tally = tally_of(recording_of(run), config.Stalled())
    # Trial 2 is stopped at step 100: the third look of five that is gone. 539 of its 640 steps are saved.
    assert (tally.steps, tally.steps_saved) == (4 * 640, 539)
    assert (tally.seconds, tally.seconds_saved) == pytest.approx((4 * 640, 539))
    assert (tally.caught, tally.stalls, tally.false_flags, tally.learners) == (1, 2, 0, 2)
    assert tally.delay == (10, 100)
    assert tally.delay_quartile == 10
    assert tally.after_onset == 539 / (639 + 639)
    assert tally.regret == 0


def test_a_rule_that_stops_all_trials_has_infinite_regret(run: Path) -> None:
    tally = tally_of(recording_of(run), config.VanishingGradient(below=0.9))
    assert (tally.caught, tally.flagged_learners) == (2, (("known", 0), ("known", 1)))
    assert tally.regret == math.inf


def test_the_regret_is_the_difference_to_the_best_trial_that_is_not_stopped() -> None:
    recording = of_values([0.3, 0.9, 0.8], [0.3, 0.7, 0.7], [0.3, 0.3, 0.3])
    assert tallied(recording, {0: flagged(10), 1: None, 2: None}).regret == pytest.approx(0.2)
    assert tallied(recording, {0: None, 1: flagged(10), 2: flagged(10)}).regret == 0
    last = of_values([0.3, 0.9, 0.8], [0.3, 0.7, 0.7], [0.3, 0.3, 0.3], at_best=False)
    assert tallied(last, {0: flagged(10), 1: None, 2: None}).regret == pytest.approx(0.1)


@pytest.mark.parametrize(("at", "regret"), [("best", 0.1), ("last", 0.2)])
def test_a_trial_counts_with_its_best_or_last_value_as_in_its_sweep(tmp_path: Path, at: str, regret: float) -> None:
    run = write_run(tmp_path / "run", [])
    for number, accuracy in enumerate(([0.3, 0.3, 0.3, 0.3, 0.9], [0.3, 0.3, 0.8, 0.7, 0.7])):
        write_trial(run, number, events_of(accuracy), at=at)
    assert tallied(recording_of(run), {0: flagged(10), 1: None}).regret == pytest.approx(regret)


def test_a_verdict_at_the_last_step_does_not_count(tmp_path: Path) -> None:
    dead = events_of([0.3] * 5, gone_from=610, learns=False)
    recording = recording_of(write_run(tmp_path / "late", [dead, events_of(rising(0.9))]))
    found = RuleArm(settings=config.VanishingGradient()).verdicts(recording)
    assert steps_of(found) == {0: 630, 1: None}
    cut = [event for event in dead if not isinstance(event, Observation | Metrics) or event.step <= 630]
    recording = recording_of(write_run(tmp_path / "cut", [cut, events_of(rising(0.9))]), goal="maximize")
    assert steps_of(RuleArm(settings=config.VanishingGradient()).verdicts(recording)) == {0: None, 1: None}


def test_each_run_is_judged_by_its_own_siblings_and_counts_are_pooled(tmp_path: Path) -> None:
    middling = events_of(rising(0.5))
    strong = write_run(tmp_path / "strong", [middling, events_of(rising(0.9))])
    weak = write_run(tmp_path / "weak", [middling, events_of(rising(0.4))])
    report = backtest([recording_of(strong), recording_of(weak)], [RuleArm(settings=config.Stalled())])
    assert [run.tallies["stalled"].learners for run in report.runs] == [1, 2]
    pooled = report.pooled["stalled"]
    assert (pooled.stalls, pooled.learners, pooled.steps) == (1, 3, 4 * 640)
    assert len(pooled.regrets) == 2


# ---- live and replayed -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        config.Stalled(),
        config.VanishingGradient(below=0.9),
        config.Plateau(),
        config.NonFinite(),
        config.UpdateRatio(high=1e-4),
    ],
)
def test_live_and_replayed_verdicts_are_equal(tmp_path: Path, settings: config.RuleSettings) -> None:
    histories = [events_of(rising(0.9)), events_of([0.3] * 5, gone_from=80, learns=False)]
    recording = recording_of(write_run(tmp_path / "recorded", histories))
    replayed = steps_of(RuleArm(settings=settings).verdicts(recording))
    for number, events in enumerate(histories):
        live = write_trial(tmp_path / "live", number, events[:1])
        follower = Follower.of(live, [rule_of(settings, recording.objective)])
        with JournalWriter(live.attempt(1).events) as journal:
            for event in events[1:]:
                journal.append(event)
                follower.poll()
        assert (follower.decision.step if follower.decision else None) == replayed[number]


def test_pruners_get_the_recorded_evaluations(run: Path) -> None:
    recording = recording_of(run)
    found = PrunerArm(settings=config.SuccessiveHalving()).verdicts(recording)
    told = [
        History(
            number=i,
            evaluations=[Evaluation(BEGIN + i + 128 * (e + 1), 128 * (e + 1) - 1, v) for e, v in enumerate(values)],
            last_step=639,
            ended=BEGIN + i + 640,
        )
        for i, values in enumerate([rising(0.9), rising(0.7), [0.3] * 5, [0.3, 0.3, 0.3, 0.3, 0.35]])
    ]
    assert steps_of(found) == pruners.stop_steps(config.SuccessiveHalving(), told, maximize=True)


# ---- what a record does not have -------------------------------------------------------------------------------------


def test_a_rule_reports_the_values_that_are_missing(run: Path) -> None:
    recording = recording_of(run)
    found = {arm.name: arm.verdicts(recording) for arm in arms(None)}
    assert found["zero_gradient"] == "needs gradient_zero: not recorded"
    assert found["exploding_gradient"] == "needs gradient_norm: not recorded"
    assert not isinstance(found["stalled"], str)
    lacking = RuleArm(settings=config.AllOf(of=(config.Plateau(metric="loss/x"), config.VanishingGradient())))
    assert lacking.verdicts(recording) == "needs loss/x: not recorded"
    either = RuleArm(settings=config.AnyOf(of=(config.Plateau(metric="loss/x"), config.VanishingGradient())))
    assert not isinstance(either.verdicts(recording), str)


# ---- logs of TensorBoard ---------------------------------------------------------------------------------------------


def write_logs(folder: Path, runs: Mapping[str, Sequence[float]]) -> Path:
    from torch.utils.tensorboard import SummaryWriter

    for index, (name, values) in enumerate(runs.items()):
        writer = SummaryWriter(str(folder / name))
        events = events_of(values, begin=BEGIN + index, learns=values[-1] > 0.4)
        for event in (event for event in events if isinstance(event, Metrics)):
            for tag, value in event.values.items():
                foreign = {"loss/train": "train_loss", ACCURACY: "val_acc"}[tag]
                writer.add_scalar(foreign, value, event.step, walltime=event.time)
        writer.add_text("notes", "not a scalar", 0)
        writer.close()
    return folder


LOGS = {"a": rising(0.9), "b/c": rising(0.7), "d": [0.3] * 5}


def test_rules_on_metrics_are_replayed_on_tensorboard_logs(tmp_path: Path) -> None:
    logs = read_recording(write_logs(tmp_path / "logs", LOGS), metric="val_acc", goal="maximize")
    own = recording_of(
        write_run(
            tmp_path / "own",
            [events_of(values, begin=BEGIN + i, learns=values[-1] > 0.4) for i, values in enumerate(LOGS.values())],
        )
    )
    assert [case.label for case in logs.cases] == list(LOGS)
    assert [logs.is_learner(case) for case in logs.cases] == [True, True, False]
    assert logs.loss == "train_loss"
    for name in ("plateau", "non_finite", *PRUNERS):
        assert steps_of(verdicts_of(name, logs)) == steps_of(verdicts_of(name, own)), name
    assert steps_of(verdicts_of("plateau", logs))[2] is not None
    for name in ("stalled", "vanishing_gradient"):
        assert verdicts_of(name, logs) == "needs gradients: none recorded"


# ---- the command -----------------------------------------------------------------------------------------------------


def test_the_table_fits_100_columns(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = write_run(tmp_path / "other", [events_of(rising(0.9)), events_of([0.3] * 5)])
    assert main(["backtest", str(run), str(other), "--each", "--trials"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 100
    assert "known: 4 trials that ended by themselves, 2 learners and 2 stalls" in out
    assert "1 PRUNED" in out
    assert "All 2 runs" in out
    assert "1/3 [1-91%]" in out  # of `stalled`: exact, by hand from the binomial distribution
    assert "zero_gradient on known, other: needs gradient_zero: not recorded" in out


def test_the_report_as_json(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backtest", str(run), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    (stalled,) = (row for row in report["pooled"] if row["rule"] == "stalled")
    assert (stalled["rule"], stalled["steps_saved"], stalled["stalls_caught"]) == ("stalled", 539, 1)
    assert stalled["stalls_caught_interval"] == pytest.approx([0.012579, 0.987421], abs=1e-6)
    (only,) = report["runs"]
    assert only["trials"][2] | {"stopped_at": None, "flagged_at": None} == {
        "number": 2,
        "label": "lr=0.01",
        "seed": 0,
        "last": 0.3,
        "outcome": "stall",
        "onset": 0,
        "steps": 640,
        "seconds": 640.0,
        "stopped_at": None,
        "flagged_at": None,
    }
    assert only["trials"][2]["stopped_at"]["stalled"] == 100
    assert only["not_replayed"]["zero_gradient"] == "needs gradient_zero: not recorded"


@pytest.mark.parametrize("text", ["rules: [{stalled: {window: 9}}]", "early_stop: {rules: [{stalled: {window: 9}}]}"])
def test_rules_of_a_file(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    (tmp_path / "rules.yaml").write_text(text)
    assert main(["backtest", str(run), "--rules", str(tmp_path / "rules.yaml"), "--json"]) == 0
    names = [row["rule"] for row in json.loads(capsys.readouterr().out)["pooled"]]
    assert names == ["stalled window=9", *PRUNERS]


def test_no_rule_leaves_the_pruners(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backtest", str(run), "--rules", "none", "--json"]) == 0
    assert [row["rule"] for row in json.loads(capsys.readouterr().out)["pooled"]] == PRUNERS


def test_messages_on_mistakes(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alone = write_run(tmp_path / "alone", [events_of(rising(0.9))])
    logs = write_logs(tmp_path / "logs", LOGS)
    (tmp_path / "wrong.yaml").write_text("rules: [{stalled: {belw: 1}}]")
    cases = [
        ([str(tmp_path / "nowhere")], "expected the directory of a run"),
        ([str(alone)], "expected at least 2 trials that ended by themselves, to judge them by each other, got 1"),
        ([str(run), "--metric", "loss/train"], "expected --goal with the metric loss/train"),
        ([str(run), "--metric", "x", "--goal", "minimize"], "recorded metrics: accuracy/test, loss/train"),
        ([str(logs)], "expected --metric NAME and --goal maximize or minimize; recorded metrics: train_loss, val_acc"),
        ([str(logs), "--metric", "x", "--goal", "minimize"], "got x; recorded metrics: train_loss, val_acc"),
        ([str(run), "--rules", str(tmp_path / "wrong.yaml")], "wrong.yaml:1"),
        ([str(run), "--rules", str(tmp_path / "none.yaml")], "none.yaml"),
    ]
    for arguments, expected in cases:
        assert main(["backtest", *arguments]) == 2
        said = capsys.readouterr()
        assert expected in said.err, said.err
        assert said.out == ""
        assert "Traceback" not in said.err
