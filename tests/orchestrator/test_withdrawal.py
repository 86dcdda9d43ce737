"""Values and seeds that no trial has run with can be taken out of a run, and come back."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from sweeper.config import SweepSpec
from sweeper.errors import SpecChanged
from sweeper.orchestrator.opening import name_of, open_run, reopen_run
from sweeper.orchestrator.search.proposals import Proposals
from sweeper.record.derivation import Derivation
from sweeper.record.ended import read_states
from sweeper.record.events import Launched
from sweeper.record.storage.journal import JournalWriter
from sweeper.record.storage.layout import SweepDir
from sweeper.search.grid import Grid
from tests.config.conftest import sweep


def opened(folder: Path, **keys: Any) -> list[tuple[object, int]]:
    """Open the run, make its trials as the orchestrator does, and return the value and seed of each trial."""
    spec = SweepSpec.from_json(sweep(trainer=None, command=["true"], **keys))
    run = open_run(spec, text=b"", runs=folder, provenance=dict, say=lambda _: None)
    try:
        trials = read_states(run.directory)[0]
        Proposals(run, Grid(spec.parameters)).initial(trials, [trial.number for trial in trials])
        made = read_states(run.directory)[0]
    finally:
        run.lease.release()
    return [(trial.facts.params["lr"], trial.facts.seed) for trial in made]


def start(folder: Path, number: int) -> None:
    with JournalWriter(SweepDir(folder / "small").trial(number).control) as control:
        control.append(Launched(time=time.time(), attempt=1, slot="0"))


def values(*given: object) -> dict[str, Any]:
    return {"parameters": {"lr": {"values": list(given)}}}


@pytest.mark.parametrize("removed", [3, "x", True, [1, 2]])
def test_a_value_that_never_ran_is_taken_out_and_comes_back(tmp_path: Path, removed: object) -> None:
    assert len(opened(tmp_path, **values(1, 2, removed))) == 3
    start(tmp_path, 0)
    assert opened(tmp_path, **values(1, 2)) == [(1, 0), (2, 0)]
    assert opened(tmp_path, **values(1, 2)) == [(1, 0), (2, 0)], "also at the next call"
    assert opened(tmp_path, **values(1, 2, removed)) == [(1, 0), (2, 0), (removed, 0)]


def test_a_value_that_ran_is_not_taken_out(tmp_path: Path) -> None:
    opened(tmp_path, **values(1, 2, 3))
    start(tmp_path, 1)
    with pytest.raises(SpecChanged, match=r"parameters.lr.values: removed 2\n") as caught:
        opened(tmp_path, **values(1))
    assert "removed 3" not in str(caught.value)
    assert opened(tmp_path, **values(1, 2, 3)) == [(1, 0), (2, 0), (3, 0)]


def test_a_seed_that_never_ran_is_taken_out(tmp_path: Path) -> None:
    opened(tmp_path, **values(1, 2), seeds=[0, 1])
    start(tmp_path, 0)
    assert opened(tmp_path, **values(1, 2), seeds=[0]) == [(1, 0), (2, 0)]
    with pytest.raises(SpecChanged, match="seeds: removed 0"):
        opened(tmp_path, **values(1, 2), seeds=[1])


def test_a_value_is_replaced_before_it_runs(tmp_path: Path) -> None:
    opened(tmp_path, **values(1, 2))
    assert sorted(opened(tmp_path, **values(1, 5))) == [(1, 0), (5, 0)]


def test_files_without_a_name_have_a_run_each(tmp_path: Path) -> None:
    runs, names = tmp_path / "runs", []
    for folder in ("a", "b", "c"):
        file = tmp_path / folder / "sweep.yaml"
        file.parent.mkdir()
        file.touch()
        names.append(name_of(runs, file, "sweep"))
        spec = SweepSpec.from_json(sweep(trainer=None, command=["true"], name=names[-1]))
        open_run(spec, text=b"", runs=runs, provenance=dict, say=lambda _: None, file=file).lease.release()
        assert name_of(runs, file, "sweep") == names[-1], "the same file has the same run"
        assert name_of(runs, tmp_path / "a" / ".." / folder / "sweep.yaml", "sweep") == names[-1]
    assert names == ["sweep", "sweep-2", "sweep-3"]
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    assert name_of(moved / "runs", moved / "b" / "sweep.yaml", "sweep") == "sweep-2"


def test_a_configuration_that_was_taken_out_can_be_added_by_hand(tmp_path: Path) -> None:
    opened(tmp_path, **values(1, 2, 3))
    opened(tmp_path, **values(1, 2))
    assert added(tmp_path, 3, **values(1, 2)) == [(3, 2)]
    assert added(tmp_path, 3, **values(1, 2)) == [], "it is there already"
    assert opened(tmp_path, **values(1, 2)) == [(1, 0), (2, 0), (3, 0)], "it stays"
    assert opened(tmp_path, **values(1, 2), seeds=[0, 1])[3:] == [(1, 1), (2, 1), (3, 1)]


@pytest.mark.parametrize("value", [[1, 2], {"a": [1]}])
def test_a_value_of_several_parts_is_added_only_once(tmp_path: Path, value: object) -> None:
    opened(tmp_path, **values(1, value))
    assert added(tmp_path, value, **values(1, value)) == []


def added(folder: Path, value: object, **keys: Any) -> list[tuple[object, int]]:
    """Add a configuration by hand; return the value and the configuration of each trial that was made."""
    spec = SweepSpec.from_json(sweep(trainer=None, command=["true"], **keys))
    run = open_run(spec, text=b"", runs=folder, provenance=dict, say=lambda _: None)
    try:
        trials = read_states(run.directory)[0]
        proposals = Proposals(run, Grid(spec.parameters))
        proposals.initial(trials, [trial.number for trial in trials])
        made = proposals.add({"lr": value})
    finally:
        run.lease.release()
    return [(trial.facts.params["lr"], trial.facts.configuration) for trial in made]


def test_a_derived_trial_is_not_taken_out_with_a_value(tmp_path: Path) -> None:
    opened(tmp_path, **values(1, 2, 3))
    start(tmp_path, 0)
    run = reopen_run(SweepDir(tmp_path / "small"))
    trials = read_states(run.directory)[0]
    proposals = Proposals(run, Grid(run.spec.parameters))
    proposals.initial(trials, [trial.number for trial in trials])
    proposals.derive(trials[0], Derivation(parent=0, changes={"lr": 3}))
    run.lease.release()
    assert opened(tmp_path, **values(1, 2)) == [(1, 0), (2, 0), (3, 0)]
    assert [trial.is_derived for trial in read_states(run.directory)[0]] == [False, False, True]
