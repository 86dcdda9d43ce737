"""The ranking of a sweep, and the remarks below it: how trials ended, what early stopping saved, which trial is best.

With one seed, each row is a trial. With several seeds, each row is a configuration.
"""

from __future__ import annotations

from collections.abc import Sequence

from sweeper.record.finite import was_non_finite
from sweeper.record.trial import State, TrialRecord
from sweeper.results.columns import Column, lines_of, shorten_apart
from sweeper.results.comparison.configurations import (
    ConfigurationResult,
    best_configuration_text,
    configuration_results,
    has_several_seeds,
    interval_text,
)
from sweeper.results.health.trial_health import counts_text
from sweeper.results.receipt import end_line, value_step
from sweeper.results.snapshot import SweepView, params_of, savings_of
from sweeper.results.wording import counted, duration, number, plain


def ranked(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return the trials, best value first and those without a value last; equal values by number."""

    def key(trial: TrialRecord) -> tuple[bool, float, int]:
        value = trial.value
        signed = 0.0 if value is None else -value if trial.facts.maximize else value
        return value is None, signed, trial.facts.number

    return sorted(sorted(trials, key=key), key=_trust)


def _trust(trial: TrialRecord) -> int:
    """Return the place of a trial by what its value is worth: one that was not finite ranks behind all that were."""
    return 2 if trial.value is None else int(was_non_finite(trial))


def end_text(outcome: str, trials: Sequence[TrialRecord]) -> str:
    """Return how a sweep ended: ``complete: 5 COMPLETE, 1 PRUNED; best accuracy 0.83 of 0003 (lr=3e-4)``.

    If the health of any trial is known, its counts come before the best trial.
    """
    counts = {state: sum(trial.state is state for trial in trials) for state in State}
    text = f"{outcome}: {', '.join(f'{count} {state.value}' for state, count in counts.items() if count)}"
    if classes := counts_text(trials):
        text += f"; health: {classes}"
    best = next(iter(ranked(trials)), None)
    if best is None or best.value is None:
        return text
    where = f" ({params_of(best)})" if best.facts.shown else ""
    return f"{text}; best {plain(best.facts.metric)} {number(best.value)} of {best.facts.number:04d}{where}"


def ranking_text(sweep: SweepView) -> str:
    """Return the ranking and the remarks as plain text of any width."""
    columns, _ = ranking_rows(sweep, 1000)
    return "\n".join([*lines_of(columns), *remarks(sweep)]) + "\n"


def ranking_rows(sweep: SweepView, width: int) -> tuple[list[Column], list[State]]:
    """Return the columns of the ranking, and the state of each row."""
    if has_several_seeds(sweep.trials):
        order = configuration_results(sweep.trials)
        return _configuration_columns(order, sweep, width), [standing.state for standing in order]
    trials = ranked(sweep.trials)
    return _trial_columns(trials, sweep, width), [trial.state for trial in trials]


def _trial_columns(order: Sequence[TrialRecord], sweep: SweepView, width: int) -> list[Column]:
    names = shorten_apart([params_of(trial) for trial in order], max(20, width // 2))
    rows = [
        (
            number(trial.value),
            str(value_step(trial)) if trial.value is not None else "-",
            number(trial.series.last if trial.series else None),
            f"{trial.facts.number:04d}",
            name,
            str(trial.facts.seed),
            trial.state.value,
            duration(trial.seconds(sweep.now)),
        )
        for trial, name in zip(order, names, strict=True)
    ]
    heads = (_value_head(sweep), "at step", "last", "trial", "parameters", "seed", "state", "time")
    return _columns(heads, rows, gives=(0, 3, 4, 0, 0, 2, 0, 1))


def _configuration_columns(order: Sequence[ConfigurationResult], sweep: SweepView, width: int) -> list[Column]:
    names = shorten_apart([params_of(standing.trials[0]) for standing in order], max(20, width // 2 - 10))
    rows = [
        (
            number(standing.mean),
            interval_text(*standing.interval),
            str(len(standing.values)),
            name,
            standing.outcome,
            " ".join(f"{trial.facts.number:04d}" for trial in standing.trials),
            duration(sum(trial.seconds(sweep.now) for trial in standing.trials)),
        )
        for standing, name in zip(order, names, strict=True)
    ]
    heads = (f"mean {_value_head(sweep)}", "95% interval", "seeds", "parameters", "state", "trials", "time")
    return _columns(heads, rows, gives=(0, 0, 1, 0, 0, 3, 2))


def _value_head(sweep: SweepView) -> str:
    return f"{sweep.trials[0].facts.at if sweep.trials else ''} {plain(sweep.metric) or 'metric'}"


_LEFT = frozenset({"trial", "trials", "parameters", "state"})


def _columns(heads: Sequence[str], rows: Sequence[Sequence[str]], *, gives: Sequence[int]) -> list[Column]:
    return [
        Column(head=head, cells=[row[i] for row in rows], give=gives[i], right=head not in _LEFT)
        for i, head in enumerate(heads)
    ]


def remarks(sweep: SweepView) -> list[str]:
    """Return the lines below the ranking: early ends, health, savings, budget and significance."""
    stopped = [trial for trial in sweep.trials if trial.state in (State.PRUNED, State.FAIL)]
    lines = ["", *(f"{trial.facts.number:04d} {end_line(trial)}" for trial in stopped)] if stopped else []
    if classes := counts_text(sweep.trials):
        lines += ["", f"{counted(len(sweep.trials), 'trial', 'trials')}: {classes}."]
    if saved := savings_of(sweep).text():
        lines += ["", f"{saved[:1].upper()}{saved[1:]}."]
    if sweep.unstarted:
        lines += ["", sweep.unstarted]
    significance = significance_text(sweep)
    return [*lines, "", significance] if significance else lines


def significance_text(sweep: SweepView) -> str:
    """Return one sentence on whether the best configuration is significantly better; empty for fewer than two."""
    if has_several_seeds(sweep.trials):
        return best_configuration_text(configuration_results(sweep.trials))
    if len({trial.facts.configuration for trial in sweep.trials if trial.value is not None}) <= 1:
        return ""
    return "With one seed, the ranking may be chance. Add more: `seeds: [0, 1, 2]`."
