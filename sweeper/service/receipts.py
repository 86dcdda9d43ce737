"""One trial in full: its receipt, its attempts, its timeline, and what people asked for it."""

from __future__ import annotations

import contextlib

from sweeper.config import SweepSpec
from sweeper.errors import RecordError
from sweeper.record.storage.layout import SweepDir, read_json
from sweeper.record.trial import TrialRecord
from sweeper.results.asked import asked_lines
from sweeper.results.damage import places
from sweeper.results.health.timeline import timeline
from sweeper.results.lineage import children_of
from sweeper.results.receipt import receipt
from sweeper.results.snapshot import SweepView
from sweeper.results.told import read_search, told_lines
from sweeper.results.wording import plain
from sweeper.service.answers.trial import (
    Moment,
    Receipt,
    Trial,
    TrialRow,
    TrialStatus,
)
from sweeper.service.given import commands_of
from sweeper.service.trials import attempt_of, metrics_of, stop_of


def trial_of(run: SweepDir, trial: TrialRecord, view: SweepView, *, row: TrialRow, status: TrialStatus) -> Trial:
    """Return one trial in full.

    Args:
        run: the directory of the run.
        trial: the trial.
        view: the sweep.
        row: the trial as a row of the table.
        status: the trial as in `sweeper status --json`.
    """
    siblings = [one for one in view.trials if one is not trial]
    moments = timeline(trial, siblings)
    return Trial(
        run=view.name,
        row=row,
        status=status,
        configuration=trial.facts.configuration,
        command=trial.facts.command,
        directory=str(trial.directory.path),
        metrics=metrics_of(trial),
        attempt_list=[attempt_of(attempt) for attempt in trial.attempts],
        timeline=[Moment(when=one.when, text=one.text, effect=one.effect, advice=one.advice) for one in moments],
        commands=commands_of(view.log, trial.number),
        receipt=receipt_of(run, trial, view).lines,
        notes=list(dict.fromkeys(trial.progress.notes)),
        checkpoint=trial.progress.checkpoint,
        derived=status.derived,
        children=[one.number for one in children_of(trial, siblings)],
    )


def receipt_of(run: SweepDir, trial: TrialRecord, view: SweepView) -> Receipt:
    """Return the receipt of a trial.

    Args:
        run: the directory of the run.
        trial: the trial.
        view: the sweep.
    """
    spec, wrong = spec_of(run)
    siblings = [one for one in view.trials if one.number != trial.number]
    searched = [] if spec is None else told_lines(read_search(run, spec), trial)
    text = receipt(
        trial,
        siblings,
        resume_args=None if spec is None else spec.resume_args,
        searched=searched,
        asked=asked_lines(view.log, trial.number),
    )
    of_trials = {plain(str(one)) for other in view.trials for one in other.damage}
    damage = [line for one in siblings for line in places(one)] + list(view.unreadable) + ([wrong] if wrong else [])
    damage += [line for line in view.damage if line not in of_trials]  # a command that is missing above may be there
    return Receipt(
        run=view.name,
        number=trial.number,
        state=trial.state.value,
        lines=text.removesuffix("\n").split("\n"),
        verdict=stop_of(trial.newest.stop),
        damage=damage,
    )


def spec_of(run: SweepDir) -> tuple[SweepSpec | None, str]:
    """Return the sweep of a run, None for a script that was run by itself; and what is wrong with its file."""
    try:
        content = read_json(run.spec).get("spec", {})
    except RecordError as error:
        return None, str(error)
    with contextlib.suppress(RecordError):
        return SweepSpec.from_json(content), ""  # type: ignore[arg-type]  # from_json says what is wrong
    return None, ""
