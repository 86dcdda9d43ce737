"""`sweeper backtest RUN ...`: what rules and pruners would have done to recorded runs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.cli.arguments import Commands, add_command
from sweeper.cli.exit_codes import OK
from sweeper.cli.messages import console, warn
from sweeper.cli.setup.completers import completed_by, runs

if TYPE_CHECKING:
    from sweeper.backtest import Recording


def add(commands: Commands) -> None:
    """Its arguments."""
    parser = add_command(commands, "backtest", "Replay rules over recorded runs, and count their errors")
    recorded = parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="run directories, or directories of TensorBoard logs"
    )
    completed_by(recorded, runs)
    parser.add_argument(
        "--rules",
        metavar="FILE",
        help="file with the rules, or none for no rules (default: the diagnoses and rules with their defaults)",
    )
    parser.add_argument("--metric", metavar="NAME", help="objective (default: the run's own)")
    parser.add_argument(
        "--goal", choices=["minimize", "maximize"], help="direction of the objective (default: the run's own)"
    )
    parser.add_argument(
        "--start", type=float, metavar="VALUE", help="objective before training (default: estimated from the record)"
    )
    parser.add_argument(
        "--truth",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="JSON file with the known outcomes of the trials; give it once for all runs, or once for each run "
        "(default: judge trials by their siblings)",
    )
    parser.add_argument("--each", action="store_true", help="also print the table of each run")
    parser.add_argument(
        "--trials", action="store_true", help="also print each trial, and where it would have been flagged"
    )
    parser.add_argument(
        "--reasons", action="store_true", help="also print why each trial is flagged, and which failed trials are not"
    )
    parser.add_argument(
        "--repair",
        action="store_true",
        help="print which trials `early_stop: {repair: auto}` would have repaired, how, and what it would have cost",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run_command=_backtest)


def _repairs(recordings: Sequence[Recording], options: argparse.Namespace) -> int:
    from sweeper.backtest.repair_table import repair_lines
    from sweeper.backtest.repairs import repairs_to_json, replay_repairs
    from sweeper.backtest.table import WIDTH
    from sweeper.results.wording import fold_line

    report = replay_repairs(recordings)
    if options.json:
        print(json.dumps(repairs_to_json(report), indent=1))
    else:
        print("\n".join(fold_line(line, WIDTH) for line in repair_lines(report, trials=options.trials)))
    return OK


def _backtest(options: argparse.Namespace) -> int:
    from sweeper.backtest import arms, backtest, read_recordings, to_json
    from sweeper.backtest.table import WIDTH, report_table
    from sweeper.config import rules_from_file
    from sweeper.errors import UsageError

    if options.repair and (options.rules is not None or options.reasons or options.each):
        raise UsageError("--repair replays early_stop: auto: expected it without --rules, --reasons and --each")
    rules = None if options.rules is None else rules_from_file(options.rules)
    recordings = read_recordings(
        options.runs,
        metric=options.metric,
        goal=options.goal,
        start=options.start,
        truths=options.truth,
        say=warn,
    )
    if options.repair:
        return _repairs(recordings, options)
    report = backtest(recordings, arms(rules))
    if options.json:
        print(json.dumps(to_json(report, reasons=options.reasons), indent=1))
    else:
        # As wide as the table needs, also where the output goes into a file, for which rich takes 80 columns.
        terminal = console() if sys.stdout.isatty() else console(width=WIDTH)
        terminal.print(report_table(report, each=options.each, trials=options.trials, reasons=options.reasons))
    return OK
