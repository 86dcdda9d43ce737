"""What damage of a record means, in words.

A place that is not as it was written is left out, and named. A trial with such a place is *damaged*: it has no value if
the place is a line of a journal, and it is not run again, because it may have ended. A trial with `trial.json` damaged
has no row, and its configuration runs again under a new number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sweeper.record.storage.checksums import Damage
from sweeper.record.trial import TrialRecord
from sweeper.results.wording import counted, plain

MOST_PLACES = 5
"""Of the damaged places of one trial, the number that is listed; `sweeper verify` lists all."""

REMEDY = "restore the file from a copy, or move the trial's directory away to run its configuration again"
LIST_ALL = "`sweeper verify` lists all"


def damage_lines(trials: Sequence[TrialRecord]) -> Iterator[str]:
    """Yield a line for each place where the records of trials are damaged, at most `MOST_PLACES` for each trial.

    The line begins with the place, because a table cuts long lines.
    """
    for trial in trials:
        for one in trial.damage[:MOST_PLACES]:
            yield plain(f"{trial.number:04d} is damaged at {_place(trial, one)}: {one.what}")
        if (more := len(trial.damage) - MOST_PLACES) > 0:
            yield f"{trial.number:04d} has {counted(more, 'more damaged place', 'more damaged places')}; {LIST_ALL}"


def places(trial: TrialRecord) -> list[str]:
    """Return the damaged places of a trial for its receipt."""
    shown = [plain(f"damaged: {one}") for one in trial.damage[:MOST_PLACES]]
    more = len(trial.damage) - MOST_PLACES
    return shown + ([f"damaged: {counted(more, 'more place', 'more places')}; {LIST_ALL}"] if more > 0 else [])


def not_run_again(trial: TrialRecord) -> str:
    """Return what `sweeper run` prints about a damaged trial that it leaves as it is."""
    where, what = _place(trial, trial.altered[0]), trial.altered[0].what
    return plain(f"Trial {trial.number:04d} is damaged at {where}, and is not run again: {what}; {REMEDY}")


def _place(trial: TrialRecord, one: Damage) -> str:
    """Return a place in the directory of a trial: ``attempts/1/events.jsonl:7``."""
    return f"{one.file.relative_to(trial.directory.path)}{f':{one.line}' if one.line else ''}"
