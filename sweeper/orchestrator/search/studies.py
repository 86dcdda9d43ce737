"""A run's trials in the form in which Optuna's analyses take them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sweeper.config import SweepSpec
from sweeper.record.fold import State
from sweeper.record.storage.layout import SweepDir, read_json
from sweeper.record.trial import Entry as Recorded
from sweeper.record.trial import Trial
from sweeper.record.values.evaluation import evaluations
from sweeper.search.study import Entry


def spec_of(run: SweepDir) -> SweepSpec:
    """The resolved sweep of a run.

    Raises:
        RecordError: it cannot be understood.
    """
    return SweepSpec.from_json(read_json(run.spec).get("spec"))  # type: ignore[arg-type]  # from_json says what is wrong


def entries_of(read: Iterable[tuple[Trial, Sequence[Recorded]]]) -> list[Entry]:
    """An entry a trial, with every value that it had."""
    return [
        Entry(
            params=trial.facts.params,
            state=trial.state.value if trial.control.launched else State.WAITING.value,
            value=trial.value,
            values={e.step: e.value for e in evaluations((entry.event for entry in history), trial.facts.metric)},
            began=min((launched.time for launched in trial.control.launched.values()), default=0.0),
            ended=trial.progress.latest,
            attributes={"number": trial.facts.number, "seed": trial.facts.seed},
        )
        for trial, history in read
    ]
