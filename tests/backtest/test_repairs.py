"""`sweeper backtest --repair`: which recorded trials would have been repaired, at what cost, and with what evidence."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from sweeper.backtest import Case, read_recordings
from sweeper.backtest.case import Recording
from sweeper.backtest.repair_table import repair_lines
from sweeper.backtest.repairs import Count, RepairReport, ReplayedRepair, replay_repairs
from sweeper.cli import main
from sweeper.record.derivation import START, Derivation
from sweeper.record.progress import Evaluation
from sweeper.rules.calibration.intervals import clopper_pearson
from sweeper.rules.health import Change
from sweeper.rules.repair import NoRepair
from tests.rules.histories import Curve, Run, constant, falling


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("recorded")
    with tarfile.open(Path(__file__).parent / "verdicts.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return [folder / "verdicts", folder / "verdicts-mild"]


@pytest.fixture(scope="module")
def report(runs: list[Path]) -> RepairReport:
    return replay_repairs(read_recordings(runs, say=print))


def case(number: int, run: Run, last: float, **params: object) -> Case:
    return Case(
        number=number,
        label="",
        seed=number,
        events=run.events(),
        evaluations=[Evaluation(0.0, 0, 0.3), Evaluation(1.0, run.steps - 1, last)],
        steps=run.steps,
        seconds=1.0,
        ended=1.0,
        params=params,
    )


def recording(*cases: Case) -> Recording:
    return Recording(name="made", metric="accuracy", maximize=True, cases=cases)


LOSS = {"loss/train": falling(2.0, 0.2, 0.01)}
FLAT = {"loss/train": constant(2.0)}
GONE: Curve = lambda step: 0.5 if step < 200 else 1e-5  # noqa: E731 - a curve


def only(report: RepairReport) -> ReplayedRepair:
    ((one,),) = (run.trials for run in report.runs)
    return one


def test_a_stopped_trial_is_repaired_from_before_it_failed() -> None:
    one = only(
        replay_repairs(
            [
                recording(
                    case(0, Run(losses=LOSS), 0.9, lr=1e-4),
                    case(1, Run(losses=LOSS), 0.9, lr=1e-4),
                    case(2, Run(losses=LOSS), 0.9, lr=1e-3),
                    case(3, Run(losses=FLAT, reach=GONE), 0.3, lr=1e-3),
                )
            ]
        )
    )
    assert isinstance(one.found, Derivation)
    assert (one.case.number, one.outcome, one.change.diagnosis) == (3, False, "vanishing_gradient")
    assert one.found.changes == {"lr": 1e-4}
    assert one.found.step == 149  # a checkpoint after every 30 of 600 steps, and healthy until 30 before step 200
    assert one.cost == 600 - 150
    assert one.extra == one.change.step - 149
    assert one.saved == 150
    assert [other.number for other in one.like] == [0, 1]
    assert [other.number for other in one.same] == [2]


def test_each_sibling_counts_once_although_several_repairs_lead_to_it() -> None:
    failing = [case(number, Run(losses=FLAT, reach=GONE), 0.3, lr=1e-3) for number in (2, 3)]
    found = replay_repairs([recording(case(0, Run(losses=LOSS), 0.9, lr=1e-4), *failing)])
    assert len(found.repaired) == 2
    assert (found.like, found.same) == (Count(learned=1, count=1), Count(learned=0, count=2))
    assert found.like.interval == clopper_pearson(1, 1)


def test_a_trial_without_a_parameter_to_change_is_listed_with_the_reason() -> None:
    found = replay_repairs([recording(case(0, Run(losses=FLAT, reach=GONE), 0.3, width=3))])
    assert isinstance(only(found).found, NoRepair)
    reason = "the sweep has no parameter for the learning rate or the warmup"
    assert found.refused == {("vanishing_gradient", reason): 1}
    assert f"not repaired: 1 trial, vanishing_gradient: {reason}" in repair_lines(found)


def test_without_a_checkpoint_a_repair_saves_nothing() -> None:
    change = Change(diagnosis="diverged", step=20, since=10, holds=True)
    one = ReplayedRepair(
        case=case(0, Run(steps=9), 0.3), change=change, outcome=False, found=Derivation(parent=0, step=START)
    )
    assert (one.cost, one.extra, one.saved) == (600, 21, 0)


# ---- the recorded BERT runs --------------------------------------------------------------------------------------


def test_each_bert_run_that_is_stopped_gets_a_lower_learning_rate(report: RepairReport) -> None:
    assert len(report.repaired) >= 40
    assert not report.refused
    for one in report.repaired:
        assert isinstance(one.found, Derivation)
        lr = one.found.changes["lr"]
        assert isinstance(lr, float)
        assert lr <= one.case.params["lr"] / 2  # type: ignore[operator]  # it is a number


def test_no_bert_run_that_learned_would_have_been_repaired(report: RepairReport) -> None:
    assert all(one.outcome is False for one in report.repaired)


def test_a_bert_run_is_repaired_at_few_extra_steps(report: RepairReport) -> None:
    shares = sorted(one.extra / one.case.planned for one in report.repaired)
    assert shares[len(shares) // 2] <= 0.15
    assert sum(share <= 0.25 for share in shares) >= 0.8 * len(shares)


def test_siblings_with_the_proposed_parameters_learned_more_often(report: RepairReport) -> None:
    assert report.like.interval[0] > report.same.interval[1]


# ---- the command -----------------------------------------------------------------------------------------------------


def test_the_command_prints_the_counts_and_each_trial(runs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backtest", *map(str, runs), "--repair", "--trials"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "repair changes lr=lr, warmup=warmup_fraction, clip=clip, weight_decay=weight_decay" in out
    assert "siblings with about the proposed parameters: 34 of 40 learned [70-94%]" in out
    assert "0002 vanishing_gradient at step 70" in out


def test_the_json_has_the_counts_and_each_trial(runs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backtest", str(runs[0]), "--repair", "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    (run,) = body["runs"]
    assert body["repaired"] == sum(one["repair"] is not None for one in run["trials"]) == body["repaired_failed"]
    assert body["extra_steps"] == sum(one["extra_steps"] for one in run["trials"])
    assert run["parameters"]["warmup"] == "warmup_fraction"
    first = run["trials"][0]
    assert first["repair"]["step"] is None
    assert set(first["repair"]["changes"]) == {"lr", "warmup_fraction"}


def test_options_of_the_other_table_are_refused(runs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backtest", str(runs[0]), "--repair", "--rules", "none"]) == 2
    assert "--repair replays early_stop: auto" in capsys.readouterr().err
