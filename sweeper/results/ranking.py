"""What a sweep found: the ranking, what was pruned when and why, and what that saved.

With one seed a row is a trial; with more it is a configuration, and a sentence says who is best.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from sweeper.record.fold import State
from sweeper.record.trial import Trial
from sweeper.results.columns import STYLES, Column, fitted, lines_of, shorten, table_of
from sweeper.results.comparison.configurations import Standing, interval_text, repeated, standings, verdict
from sweeper.results.health.trial_health import counts_text
from sweeper.results.receipt import end_line, value_step
from sweeper.results.snapshot import SweepView, params_of, savings_of
from sweeper.results.wording import counted, duration, number, plain


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """Best value first, those without a value last; equals by number."""

    def key(trial: Trial) -> tuple[bool, float, int]:
        value = trial.value
        signed = 0.0 if value is None else -value if trial.facts.maximize else value
        return value is None, signed, trial.facts.number

    return sorted(trials, key=key)


def end_text(outcome: str, trials: Sequence[Trial]) -> str:
    """How a sweep ended, in one line: ``complete: 5 COMPLETE, 1 PRUNED; best accuracy 0.83 of 0003 (lr=3e-4)``.

    Where it is known, the health of the trials stands before the best.
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


def ranking(sweep: SweepView, *, width: int = 80) -> RenderableType:
    """The ranking as rich renders it, in `width` cells; reasons wrap."""
    columns, states = _rows(sweep, width)
    table = table_of(fitted(columns, width), [STYLES[state] for state in states])
    return Group(table, *(Text(line) for line in _afterwords(sweep)))


def ranking_text(sweep: SweepView) -> str:
    """The ranking as plain text, as wide as it needs to be."""
    columns, _ = _rows(sweep, 1000)
    return "\n".join([*lines_of(columns), *_afterwords(sweep)]) + "\n"


def _rows(sweep: SweepView, width: int) -> tuple[list[Column], list[State]]:
    """The columns, and the state by which each row is coloured."""
    if repeated(sweep.trials):
        order = standings(sweep.trials)
        return _configuration_columns(order, sweep, width), [standing.state for standing in order]
    trials = ranked(sweep.trials)
    return _trial_columns(trials, sweep, width), [trial.state for trial in trials]


def _trial_columns(order: Sequence[Trial], sweep: SweepView, width: int) -> list[Column]:
    rows = [
        (
            number(trial.value),
            str(value_step(trial)) if trial.value is not None else "-",
            number(trial.series.last if trial.series else None),
            f"{trial.facts.number:04d}",
            shorten(params_of(trial), max(20, width // 2)),
            str(trial.facts.seed),
            trial.state.value,
            duration(trial.seconds(sweep.now)),
        )
        for trial in order
    ]
    heads = (_value_head(sweep), "at step", "last", "trial", "parameters", "seed", "state", "time")
    return _columns(heads, rows, gives=(0, 3, 4, 0, 0, 2, 0, 1))


def _configuration_columns(order: Sequence[Standing], sweep: SweepView, width: int) -> list[Column]:
    rows = [
        (
            number(standing.mean),
            interval_text(*standing.interval),
            str(len(standing.values)),
            shorten(params_of(standing.trials[0]), max(20, width // 2 - 10)),
            standing.fate,
            " ".join(f"{trial.facts.number:04d}" for trial in standing.trials),
            duration(sum(trial.seconds(sweep.now) for trial in standing.trials)),
        )
        for standing in order
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


def _afterwords(sweep: SweepView) -> list[str]:
    told = [trial for trial in sweep.trials if trial.state in (State.PRUNED, State.FAIL)]
    lines = ["", *(f"{trial.facts.number:04d} {end_line(trial)}" for trial in told)] if told else []
    if classes := counts_text(sweep.trials):
        lines += ["", f"{counted(len(sweep.trials), 'trial', 'trials')}: {classes}."]
    if saved := savings_of(sweep).text():
        lines += ["", f"{saved[:1].upper()}{saved[1:]}."]
    if sweep.unstarted:
        lines += ["", sweep.unstarted]
    said = who_is_best(sweep)
    return [*lines, "", said] if said else lines


def who_is_best(sweep: SweepView) -> str:
    """One sentence on whether anybody is best; empty where there are not two to compare."""
    if repeated(sweep.trials):
        return verdict(standings(sweep.trials))
    if len({trial.facts.configuration for trial in sweep.trials if trial.value is not None}) <= 1:
        return ""
    return "One seed tells no interval: who is best may be chance (`seeds: [0, 1, 2]`)."
