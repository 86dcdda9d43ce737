"""`sweeper export RUN`: the sweep for other programs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sweeper.cli.arguments import Commands, add_command, add_run, existing
from sweeper.cli.codes import OK
from sweeper.cli.speech import say
from sweeper.errors import UsageError
from sweeper.record.layout import SweepDir, write_atomically

STDOUT = Path("-")


def add(commands: Commands) -> None:
    """Its arguments."""
    parser = add_command(commands, "export", "Write the trials of a run to a table or an Optuna study")
    add_run(parser)
    parser.add_argument(
        "--csv", type=Path, metavar="FILE", help="CSV file with one row per trial, or - for standard output"
    )
    parser.add_argument(
        "--parquet", type=Path, metavar="FILE", help="Parquet file with the same rows (needs sweeper[parquet])"
    )
    parser.add_argument(
        "--optuna", type=Path, metavar="FILE", help="SQLite file with an Optuna study, for optuna-dashboard"
    )
    parser.set_defaults(run_command=_export)


def _export(options: argparse.Namespace) -> int:
    from sweeper.views.export import export_of
    from sweeper.views.status import read_sweep
    from sweeper.views.wording import counted

    run = existing(options.run)
    if options.csv is None and options.parquet is None and options.optuna is None:
        message = f"{options.run}: expected --csv FILE, --parquet FILE or --optuna FILE, got none of them"
        raise UsageError(message)
    table = export_of(read_sweep(run))
    if options.csv == STDOUT:
        sys.stdout.write(table.csv())
    elif options.csv is not None:
        write_atomically(options.csv, table.csv().encode())
    if options.parquet is not None:
        table.write_parquet(options.parquet)
    for path in (options.csv, options.parquet):
        if path not in (None, STDOUT):
            say(f"{path}: {counted(len(table.rows), 'trial', 'trials')}")
    if options.optuna is not None:
        count = _write_study(run, options.optuna)
        left_out = f", without {len(table.rows) - count} that have not begun" if count < len(table.rows) else ""
        say(
            f"{options.optuna}: {counted(count, 'trial', 'trials')}{left_out}; `optuna-dashboard sqlite:///{options.optuna}`"
        )
    return OK


def _write_study(run: SweepDir, path: Path) -> int:
    from sweeper.orchestrator.studies import entries_of, spec_of
    from sweeper.record.trial import read_trials
    from sweeper.search.study import write_study

    return write_study(path, spec_of(run), entries_of(read_trials(run)[0]))
