"""`sweeper report RUN`: one page on what a sweep found."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.cli.arguments import Commands, add_command, add_run, existing
from sweeper.cli.exit_codes import OK
from sweeper.cli.messages import say, warn
from sweeper.cli.output import write_output
from sweeper.errors import ExtraMissing, RecordError
from sweeper.record.storage import confined
from sweeper.record.storage.layout import SweepDir, write_atomically

if TYPE_CHECKING:
    from sweeper.record.trial import TrialRecord


def add(commands: Commands) -> None:
    """Its arguments."""
    parser = add_command(commands, "report", "Write a report of a run: one HTML page that needs no network")
    add_run(parser)
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="directory for report.html and summary.json (default: RUN/report)"
    )
    parser.set_defaults(run_command=_report)


def _report(options: argparse.Namespace) -> int:
    from sweeper.orchestrator.search.audits import Audits
    from sweeper.orchestrator.search.studies import entries_of, spec_of
    from sweeper.record.reader import read_trials
    from sweeper.record.storage.layout import read_json
    from sweeper.results.status import read_sweep
    from sweeper.search.importance import importance
    from sweeper.views.report.page import ReportContext, report

    run = existing(options.run)
    spec, sweep, read = spec_of(run), read_sweep(run), read_trials(run)[0]
    audits = Audits(run, spec.name, spec.early_stop)
    audits.update(sweep.trials)
    origin = read_json(run.spec).get("provenance")
    try:
        entries = entries_of(read)
        shares = {goal.name: importance(spec, entries, place) for place, goal in enumerate(spec.goals)}
    except ExtraMissing as error:
        warn(f"left out of the report: {error}")
        shares = {}
    context = ReportContext(
        description=spec.description,
        sweep_yaml=_sweep_file(run),
        importance=shares.get(spec.metric.name, {}),
        importances=shares if spec.objectives else {},
        rules=audits.texts(sweep.trials),
        origin=origin if isinstance(origin, dict) else {},
        reproduce=_reproduce_command(run, sweep.trials),
    )
    page, summary = report(sweep, {trial.facts.number: history for trial, history in read}, context)
    folder = options.out or run.report
    if options.out:
        folder.mkdir(parents=True, exist_ok=True)
        write: Callable[[Path, bytes], None] = partial(write_output, special=False)
    else:
        _make(folder, run)
        write = partial(write_atomically, root=run.path)
    write(folder / "report.html", page.encode(errors="backslashreplace"))
    write(folder / "summary.json", summary.encode())
    say(f"{folder / 'report.html'}: open it in a browser")
    return OK


def _sweep_file(run: SweepDir) -> str:
    """The sweep file as it was given; empty where there is none, or none that can be read."""
    try:
        return confined.read_bytes(run.sweep_yaml).decode(errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        warn(f"left out of the report: {run.sweep_yaml}: {error.strerror}")
        return ""


def _make(folder: Path, run: SweepDir) -> None:
    try:
        confined.make_folder(folder, root=run.path)
    except OSError as error:
        raise RecordError(f"{folder}: {error.strerror}; --out DIR writes the report elsewhere") from error


def _reproduce_command(run: SweepDir, trials: Sequence[TrialRecord]) -> str:
    """What runs the best trial again; empty where there is none, or not by what command it ran."""
    from sweeper.results.ranking import ranked

    best = next(iter(ranked(trials)), None)
    if best is None or best.value is None or not best.facts.command:
        return ""
    return f"sweeper reproduce {shlex.quote(str(run.path))} {best.facts.number} --run"
