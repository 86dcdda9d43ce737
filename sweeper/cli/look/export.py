"""`sweeper export RUN`: the sweep for other programs."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sweeper.cli.arguments import Commands, add_command, add_run, existing
from sweeper.cli.exit_codes import OK
from sweeper.cli.messages import say
from sweeper.cli.output import put, write_output
from sweeper.errors import UsageError
from sweeper.record.storage.layout import SweepDir

STDOUT = Path("-")
T = TypeVar("T")


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
    from sweeper.results.export import export_of
    from sweeper.results.status import read_sweep
    from sweeper.results.wording import counted

    run = existing(options.run)
    if options.csv is None and options.parquet is None and options.optuna is None:
        message = f"{options.run}: expected --csv FILE, --parquet FILE or --optuna FILE, got none of them"
        raise UsageError(message)
    table = export_of(read_sweep(run))
    if options.csv == STDOUT:
        put(table.csv())
    elif options.csv is not None:
        write_output(options.csv, table.csv().encode())
    if options.parquet is not None:
        _through_a_file(options.parquet, table.write_parquet)
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
    from sweeper.orchestrator.search.studies import entries_of, spec_of
    from sweeper.record.reader import read_trials
    from sweeper.search.study import write_study

    spec, entries = spec_of(run), entries_of(read_trials(run)[0])
    return _through_a_file(path, lambda made: write_study(made, spec, entries))


def _through_a_file(path: Path, write: Callable[[Path], T]) -> T:
    """Have a library write a file of its own, and write that to the path that the user named."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "made"
        result = write(made)
        write_output(path, made)
    return result
