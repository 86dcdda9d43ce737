"""The derivation of a trial goes through `trial.json` and the cache of ended trials, and is refused if it is wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from sweeper.errors import RecordError
from sweeper.record.derivation import REPAIR, START, Derivation
from sweeper.record.ended import EndedTrials, EndedWriter
from sweeper.record.events import Asked, Exit, Finished, Launched, Started
from sweeper.record.facts import Facts
from sweeper.record.reader import TrialReader, read_trial
from sweeper.record.storage.codec import decode, encode
from sweeper.record.storage.journal import JournalWriter
from sweeper.record.storage.layout import SweepDir, TrialDir, write_json
from tests.record.trials import facts_of

FILE = "step-000000119.3fa94c01d2e7b655.pt"
DERIVED = Derivation(
    parent=3,
    step=119,
    checkpoint=FILE,
    changes={"lr": 1e-4, "name": "x", "layers": [1, 2]},
    lr_factor=1 / 3,
    fresh_optimizer=True,
    by=REPAIR,
    reason="because",
    diagnosis="diverged",
)


def trial_dir(tmp_path: Path, number: int = 12) -> TrialDir:
    directory = SweepDir(tmp_path / "run").trial(number)
    directory.path.mkdir(parents=True)
    return directory


@pytest.mark.parametrize("derived", [DERIVED, Derivation(parent=3), None])
def test_facts_keep_the_derivation(tmp_path: Path, derived: Derivation | None) -> None:
    directory = trial_dir(tmp_path)
    facts = replace(facts_of(12), derived=derived, checkpoint_every_steps=20, keep_healthy=3, until=40)
    write_json(directory.facts, asdict(facts))
    found = Facts.read(directory)
    assert replace(found, command=[]) == replace(facts, command=[])
    if derived is not None and found.derived is not None:
        assert (found.derived.by, found.derived.reason) == (derived.by, derived.reason)  # equality leaves them out


def test_facts_of_an_older_version_are_not_derived(tmp_path: Path) -> None:
    directory = trial_dir(tmp_path)
    known = asdict(facts_of(12))
    for name in ("derived", "checkpoint_every_steps", "keep_healthy", "until"):
        del known[name]
    write_json(directory.facts, known)
    facts = Facts.read(directory)
    assert (facts.derived, facts.checkpoint_every_steps, facts.keep_healthy, facts.until) == (None, 0, 0, 0)


def test_the_label_names_the_parent_and_the_step() -> None:
    facts = replace(facts_of(12), shown={"lr": 1e-4})
    assert facts.label == "0012_lr=1e-4"
    assert replace(facts, derived=DERIVED).label == "0012_lr=1e-4_from=0003+119"
    assert replace(facts, derived=Derivation(parent=3)).label == "0012_lr=1e-4_from=0003"


def test_only_a_negative_configuration_is_unknown_to_the_search() -> None:
    assert facts_of().is_searched
    assert not replace(facts_of(), configuration=-12, derived=DERIVED).is_searched
    assert replace(facts_of(), configuration=7, derived=DERIVED).is_searched  # a population is searched


def test_the_cache_of_ended_trials_keeps_the_derivation(tmp_path: Path) -> None:
    directory = trial_dir(tmp_path)
    write_json(directory.facts, asdict(replace(facts_of(12), configuration=-12, derived=DERIVED, keep_healthy=2)))
    attempt = directory.attempt(1)
    attempt.path.mkdir(parents=True)
    with JournalWriter(directory.control) as control:
        control.append(Launched(attempt=1, slot="cpu 0", time=1.0))
    with JournalWriter(attempt.events) as events:
        events.extend([Started(pid=1, host="h", attempt=1, time=2.0), Finished(outcome="completed", time=4.0)])
    attempt.exit.write_bytes(encode(Exit(attempt=1, code=0, signal=None, cause="", peak_memory_mb=1.0, time=5.0)))
    reader = TrialReader.open(directory)
    reader.poll()
    run = SweepDir(tmp_path / "run")
    EndedWriter(run, anew=True).append([reader])
    (cached,) = EndedTrials(run).trials.values()
    assert cached.facts == read_trial(directory).facts
    assert cached.facts.derived is not None
    assert asdict(cached.facts.derived) == asdict(DERIVED)


def test_a_proposal_of_the_search_keeps_the_derivation() -> None:
    asked = Asked(time=1.0, configuration=7, params={"lr": 1}, derived=DERIVED, until=40)
    found = decode(encode(asked))
    assert found == asked
    older = json.loads(encode(asked))
    del older["derived"], older["until"]
    assert decode(json.dumps(older).encode()) == replace(asked, derived=None, until=0)


WRONG: Mapping[str, Any] = {
    "a text": "0003",
    "a number": 3,
    "a list": [3],
    "no parent": {"step": 5},
    "a parent that is a text": {**asdict(DERIVED), "parent": "3"},
    "a huge parent": {**asdict(DERIVED), "parent": 10**30},
    "itself": {**asdict(DERIVED), "parent": 12},
    "a negative parent": {**asdict(DERIVED), "parent": -1},
    "a path": {**asdict(DERIVED), "checkpoint": "../../0001/trial.json"},
    "a path with a name of a checkpoint": {**asdict(DERIVED), "checkpoint": f"../{FILE}"},
    "an absolute path": {**asdict(DERIVED), "checkpoint": "/etc/passwd"},
    "a step without a checkpoint": {**asdict(DERIVED), "checkpoint": ""},
    "a checkpoint without a step": {**asdict(DERIVED), "step": START},
    "a step before the start": {**asdict(DERIVED), "step": -2},
    "no factor": {**asdict(DERIVED), "lr_factor": 0.0},
    "an infinite factor": {**asdict(DERIVED), "lr_factor": math.inf},
    "a factor that is no number": {**asdict(DERIVED), "lr_factor": math.nan},
    "changes that are a list": {**asdict(DERIVED), "changes": ["lr"]},
    "a flag that is a number": {**asdict(DERIVED), "fresh_optimizer": 1},
    "a reason that is a number": {**asdict(DERIVED), "reason": 1},
}


@pytest.mark.parametrize("value", WRONG.values(), ids=WRONG)
def test_a_wrong_derivation_makes_the_record_unreadable(tmp_path: Path, value: object) -> None:
    directory = trial_dir(tmp_path)
    write_json(directory.facts, {**asdict(facts_of(12)), "derived": value})
    with pytest.raises(RecordError, match=r"trial\.json: expected the facts of a trial"):
        Facts.read(directory)
