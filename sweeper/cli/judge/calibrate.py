"""`sweeper calibrate RUN ...`: choose rule thresholds from recorded runs that learned."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.cli.arguments import Commands, add_command, part
from sweeper.cli.exit_codes import OK
from sweeper.cli.messages import say, warn
from sweeper.cli.setup.completers import completed_by, runs
from sweeper.errors import UsageError

if TYPE_CHECKING:
    from sweeper.record.events import Event


def add(commands: Commands) -> None:
    """Its arguments."""
    parser = add_command(commands, "calibrate", "Choose rule thresholds from recorded runs that learned")
    recorded = parser.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN", help="run recorded without rules, or with mode: observe"
    )
    completed_by(recorded, runs)
    parser.add_argument("--alpha", type=part, default=0.05, help="share of learners a rule may stop (default: 0.05)")
    parser.add_argument("--rules", metavar="RULES", help="file with the rules to calibrate, or auto (default: auto)")
    parser.set_defaults(run_command=_calibrate)


def _calibrate(options: argparse.Namespace) -> int:
    from sweeper.config import EarlyStop, RuleSettings, rules_as_yaml, rules_from_file
    from sweeper.results.wording import folded
    from sweeper.rules.calibration.conformal import PROMISE, Family, calibrate

    given = (EarlyStop() if options.rules is None else rules_from_file(options.rules)).rules
    learners, stalls = _learners_and_stalls(options.runs)
    found = [
        calibrate(rule, learners, stalls, options.alpha)
        if isinstance(rule, RuleSettings) and Family(rule).thresholds
        else None
        for rule in given
    ]
    calibrated = [one for one in found if one is not None]
    if not calibrated:
        expected = "expected a rule with a lower threshold: stalled, vanishing_gradient or update_ratio"
        raise UsageError(f"{options.rules}: {expected}, got none")
    for one in calibrated:
        print(folded(f"\n{one.text()}", sys.stdout))
    print(folded(f"\n{PROMISE.format(alpha=options.alpha)}", sys.stdout))
    if len(given) > 1:
        also = f"This is so for each of the {len(calibrated)} calibrated rules by itself, and for no other rule."
        print(folded(also, sys.stdout))
    rules = [rule if one is None else one.rule for rule, one in zip(given, found, strict=True)]
    print(f"\n{rules_as_yaml(rules)}", end="")
    return OK


def _learners_and_stalls(runs: Sequence[Path]) -> tuple[list[Sequence[Event]], list[Sequence[Event]]]:
    """The histories of the trials that ended by themselves, judged among those of their run; says what is left out."""
    from sweeper.backtest import read_recordings
    from sweeper.record.trial import State

    recordings = read_recordings({path.resolve(): path for path in runs}.values(), say=warn)
    judged = [(recording.is_learner(case), case.events) for recording in recordings for case in recording.cases]
    learners = [events for learned, events in judged if learned]
    stalls = [events for learned, events in judged if not learned]
    left_out = sum((Counter(recording.left_out) for recording in recordings), Counter[str]())
    but = f" (left out: {', '.join(f'{count} {why}' for why, count in left_out.items())})" if left_out else ""
    say(f"{len(learners)} learners and {len(stalls)} stalls, of trials that ended by themselves{but}")
    if left_out[State.PRUNED.value]:
        say(
            "Some trials were stopped early, and whether they would have learned is not known. The other learners are "
            "those that no rule flagged, so thresholds from them are biased. Calibrate on runs with "
            "early_stop.mode: observe, or without rules."
        )
    return learners, stalls
