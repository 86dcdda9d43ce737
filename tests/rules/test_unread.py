"""A metric that is to be read from files or output, and is not, has a sentence that says why and what there is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweeper.record.events import Noticed
from sweeper.record.reader import read_trial
from sweeper.record.storage.layout import SweepDir
from sweeper.record.trial import TrialRecord
from sweeper.rules.needs import EVALUATION_S, unmet
from tests.orchestrator.collect.sources import metrics_of
from tests.views.synthetic import START, Script, make_trial, play

LATE = START + 10 * EVALUATION_S


def trial_of(folder: Path, *noticed: Noticed, metric: str = "accuracy/test") -> TrialRecord:
    directory = make_trial(SweepDir(folder), 0)
    play(directory, Script(until=320, outcome="", exit_code=None))
    trial = read_trial(directory).after(noticed)
    return replace(trial, facts=replace(trial.facts, metric=metric))


def lines(trial: TrialRecord, now: float = LATE, **sources: Any) -> list[str]:
    return [
        line for line in unmet(None, [trial], now, metrics_of(**sources).to_json()["metrics"]) if "metrics." in line
    ]


def seen(place: str, *names: str) -> Noticed:
    return Noticed(attempt=1, place=place, names=names)


ANY = "tensorboard **/*tfevents*"


@pytest.mark.parametrize(
    ("source", "noticed", "why"),
    [
        ({"output": "acc: (.+)"}, [], "no line of the output matched acc: (.+) so far"),
        (
            {"tensorboard": "acc"},
            [],
            (
                "no event file of TensorBoard (**/*tfevents*) is below the directory of any trial so far; "
                "the script has this directory in SWEEPER_TRIAL_DIR"
            ),
        ),
        (
            {"tensorboard": "acc"},
            [seen(ANY, "loss", "val/acc")],
            (
                "no event file of TensorBoard below the directory of a trial has the tag acc so far; "
                "there are: loss, val/acc; did you mean val/acc?"
            ),
        ),
        (
            {"csv": {"file": "results/*.csv", "column": "f2"}},
            [seen("csv results/*.csv", "epoch", "f1")],
            "no CSV file below the directory of a trial has the column f2 so far; there are: epoch, f1",
        ),
        (
            {"json": "bleu"},
            [seen("json **/metrics.jsonl **/metrics.json")],
            "no JSON file below the directory of a trial has the key bleu so far; there is no number",
        ),
        (
            {"wandb": "bleu"},
            [seen("wandb **/*.wandb **/wandb-history.jsonl", *(f"k{i}" for i in range(20)))],
            "no file of an offline run of W&B below the directory of a trial has the key bleu so far; there are: "
            + ", ".join(f"k{i}" for i in range(12))
            + " and 8 more",
        ),
    ],
)
def test_why_a_metric_has_no_value(tmp_path: Path, source: Any, noticed: list[Noticed], why: str) -> None:
    assert lines(trial_of(tmp_path, *noticed), absent=source) == [f"metrics.absent: {why}"]


def test_a_metric_that_arrives_or_may_still_arrive_has_none(tmp_path: Path) -> None:
    trial = trial_of(tmp_path)
    assert lines(trial, LATE, **{"loss/train": {"output": "(.+)"}}) == []
    assert lines(trial, now=START + 10, absent={"output": "(.+)"}) == []


def test_a_problem_is_named_at_once_and_although_there_are_values(tmp_path: Path) -> None:
    problem = Noticed(attempt=1, place="output", metric="loss/train", problem="expected a number, got 'high'")
    found = lines(trial_of(tmp_path, problem), START + 1, **{"loss/train": {"output": "(.+)"}})
    assert found == ["metrics.loss/train: trial 0000: expected a number, got 'high'"]


def test_names_that_are_not_read_are_offered_for_the_metric_of_the_sweep(tmp_path: Path) -> None:
    trial = trial_of(tmp_path, seen(ANY, "loss", "val/acc"), metric="accuracy")
    (line,) = [
        line
        for line in unmet(None, [trial], LATE, metrics_of(x={"tensorboard": "loss"}).to_json()["metrics"])
        if "accuracy" in line
    ]
    assert line.endswith(
        "; found but not read: val/acc; to read val/acc, write metrics: {accuracy: {tensorboard: val/acc}})"
    )


def test_a_record_without_the_key_has_no_sentence(tmp_path: Path) -> None:
    assert unmet(None, [trial_of(tmp_path, metric="loss/train")], LATE, None) == ()
