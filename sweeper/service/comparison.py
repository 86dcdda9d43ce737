"""Two trials of a run side by side; pure functions."""

from __future__ import annotations

from collections.abc import Sequence

from sweeper.record.trial import TrialRecord
from sweeper.results.front import objectives_text
from sweeper.results.wording import number, plain
from sweeper.service.answers.trial import Difference, MetricPair, TrialComparison, TrialRow
from sweeper.service.trials import finite


def compared(run: str, trials: tuple[TrialRecord, TrialRecord], rows: Sequence[TrialRow]) -> TrialComparison:
    """Return two trials side by side.

    Args:
        run: the name of their run.
        trials: the trials.
        rows: both as rows.
    """
    first, second = trials
    one, other = ({**trial.facts.params, "seed": trial.facts.seed} for trial in trials)
    names = list(dict.fromkeys([*one, *other]))
    differing = [name for name in names if (name in one, one.get(name)) != (name in other, other.get(name))]
    return TrialComparison(
        run=run,
        first=rows[0],
        second=rows[1],
        params=[Difference(name=name, first=one.get(name), second=other.get(name)) for name in differing],
        equal=len(names) - len(differing),
        metrics=_metrics(first, second),
        text=better_text(first, second),
    )


def better_text(first: TrialRecord, second: TrialRecord) -> str:
    """Return which of two trials has the better value, in one sentence without its full stop."""
    a, b = f"{first.number:04d}", f"{second.number:04d}"
    if first.facts.objectives:
        known = [(name, trial) for name, trial in ((a, first), (b, second)) if trial.values is not None]
        return "; ".join(f"{name}: {objectives_text(t.facts.objectives, t.values or ())}" for name, t in known)
    if first.value is None or second.value is None:
        missing = [name for name, trial in ((a, first), (b, second)) if trial.value is None]
        return (
            f"{' and '.join(missing)} {'has' if len(missing) == 1 else 'have'} no value of {plain(first.facts.metric)}"
        )
    if first.value == second.value:
        return f"both have {plain(first.facts.metric)} {number(first.value)}"
    is_first = (first.value > second.value) is first.facts.maximize
    better, worse = (first, second) if is_first else (second, first)
    return (
        f"{better.number:04d} is better: {plain(first.facts.metric)} {number(better.value)}, "
        f"against {number(worse.value)} of {worse.number:04d}"
    )


def _metrics(first: TrialRecord, second: TrialRecord) -> list[MetricPair]:
    one, other = first.progress.metrics, second.progress.metrics
    return [
        MetricPair(
            name=name,
            first=finite(one[name].last) if name in one else None,
            second=finite(other[name].last) if name in other else None,
            first_step=one[name].last_step if name in one else None,
            second_step=other[name].last_step if name in other else None,
        )
        for name in dict.fromkeys([*one, *other])
    ]
