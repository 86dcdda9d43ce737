"""Backtests with a file of known outcomes: the counts, the arms of the diagnoses, and messages on mistakes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.peers import PeerArm, epochs_of
from benchmarks.peers import arms as peers
from sweeper import config
from sweeper.backtest import BacktestReport, Recording, Truth, arms, backtest, read_recording, read_recordings
from sweeper.backtest.replay import AUTO, AUTO_AND_WARNINGS, Arm, HealthArm, RuleArm, Verdict, Verdicts
from sweeper.backtest.report import BY_TRUTH, tallied
from sweeper.backtest.truth import read_truth
from sweeper.cli import main
from sweeper.record.events import Event, Metrics, Observation
from sweeper.rules import rule_of
from sweeper.rules.diagnoses import DIAGNOSES, STOPPING
from tests.backtest.records import BEGIN, STEPS, events_of, flagged, recording_of, rising, steps_of, write_run

ROWS: Sequence[Mapping[str, object]] = (
    {"number": 0, "failed": False, "task": "a"},
    {"number": 1, "failed": None, "task": "a"},
    {"number": 2, "failed": True, "class": ["vanishing_gradient", "stuck"], "task": "b"},
    {"number": 3, "failed": True, "class": ["overfitting"], "task": "b", "score": 0.35},
)
"""Trial 4 has no row."""


def not_finite_from(step: int) -> list[Event]:
    """Return a trial with a training loss of NaN from a step on."""
    return [
        Metrics(time=event.time, step=event.step, values=dict.fromkeys(event.values, math.nan))
        if isinstance(event, Metrics) and event.step >= step and "loss/train" in event.values
        else event
        for event in events_of([0.3] * 5, learns=False)
    ]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(
        tmp_path / "known",
        [
            events_of(rising(0.9)),
            events_of(rising(0.7), begin=BEGIN + 1),
            events_of([0.3] * 5, begin=BEGIN + 2, gone_from=80, learns=False),
            not_finite_from(200),
            events_of(rising(0.6), begin=BEGIN + 4),
        ],
    )


def written(folder: Path, rows: object) -> Path:
    file = folder / "truth.json"
    file.write_text(rows if isinstance(rows, str) else json.dumps(rows))
    return file


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    return written(tmp_path, ROWS)


def arm(name: str) -> Arm:
    (found,) = (one for one in arms(None) if one.name == name)
    return found


def verdicts(name: str, recording: Recording) -> dict[int, Verdict | None]:
    found = arm(name).verdicts(recording)
    assert not isinstance(found, str), found
    return dict(found)


# ---- what is counted -------------------------------------------------------------------------------------------------


def test_border_trials_and_trials_without_a_row_are_not_counted(run: Path, truth: Path) -> None:
    recording = recording_of(run, truth=truth)
    assert [recording.outcome(case) for case in recording.cases] == [True, None, False, False, None]
    everything = tallied(recording, {number: flagged(10) for number in range(5)})
    assert (everything.caught, everything.stalls, everything.flagged_learners) == (2, 2, (("known", 0),))
    assert everything.steps_saved == 5 * (STEPS - 11)  # a sweep would have saved those too


def test_a_row_may_name_parameters_and_a_seed(run: Path, tmp_path: Path) -> None:
    rows = [{"params": {"lr": 1e-3}, "seed": 0, "failed": True}]
    assert len(recording_of(run, truth=written(tmp_path, rows)).stalls) == 5
    rows = [{"params": {"lr": 1e-3}, "seed": 1, "failed": True}, {"params": {"lr": 2e-3}, "failed": True}]
    assert recording_of(run, truth=written(tmp_path, rows)).stalls == []


def test_one_file_for_several_runs_or_one_for_each(tmp_path: Path) -> None:
    one, two = (write_run(tmp_path / name, [events_of(rising(0.9)), events_of([0.3] * 5)]) for name in ("one", "two"))
    of_one, of_two = ({"number": 1, "failed": True, "run": name} for name in ("one", "two"))
    both = read_recordings([one, two], truths=[written(tmp_path, [of_one, of_two])], say=print)
    assert [len(recording.stalls) for recording in both] == [1, 1]
    first, second = written(one, [{"number": 1, "failed": True}]), written(two, [{"number": 0, "failed": False}])
    each = read_recordings([one, two], truths=[first, second], say=print)
    assert [(len(recording.stalls), len(recording.learners)) for recording in each] == [(1, 0), (0, 1)]
    assert backtest(each, [arm("stalled")]).words is BY_TRUTH


def test_a_single_trial_can_be_judged(tmp_path: Path) -> None:
    run = write_run(tmp_path / "alone", [events_of(rising(0.9))])
    assert len(recording_of(run, truth=written(tmp_path, [{"number": 0, "failed": False}])).learners) == 1


def test_pruners_compare_the_trials_of_one_task(run: Path, truth: Path) -> None:
    recording = recording_of(run, truth=truth)
    assert [[case.number for case in cases] for cases in recording.siblings] == [[0, 1], [2, 3], [4]]
    # Each group keeps its best third, rounded up, by the first evaluation; of equals the lower number.
    stopped = [number for number, step in steps_of(arm("one_epoch, waiting").verdicts(recording)).items() if step]
    assert stopped == [1, 3]


@pytest.mark.parametrize(
    ("onset", "step", "expected"),
    [
        (0, 64, (1, 1)),
        (0, 65, (0, 1)),
        (64, 64, (1, 1)),
        (65, 129, (1, 1)),
        (65, 130, (0, 1)),
        (400, 320, (1, 1)),
        (400, 321, (1, 0)),
    ],
)
def test_a_flag_is_early_within_a_tenth_of_the_plan(
    run: Path, truth: Path, onset: int, step: int, expected: tuple[int, int]
) -> None:
    recording = recording_of(run, truth=truth)
    recording.__dict__["onsets"] = {2: onset, 3: 0}
    tally = tallied(recording, {0: None, 1: None, 2: flagged(step), 3: None, 4: None})
    assert (tally.early, tally.in_half) == expected


@pytest.mark.parametrize(
    ("classes", "named", "right"),
    [(("stuck",), 1, 1), (("frozen",), 1, 0), (("frozen", "vanishing_gradient"), 1, 1), (("median",), 0, 0)],
)
def test_any_of_the_listed_classes_is_right(
    run: Path, truth: Path, classes: tuple[str, ...], named: int, right: int
) -> None:
    recording = recording_of(run, truth=truth)
    tally = tallied(recording, {0: None, 1: None, 2: flagged(100, *classes), 3: None, 4: None})
    assert (tally.named, tally.right) == (named, right)


def test_without_listed_classes_any_class_is_right(run: Path, tmp_path: Path) -> None:
    recording = recording_of(run, truth=written(tmp_path, [{"number": 2, "failed": True}]))
    assert tallied(recording, {**dict.fromkeys(range(5)), 2: flagged(100, "frozen")}).right == 1


# ---- the arms of the diagnoses ---------------------------------------------------------------------------------------


def test_the_default_arms(run: Path) -> None:
    names = [one.name for one in arms(None)]
    assert names[: len(STOPPING) + 6] == [
        AUTO,
        AUTO_AND_WARNINGS,
        *STOPPING,
        "stalled",
        "exploding_gradient",
        "zero_gradient",
        "plateau",
    ]
    assert names[len(STOPPING) + 6] == "median"


@pytest.mark.parametrize("name", DIAGNOSES)
def test_a_diagnosis_alone_fires_when_it_begins_in_the_health_of_a_trial(run: Path, name: str) -> None:
    """The shared pass gives the decisions of a rule with that diagnosis only."""
    recording = recording_of(run)
    shared = HealthArm(name=name, stops=(name,)).verdicts(recording)
    alone = RuleArm(settings=DIAGNOSES[name]()).verdicts(recording)
    assert shared == alone


def test_auto_stops_at_the_first_class_and_names_it(run: Path) -> None:
    recording = recording_of(run)
    found = verdicts(AUTO, recording)
    assert found[0] is None
    assert [found[2].classes, found[3].classes] == [("vanishing_gradient",), ("non_finite",)]  # type: ignore[union-attr]
    first = min(step for name in STOPPING if (step := steps_of_or_none(name, recording)[2]) is not None)
    assert found[2] is not None
    assert found[2].step == found[2].stop == first
    assert "gradient no longer reaches" in found[2].flags[0].reason


def steps_of_or_none(name: str, recording: Recording) -> dict[int, int | None]:
    found = arm(name).verdicts(recording)
    return dict.fromkeys(range(5)) if isinstance(found, str) else steps_of(found)


def test_a_warning_flags_a_trial_and_does_not_stop_it(run: Path) -> None:
    recording = recording_of(run)
    warned = HealthArm(name="made", stops=("non_finite",), warns=("vanishing_gradient", "stuck")).verdicts(recording)
    assert not isinstance(warned, str)
    verdict, mixed = warned[2], warned[3]
    assert verdict is not None
    assert (verdict.step, verdict.stop, verdict.classes) == (100, None, ("vanishing_gradient", "stuck"))
    assert tallied(recording, {**dict.fromkeys(range(5)), 2: verdict}).steps_saved == 0
    assert mixed is not None
    assert mixed.classes[0] == "non_finite"  # a class that stops comes before those that warn
    assert mixed.step <= (mixed.stop or 0)


def test_a_class_that_began_after_the_stop_does_not_count(run: Path) -> None:
    recording = recording_of(run)
    found = HealthArm(name="made", stops=("vanishing_gradient",), warns=("stuck",)).verdicts(recording)
    assert not isinstance(found, str)
    assert found[2] is not None
    assert found[2].classes == ("vanishing_gradient",)


def test_converged_is_no_flag(run: Path) -> None:
    recording = recording_of(run)
    recording.__dict__["begun"] = {
        case.number: [change for change in recording.begun[case.number] if change.diagnosis == "converged"]
        for case in recording.cases
    }
    assert set(verdicts(AUTO_AND_WARNINGS, recording).values()) == {None}


def test_the_health_of_a_trial_is_computed_once(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[int] = []
    begun = Recording._begun

    def counted(self: Recording, case: Any) -> Any:
        passes.append(case.number)
        return begun(self, case)

    monkeypatch.setattr(Recording, "_begun", counted)
    backtest([recording_of(run)], [one for one in arms(None) if isinstance(one, HealthArm)])
    assert passes == [0, 1, 2, 3, 4]


def test_a_diagnosis_with_settings_is_a_rule_of_its_own() -> None:
    early_stop = config.EarlyStop(rules=(config.VanishingGradient(), config.VanishingGradient(below=0.5)))
    default, own = arms(early_stop)[:2]
    assert isinstance(default, HealthArm)
    assert isinstance(own, RuleArm)
    assert [default.name, own.name] == ["vanishing_gradient", "vanishing_gradient below=0.5"]


def test_a_rising_objective_prevents_a_flag(tmp_path: Path) -> None:
    """The score rises while the loss is constant: if the metric is known, the run is not stuck."""
    flat = [
        Metrics(time=event.time, step=event.step, values={**event.values, "fitness": event.step / STEPS})
        if isinstance(event, Metrics)
        else event
        for event in events_of([0.3] * 5, learns=False)
    ]
    run = write_run(tmp_path / "flat", [flat, flat])
    known = read_recording(run, metric="fitness", goal="maximize")
    unknown = recording_of(run)
    assert steps_of(arm("stuck").verdicts(known))[0] is None
    assert steps_of(arm("stuck").verdicts(unknown))[0] is not None
    own = RuleArm(settings=DIAGNOSES["stuck"](patience=4))
    assert steps_of(own.verdicts(known))[0] is None
    assert rule_of(own.settings, known.objective) is not None


# ---- the command -----------------------------------------------------------------------------------------------------


def test_the_table_counts_failed_and_healthy_trials(run: Path, truth: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backtest", str(run), "--truth", str(truth), "--trials", "--reasons"]) == 0
    out = capsys.readouterr().out
    assert max(len(line.rstrip()) for line in out.splitlines()) <= 100
    assert "5 trials that ended by themselves, 1 healthy and 2 failed" in out
    assert "not counted: 1 on the border, 1 without a row in the file of known outcomes" in out
    (auto,) = (line for line in out.splitlines() if line.startswith("auto  "))
    assert "2/2 [16-100%]" in auto
    assert "0/1 [0-98%]" in auto
    assert auto.split()[-4:-1] == ["0%", "100%", "50%"]
    assert "learner" not in out
    assert "Confusion of auto + warnings" in out
    told = " ".join(out.split())
    assert "0002 (task b, lr=0.01, seed 0, true class vanishing_gradient or stuck): vanishing_gradient at" in told
    assert "the gradient no longer reaches the first layers" in told


def test_failed_trials_without_a_flag_are_listed(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"number": 2, "failed": False, "task": "b"}, {"number": 0, "failed": True, "task": "a"}]
    assert main(["backtest", str(run), "--truth", str(written(tmp_path, rows)), "--reasons"]) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    told = lines[lines.index("auto + warnings") :]
    assert told[1] == "  healthy, flagged (1)"
    assert told[2].startswith("    0002 (task b, lr=0.01, seed 0): vanishing_gradient at step")
    assert told[-2:] == ["  failed, not flagged (1)", "    0000 (task a, lr=1, seed 0)"]
    assert "  not counted, flagged (1)" in told


def test_with_rules_of_a_file_each_of_them_is_explained(
    run: Path, truth: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rules.yaml").write_text("rules: [{stalled: {}}]")
    words = ["backtest", str(run), "--truth", str(truth), "--rules", str(tmp_path / "rules.yaml"), "--reasons"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "\nstalled\n" in "\n".join(line.rstrip() for line in out.splitlines())
    assert "Confusion" not in out


def test_the_report_as_json(run: Path, truth: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backtest", str(run), "--truth", str(truth), "--json", "--reasons"]) == 0
    report = json.loads(capsys.readouterr().out)
    auto = report["pooled"][0]
    counts = {
        "rule": "auto",
        "failed": 2,
        "failed_flagged": 2,
        "healthy": 1,
        "healthy_flagged": 0,
        "healthy_flagged_numbers": [],
        "flagged_early": 0,
        "flagged_in_half": 2,
        "class_named": 2,
        "class_right": 1,
    }
    assert {name: auto[name] for name in counts} == counts
    assert auto["failed_flagged_interval"] == pytest.approx([0.158114, 1.0], abs=1e-6)
    assert "stalls" not in auto
    assert report["confusion"] == {
        "vanishing_gradient": {"vanishing_gradient": 1},
        "overfitting": {"non_finite": 1},
        "healthy": {"none": 1},
    }
    (only,) = report["runs"]
    assert only["not_counted"] == {"on the border": 1, "without a row": 1}
    failed = only["trials"][2]
    assert (failed["outcome"], failed["task"], failed["class"]) == ("failed", "b", ["vanishing_gradient", "stuck"])
    assert [only["trials"][number]["outcome"] for number in (0, 1, 4)] == ["healthy", None, None]
    (flag,) = failed["flags"]["auto"]
    assert (flag["class"], flag["step"]) == ("vanishing_gradient", failed["flagged_at"]["auto"])
    assert "gradient" in flag["reason"]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("[", "truth.json: expected JSON, got: "),
        ({"number": 1}, 'truth.json: expected a list of rows, got {"number": 1}'),
        ([7], "truth.json: row 1: expected an object such as"),
        ([{"failed": True}], 'row 1: expected number or params, to know which trial it is about, got {"failed": true}'),
        ([{"number": 0}], "row 1: failed: expected true, false or null, got nothing"),
        ([{"number": 0, "failed": 1}], "row 1: failed: expected true, false or null, got 1"),
        ([{"number": True, "failed": True}], "row 1: number: expected a whole number, got true"),
        ([{"number": 9, "failed": True}], "row 1: number: expected a trial of the run known, got 9"),
        ([{"params": 3, "failed": True}], "row 1: params: expected an object of parameters, got 3"),
        ([{"number": 0, "failed": True, "class": "stuck"}], 'class: expected a list of diagnoses, got "stuck"'),
        ([{"number": 0, "failed": True, "class": ["stcuk"]}], "class: expected names of diagnoses (non_finite, "),
        ([{"number": 0, "failed": True, "class": [[]]}], "got []"),
        ([{"number": 0, "failed": True, "run": "other"}], "run: expected at least one row about the run known, got"),
        ([{"number": 0, "failed": True}] * 2, "row 1 and "),
    ],
)
def test_messages_on_mistakes_have_the_place_and_the_expected_value(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: object, expected: str
) -> None:
    assert main(["backtest", str(run), "--truth", str(written(tmp_path, rows))]) == 2
    said = capsys.readouterr()
    assert expected in said.err
    assert said.out == ""


def test_invalid_arguments(run: Path, tmp_path: Path, truth: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = write_run(tmp_path / "other", [events_of(rising(0.9)), events_of([0.3] * 5)])
    runs, file = [str(run), str(other)], str(truth)
    cases = [
        ([*runs, "--truth", file], "row 1: run: expected the name of a run directory, since several runs are given"),
        ([str(run), "--truth", file, "--truth", file], "expected one --truth, or one for each of the 1 runs, got 2"),
        ([str(run), "--truth", str(tmp_path / "none.json")], "none.json: expected a file of known outcomes"),
    ]
    for words, expected in cases:
        assert main(["backtest", *words]) == 2
        assert expected in capsys.readouterr().err


def test_unknown_keys_are_ignored(tmp_path: Path) -> None:
    (row,) = read_truth(written(tmp_path, [{"number": 1, "failed": None, "arm": "lr_high", "made_to_fail": True}]))
    assert row.truth == Truth(failed=None)


# ---- the other tools -------------------------------------------------------------------------------------------------


def vanished(run: Path) -> BacktestReport:
    return backtest([recording_of(run)], list(peers()))


def test_the_other_tools_are_arms_of_the_same_table(run: Path) -> None:
    report = vanished(run)
    assert list(report.pooled) == [
        *(AUTO, AUTO_AND_WARNINGS, "stalled", "autotrainer", "bttackler", "median", "successive_halving")
    ]


def test_the_other_tools_decide_at_evaluations(run: Path) -> None:
    recording = recording_of(run)
    found: dict[str, Verdicts | str] = {
        one.name: one.verdicts(recording) for one in peers() if isinstance(one, PeerArm)
    }
    # A loss of NaN counts at any time, an accuracy that never moves from 30% of the steps on.
    autotrainer = found["autotrainer"]
    assert steps_of(autotrainer) == {0: None, 1: None, 2: 255, 3: 255, 4: None}
    assert not isinstance(autotrainer, str)
    assert autotrainer[2] is not None
    assert autotrainer[2].classes == ("stuck", "frozen")
    assert steps_of(found["bttackler"])[3] is not None


def test_an_epoch_has_the_observations_since_the_last_evaluation(run: Path) -> None:
    recording = recording_of(run)
    epochs = epochs_of(recording, recording.cases[0])
    assert [(epoch.step, epoch.share) for epoch in epochs] == [(128 * i - 1, 128 * i / STEPS) for i in range(1, 6)]
    looks = [event for event in recording.cases[0].events if isinstance(event, Observation)]
    # Nothing is known of the layers of a record without `Watching`.
    assert sum(len(epoch.gradients) for epoch in epochs) in (0, len(looks))
    assert len(epochs[0].losses) == 13
