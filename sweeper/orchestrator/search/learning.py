"""Tell a search what other runs found (`learn_from`): once, so that only this run's own `search.jsonl` is needed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from sweeper.config import SweepSpec, applies, in_dependency_order, taken
from sweeper.errors import RecordError, UsageError
from sweeper.orchestrator.search.results import with_result
from sweeper.record.ended import read_states
from sweeper.record.events import Learned, LearnedConfiguration
from sweeper.record.storage.journal import JournalWriter, read_journal
from sweeper.record.storage.layout import SweepDir, read_json
from sweeper.record.trial import TrialRecord
from sweeper.results.told import learned_text
from sweeper.search import Configuration

NOT_ENDED, NO_VALUE, DERIVED = "has not ended", "has no value", "was derived from another trial"
"""Reasons for which a configuration is left out."""


def recorded(directory: SweepDir, spec: SweepSpec) -> dict[str, Learned]:
    """Return what a run was told about each run in `learn_from`, as far as it is on its record."""
    events = read_journal(directory.search) if directory.search.exists() and spec.learn_from else []
    return {one.run: one for one in events if isinstance(one, Learned) and one.run in spec.learn_from}


def found(directory: SweepDir, spec: SweepSpec, runs: Path) -> dict[str, Learned]:
    """Return what is to be told about the runs in `learn_from` that this run was not told about.

    Args:
        directory: the directory of this run, which need not exist.
        spec: its sweep.
        runs: the directory of all runs.

    Raises:
        UsageError: a run does not exist, has another metric, or is this one.
        RecordError: a run's record cannot be read.
    """
    known = recorded(directory, spec)
    others = [(name, _run_named(name, runs, directory)) for name in spec.learn_from if name not in known]
    return {name: _told(name, other, spec) for name, other in others}


def tell(directory: SweepDir, told: Mapping[str, Learned]) -> None:
    """Record what the search is told. After this, the other runs are not needed any more."""
    if told:
        with JournalWriter(directory.search) as journal:
            journal.extend([replace(one, time=time.time()) for one in told.values()], sync=True)


def configurations(directory: SweepDir, spec: SweepSpec) -> tuple[Configuration, ...]:
    """Return the configurations of other runs that a run was told about. They have negative numbers."""
    known = recorded(directory, spec)
    given = [one for name in spec.learn_from if name in known for one in known[name].configurations]
    return tuple(_read(one, number) for number, one in enumerate(given, -len(given)))


def _run_named(name: str, runs: Path, own: SweepDir) -> SweepDir:
    """Return the run at a path, or the one with a name among the runs."""
    other = next((one for one in (SweepDir(Path(name)), SweepDir(runs / name)) if one.spec.exists()), None)
    if other is None:
        raise UsageError(f"learn_from: expected the directory of a run, or the name of one in {runs}, got {name}")
    if other.path.resolve() == own.path.resolve():
        raise UsageError(f"learn_from: expected another run, got {name}, which is this run itself")
    return other


def _told(name: str, other: SweepDir, spec: SweepSpec) -> Learned:
    try:
        theirs = SweepSpec.from_json(read_json(other.spec).get("spec")).metric  # type: ignore[arg-type]
    except RecordError as error:
        raise RecordError(f"learn_from: {other.path}: {error}") from error
    if (theirs.name, theirs.goal) != (spec.metric.name, spec.metric.goal):
        expected = f"expected a run with the metric of this sweep, {spec.metric.goal} {spec.metric.name}"
        raise UsageError(f"learn_from: {other.path}: {expected}, got {theirs.goal} {theirs.name}")
    by_configuration: dict[int, list[TrialRecord]] = {}
    trials, unreadable = read_states(other)
    for trial in trials:
        if not trial.is_derived:
            by_configuration.setdefault(trial.facts.configuration, []).append(_measured(trial, spec))
    left_out: Counter[str] = Counter({"record is unreadable": len(unreadable)} if unreadable else {})
    if derived := sum(trial.is_derived for trial in trials):
        left_out[DERIVED] = derived
    taken_ = []
    for number, own in sorted(by_configuration.items()):
        params, why = in_space(spec, own[0].facts.params)
        result = with_result(Configuration(number=number, params=params), own, spec.metric.impute)
        why = why or ("" if result.ended else NOT_ENDED)
        why = why or (NO_VALUE if result.value is None and not result.failed else "")
        if why:
            left_out[why] += 1
        else:
            taken_.append(_written(result))
    return Learned(run=name, configurations=tuple(taken_), left_out=dict(left_out))


def _measured(trial: TrialRecord, spec: SweepSpec) -> TrialRecord:
    """Return a trial with its value at the evaluation that counts in this sweep, the best or the last."""
    return replace(trial, facts=replace(trial.facts, at=spec.metric.at.value))


def in_space(spec: SweepSpec, params: Mapping[str, object]) -> tuple[Mapping[str, object], str]:
    """Return the parameters of this sweep among those of a trial, and why the trial is not in its space, if so."""
    kept: dict[str, object] = {}
    for name in in_dependency_order(spec.parameters):
        parameter = spec.parameters[name]
        if not applies(parameter, kept):
            continue
        if name not in params:
            return kept, f"lacks {name}"
        try:
            kept[name] = taken(parameter, params[name])
        except ValueError as error:
            return kept, f"{name} is not {error}"
    return kept, ""


def _written(one: Configuration) -> LearnedConfiguration:
    return LearnedConfiguration(
        configuration=one.number,
        params=one.params,
        state=one.state,
        value=one.value,
        step=one.step,
        failed=one.failed,
        why=one.why,
    )


def _read(one: LearnedConfiguration, number: int) -> Configuration:
    return Configuration(
        number=number,
        params=one.params,
        state=one.state,
        value=one.value,
        step=one.step,
        failed=one.failed,
        why=one.why,
    )


def lines(told: Mapping[str, Learned], known: Mapping[str, Learned]) -> Iterator[str]:
    """Yield a line for each other run: what is told now, and what was told in earlier calls."""
    yield from (f"{learned_text(one)}, as in earlier calls" for name, one in known.items() if name not in told)
    yield from (learned_text(one) for one in told.values())
