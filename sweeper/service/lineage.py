"""From which trial a trial comes and what came of it, and the checkpoints from which another one can be derived."""

from __future__ import annotations

from collections.abc import Mapping

from sweeper.record.checkpoints import saved_checkpoints
from sweeper.record.trial import TrialRecord
from sweeper.record.values.redaction import redacted_values
from sweeper.results.health.trial_health import failing_at
from sweeper.results.lineage import ancestors_of, children_of, derivation_text, parent_of
from sweeper.service.answers.lineage import Checkpoint, Checkpoints, Child, Lineage
from sweeper.service.trials import derived_of


def lineage_of(trial: TrialRecord, trials: Mapping[int, TrialRecord]) -> Lineage | None:
    """Return the lineage of a trial; None if it was not derived and nothing was derived from it."""
    children = [_child(child) for child in children_of(trial, trials.values())]
    derived, parent = derived_of(trial.facts.derived), parent_of(trial, trials)
    if derived is None and not children:
        return None
    return Lineage(
        derived=derived,
        text=derivation_text(trial.facts.derived, parent) if trial.facts.derived is not None else "",
        known=parent is not None,
        ancestors=[one.number for one in ancestors_of(trial, trials)],
        children=children,
    )


def checkpoints_of(run: str, trial: TrialRecord) -> Checkpoints:
    """Return the checkpoints of a trial, newest first, and which of them another trial best continues from.

    Raises:
        RecordError: the folder of the checkpoints cannot be read.
    """
    found = [
        Checkpoint(step=one.step, failing=failing_at(trial, one.step)) for one in saved_checkpoints(trial.directory)
    ]
    return Checkpoints(
        run=run,
        number=trial.number,
        checkpoints=found,
        newest_healthy=next((one.step for one in found if not one.failing), None),
        params=redacted_values(trial.facts.params),
    )


def _child(trial: TrialRecord) -> Child:
    derived = derived_of(trial.facts.derived)
    assert derived is not None  # noqa: S101 - it was found by it
    return Child(
        number=trial.number,
        state=trial.state.value,
        value=trial.value,
        derived=derived,
    )
