"""Convert the trials of a run to the form that Optuna's analyses take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sweeper.config import SweepSpec
from sweeper.record.progress import evaluations
from sweeper.record.storage.layout import SweepDir, read_json
from sweeper.record.trial import HistoryEntry, State, TrialRecord
from sweeper.search.study import StudyTrial


def spec_of(run: SweepDir) -> SweepSpec:
    """Return the resolved sweep file of a run.

    Raises:
        RecordError: it cannot be read or is not valid.
    """
    return SweepSpec.from_json(read_json(run.spec).get("spec"))  # type: ignore[arg-type]  # from_json checks it


def entries_of(read: Iterable[tuple[TrialRecord, Sequence[HistoryEntry]]]) -> list[StudyTrial]:
    """Return each trial with all values of its metric, except those that were derived from others.

    The value of a derived trial also depends on the parameters of its parent.
    """
    return [
        StudyTrial(
            params=trial.facts.params,
            state=trial.state.value if trial.attempts else State.WAITING.value,
            value=trial.value,
            values={e.step: e.value for e in evaluations((entry.event for entry in history), trial.facts.metric)},
            began=min((attempt.launch_time for attempt in trial.attempts), default=0.0),
            ended=trial.progress.latest,
            attributes={"number": trial.facts.number, "seed": trial.facts.seed},
            objectives=trial.values if trial.facts.objectives else None,
            violations=trial.violations,
        )
        for trial, history in read
        if not trial.is_derived
    ]
