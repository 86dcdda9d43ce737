"""How much each parameter explains of each objective, by the library of the search."""

from __future__ import annotations

from sweeper.errors import ExtraMissing
from sweeper.orchestrator.search.studies import entries_of, spec_of
from sweeper.record.reader import read_trials
from sweeper.record.storage.layout import SweepDir
from sweeper.service.answers.series import Importance


def importance_of(run: SweepDir) -> Importance:
    """Return the importance of the parameters of a run; the whole record is read for it.

    Raises:
        RecordError: the sweep file of the run cannot be read.
    """
    from sweeper.search.importance import importance

    spec = spec_of(run)
    entries = entries_of(read_trials(run)[0])
    try:
        shares = {goal.name: importance(spec, entries, place) for place, goal in enumerate(spec.goals)}
    except ExtraMissing as error:
        return Importance(shares={}, problem=str(error))
    return Importance(shares=shares)
