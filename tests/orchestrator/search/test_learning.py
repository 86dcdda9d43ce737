"""What a search is told of another run: which of its trials, on this run's own record, and the same after a resume."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from sweeper.config import SweepSpec
from sweeper.errors import UsageError
from sweeper.orchestrator.opening import Run, open_run, reopen_run
from sweeper.orchestrator.search.proposals import Proposals
from sweeper.record.derivation import Derivation
from sweeper.record.events import Asked, Imputed, Launched, Learned
from sweeper.record.reader import read_trial
from sweeper.record.storage.journal import JournalWriter, read_journal
from sweeper.record.storage.layout import SweepDir
from sweeper.record.trial import TrialRecord
from sweeper.search import search_for
from tests.orchestrator.search.test_proposals import BAD, COMPLETED, ENDED, LR, ended, failed

NARROW: Mapping[str, Any] = {"lr": {"min": 1e-4, "max": 1.0, "distribution": "log_uniform_values"}}
KIND: Mapping[str, Any] = {"values": ["a", "b"]}


def opened(path: Path, name: str, said: list[str] | None = None, **keys: Any) -> Run:
    body = {"name": name, "method": "tpe", "metric": {"name": "loss"}, "command": ["train", "${args}"]}
    body |= {"parameters": {"lr": LR}, "retry": {"max": 0}}
    spec = SweepSpec.from_json({**body, **keys})
    lines = [] if said is None else said
    return open_run(spec, text=b"", runs=path, provenance=dict, say=lines.append)


def recorded(path: Path, name: str = "other", count: int = 6, *, running: int = 0, **keys: Any) -> None:
    """Leave a run of which every third trial failed, and the last ones still run."""
    run = opened(path, name, **keys)
    proposals = Proposals(run, search_for(run.spec, run.learned))
    trials: list[TrialRecord] = list(proposals.initial([], []))
    while len(trials) < count * len(run.spec.seeds):
        trials += proposals.further(1)
    for trial in trials[: len(trials) - running]:
        if trial.facts.configuration % 3 == 2:
            proposals.update([ended(trial, failed(), exit_=BAD)])
        else:
            proposals.update([ended(trial, COMPLETED, values=[0.9, 0.5, 0.7], exit_=ENDED)])
    for trial in trials[len(trials) - running :]:
        with JournalWriter(trial.directory.control) as journal:
            journal.append(Launched(attempt=1, slot="cpu 0"))
    run.lease.release()


def learned(run: Run) -> Learned:
    (event,) = [event for event in read_journal(run.directory.search) if isinstance(event, Learned)]
    return event


def test_ended_configurations_are_told_before_the_first_proposal(tmp_path: Path) -> None:
    recorded(tmp_path, running=1)
    said: list[str] = []
    run = opened(tmp_path, "s", said, learn_from=["other"])
    Proposals(run, search_for(run.spec, run.learned)).further(1)
    kinds = [type(event) for event in read_journal(run.directory.search)]
    assert kinds == [Learned, Imputed, Asked]
    assert said == [
        "learn_from: other: 5 configurations taken (1 failed because of their parameters); left out: 1 (has not ended)"
    ]
    told = learned(run)
    assert [one.value for one in told.configurations] == [0.5, 0.5, None, 0.5, 0.5]
    assert [one.why for one in told.configurations] == ["", "", "error", "", ""]
    assert [one.number for one in run.learned] == [-5, -4, -3, -2, -1]


def proposed(path: Path, name: str, count: int, *, without: Path | None = None, **keys: Any) -> list[object]:
    """Ask a run for proposals, each in a call of its own; `without` is deleted after the first."""
    found: list[object] = []
    for number in range(count):
        run = opened(path, name, **keys)
        proposals = Proposals(run, search_for(run.spec, run.learned))
        found += [trial.facts.params for trial in proposals.further(1)]
        run.lease.release()
        if without is not None and not number:
            shutil.rmtree(without)
    return found


@pytest.mark.parametrize("method", ["tpe", "gp", "cmaes"])
def test_the_other_run_is_not_needed_any_more(tmp_path: Path, method: str) -> None:
    for folder in ("kept", "deleted"):
        recorded(tmp_path / folder, count=8)
    kept = proposed(tmp_path / "kept", "s", 4, method=method, learn_from=["other"])
    gone = proposed(
        tmp_path / "deleted", "s", 4, method=method, learn_from=["other"], without=tmp_path / "deleted" / "other"
    )
    assert gone == kept
    assert len(kept) == 4
    reopened = reopen_run(SweepDir(tmp_path / "deleted" / "s"))
    assert len(reopened.learned) == 8
    reopened.lease.release()


def test_what_is_told_once_does_not_change_with_the_other_run(tmp_path: Path) -> None:
    recorded(tmp_path, running=3)
    first = opened(tmp_path, "s", learn_from=["other"])
    first.lease.release()
    shutil.rmtree(tmp_path / "other")
    recorded(tmp_path)
    said: list[str] = []
    again = opened(tmp_path, "s", said, learn_from=["other"])
    assert again.learned == first.learned
    assert len(again.learned) == 3
    assert said[-1].endswith("left out: 3 (has not ended), as in earlier calls")


def test_the_trials_of_another_run_are_not_those_of_this_one(tmp_path: Path) -> None:
    recorded(tmp_path)
    run = opened(tmp_path, "s", learn_from=["other"], run_cap=2)
    proposals = Proposals(run, search_for(run.spec, run.learned))
    assert proposals.initial([], []) == []
    assert [trial.facts.configuration for trial in proposals.further(5)] == [0, 1]
    assert proposals.further(1) == []


@pytest.mark.parametrize(
    ("keys", "left_out"),
    [
        ({"parameters": NARROW}, {"lr is not a number from 1e-4 to 1.0": 2}),
        ({"parameters": {"lr": LR, "warmup": {"min": 0.0, "max": 1.0}}}, {"lacks warmup": 6}),
        ({"parameters": {"lr": LR, "batch": {"value": 8}}}, {"lacks batch": 6}),
        ({"parameters": {"lr": LR, "on": {"value": 1, "when": {"kind": "a"}}, "kind": KIND}}, {"lacks kind": 6}),
    ],
)
def test_a_trial_that_is_not_in_this_space_is_left_out(
    tmp_path: Path, keys: Mapping[str, Any], left_out: Mapping[str, int]
) -> None:
    recorded(tmp_path)
    run = opened(tmp_path, "s", learn_from=["other"], **keys)
    assert learned(run).left_out == left_out
    assert len(run.learned) == 6 - sum(left_out.values())


def test_only_the_parameters_of_this_space_count(tmp_path: Path) -> None:
    recorded(tmp_path, parameters={"lr": LR, "warmup": {"min": 0.0, "max": 1.0}, "batch": {"value": 4}})
    run = opened(tmp_path, "s", learn_from=["other"], parameters={"lr": LR, "batch": {"values": [2, 4.0]}})
    assert [one.params.keys() for one in run.learned] == [{"lr", "batch"}] * 6
    assert {repr(one.params["batch"]) for one in run.learned} == {"4.0"}


def test_the_seeds_of_a_configuration_count_together(tmp_path: Path) -> None:
    recorded(tmp_path, seeds=[0, 1], count=3, running=1)
    run = opened(tmp_path, "s", learn_from=["other"])
    assert [(one.value, one.failed) for one in run.learned] == [(0.5, 0.0), (0.5, 0.0)]
    assert learned(run).left_out == {"has not ended": 1}


@pytest.mark.parametrize(("at", "value"), [("best", 0.5), ("last", 0.7)])
def test_the_evaluation_is_the_one_that_counts_in_this_sweep(tmp_path: Path, at: str, value: float) -> None:
    recorded(tmp_path, count=1)
    run = opened(tmp_path, "s", learn_from=["other"], metric={"name": "loss", "at": at})
    assert [one.value for one in run.learned] == [value]


@pytest.mark.parametrize(
    ("learn_from", "metric", "said"),
    [
        (["nope"], {}, "learn_from: expected the directory of a run, or the name of one in"),
        (["s"], {}, "learn_from: expected another run, got s, which is this run itself"),
        (["other"], {"name": "acc"}, "expected a run with the metric of this sweep, minimize acc, got minimize loss"),
        (["other"], {"goal": "maximize"}, "minimize loss"),
    ],
)
def test_a_run_that_cannot_be_learned_from_is_refused(
    tmp_path: Path, learn_from: Sequence[str], metric: Mapping[str, str], said: str
) -> None:
    recorded(tmp_path)
    opened(tmp_path, "s", metric={"name": "loss", **metric}).lease.release()
    with pytest.raises(UsageError, match=said):
        opened(tmp_path, "s", learn_from=learn_from, metric={"name": "loss", **metric})


def test_a_run_may_be_a_path_and_may_be_added_or_taken_away_later(tmp_path: Path) -> None:
    recorded(tmp_path / "elsewhere", "other")
    recorded(tmp_path, "near", count=2)
    path = str(tmp_path / "elsewhere" / "other")
    for names, expected in (([], 0), ([path], 6), ([path, "near"], 8), (["near"], 2), ([path, "near"], 8)):
        run = opened(tmp_path, "s", learn_from=names)
        assert len(run.learned) == expected
        run.lease.release()


def test_a_damaged_record_of_what_was_told_is_read_anew(tmp_path: Path) -> None:
    recorded(tmp_path)
    run = opened(tmp_path, "s", learn_from=["other"])
    run.lease.release()
    run.directory.search.write_bytes(run.directory.search.read_bytes().replace(b'"params":{', b'"params":3,"x":{', 1))
    again = opened(tmp_path, "s", learn_from=["other"])
    assert again.learned == run.learned
    assert len(again.learned) == 6


def test_derived_trials_of_another_run_are_left_out(tmp_path: Path) -> None:
    recorded(tmp_path, count=2)
    other = reopen_run(SweepDir(tmp_path / "other"))
    proposals = Proposals(other, search_for(other.spec))
    known = [read_trial(one) for one in other.directory.trials()]
    proposals.initial(known, {0, 1})
    (derived,) = proposals.derive(known[0], Derivation(parent=0, changes={"lr": 0.5}))
    ended(derived, COMPLETED, values=[0.0], exit_=ENDED)
    other.lease.release()
    told = learned(opened(tmp_path, "s", learn_from=["other"]))
    assert [one.value for one in told.configurations] == [0.5, 0.5]
    assert told.left_out == {"was derived from another trial": 1}
