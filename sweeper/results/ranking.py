"""The ranking of a sweep, and the remarks below it: how trials ended, what early stopping saved, which trial is best.

With one seed, each row is a trial. With several seeds, each row is a configuration.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

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
from sweeper.results.comparison.fronts import front_members
from sweeper.results.front import (
    BEYOND,
    Member,
    bounded_cell,
    front_text,
    has_front,
    means_of,
    members_of,
    missed_text,
    rank_word,
    ranks_of,
    trial_ranks,
)
from sweeper.results.health.trial_health import counts_text
from sweeper.results.receipt import end_line, value_step
from sweeper.results.snapshot import SweepView, params_of, savings_of
from sweeper.results.wording import counted, duration, number, plain


def ranked(trials: Sequence[TrialRecord], ranks: Mapping[int, int] | None = None) -> list[TrialRecord]:
    """Return the trials, best value first and those without a value last; equal values by number.

    With several objectives, the Pareto front is first, and with constraints, the trials that keep to them.

    Args:
        trials: the trials.
        ranks: their ranks (`results.front.trial_ranks`), where they are known.
    """
    found = trial_ranks(trials) if ranks is None else ranks
    last = len(trials) if has_front(trials) else 0

    def key(trial: TrialRecord) -> tuple[bool, int, float, int]:
        value = trial.value
        signed = 0.0 if value is None else -value if trial.facts.maximize else value
        return value is None, found.get(trial.facts.number, last), signed, trial.facts.number

    return sorted(sorted(trials, key=key), key=_trust)


def _trust(trial: TrialRecord) -> int:
    """Return the place of a trial by what its value is worth: one that was not finite ranks behind all that were."""
    return 2 if trial.value is None else int(was_non_finite(trial))


def end_text(outcome: str, trials: Sequence[TrialRecord]) -> str:
    """Return how a sweep ended: ``complete: 5 COMPLETE, 1 PRUNED; best accuracy 0.83 of 0003 (lr=3e-4)``.

    If the health of any trial is known, its counts come before the best trial. With several objectives, the Pareto
    front is named in its place.
    """
    counts = Counter(trial.state.value for trial in trials)
    best = next(iter(ranked(trials)), None)
    return outcome_text(outcome, counts, counts_text(trials), best, members_of(trials) if has_front(trials) else ())


def outcome_text(
    outcome: str, counts: Mapping[str, int], health: str, best: TrialRecord | None, front: Sequence[Member]
) -> str:
    """Return `end_text` of a sweep.

    Args:
        outcome: its first word.
        counts: how many trials are in each state.
        health: `counts_text` of them.
        best: the first in the ranking; None without trials.
        front: the Pareto front, if there are several objectives.
    """
    text = f"{outcome}: {', '.join(f'{count} {state}' for state in State if (count := counts.get(state.value, 0)))}"
    if health:
        text += f"; health: {health}"
    if best is None or best.value is None:
        return text
    if best.facts.objectives:
        return f"{text}; {front_text(best.facts.objectives, front)}"
    where = f" ({name})" if (name := params_of(best)) else ""
    missed = f"; {missed}" if (missed := missed_text(best)) else ""
    return f"{text}; best {plain(best.facts.metric)} {number(best.value)} of {best.facts.number:04d}{where}{missed}"


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
    ranks, several = trial_ranks(order), has_front(order)
    bounded = [one.name for one in order[0].facts.constraints] if order else []
    rows = [
        (
            *([rank_word(ranks.get(trial.facts.number), feasible=trial.is_feasible)] if several else []),
            *(_objective_cells(trial) if several else [number(trial.value)]),
            *(bounded_cell(trial, name) for name in bounded),
            str(value_step(trial)) if trial.value is not None else "-",
            *([] if several else [number(trial.series.last if trial.series else None)]),
            f"{trial.facts.number:04d}",
            name,
            str(trial.facts.seed),
            trial.state.value,
            duration(trial.seconds(sweep.now)),
        )
        for trial, name in zip(order, names, strict=True)
    ]
    named = ["rank", *(plain(one.name) for one in order[0].facts.objectives)] if several else [_value_head(sweep)]
    named += map(plain, bounded)
    last, gives = ([], [3]) if several else (["last"], [3, 4])
    heads = (*named, "at step", *last, "trial", "parameters", "seed", "state", "time")
    return _columns(heads, rows, gives=(*(0 for _ in named), *gives, 0, 0, 2, 0, 1))


def _objective_cells(trial: TrialRecord) -> list[str]:
    """Return the value of each objective; those of a trial without a rank are the last that it logged."""
    known = {} if trial.point is None else trial.point.values
    return [number(known.get(objective.name)) for objective in trial.facts.objectives]


def _configuration_columns(order: Sequence[ConfigurationResult], sweep: SweepView, width: int) -> list[Column]:
    names = shorten_apart([params_of(standing.trials[0]) for standing in order], max(20, width // 2 - 10))
    several = has_front(sweep.trials)
    ranks = ranks_of([standing.trials for standing in order])
    others = sweep.trials[0].facts.objectives[1:] if sweep.trials else ()
    rows = [
        (
            *([rank_word(rank, feasible=standing.is_feasible)] if several else []),
            number(standing.mean),
            interval_text(*standing.interval),
            *(map(number, (means_of(standing.trials) or [None] * (1 + len(others)))[1:])),
            str(len(standing.values)),
            name,
            standing.outcome,
            " ".join(f"{trial.facts.number:04d}" for trial in standing.trials),
            duration(sum(trial.seconds(sweep.now) for trial in standing.trials)),
        )
        for standing, name, rank in zip(order, names, ranks, strict=True)
    ]
    more = [f"mean {plain(one.name)}" for one in others]
    first = f"mean {plain(sweep.metric) if several else _value_head(sweep)}"
    heads = (first, "95% interval", *more, "seeds", "parameters", "state", "trials", "time")
    gives = (0, 0, *(0 for _ in more), 1, 0, 0, 3, 2)
    return _columns(("rank", *heads), rows, gives=(0, *gives)) if several else _columns(heads, rows, gives=gives)


def _value_head(sweep: SweepView) -> str:
    return f"{sweep.trials[0].facts.at if sweep.trials else ''} {plain(sweep.metric) or 'metric'}"


_LEFT = frozenset({"rank", "trial", "trials", "parameters", "state"})


def _columns(heads: Sequence[str], rows: Sequence[Sequence[str]], *, gives: Sequence[int]) -> list[Column]:
    return [
        Column(head=head, cells=[row[i] for row in rows], give=gives[i], right=head not in _LEFT)
        for i, head in enumerate(heads)
    ]


def remarks(sweep: SweepView) -> list[str]:
    """Return the lines below the ranking: constraints, early ends, health, savings, budget and significance."""
    bounds = sweep.trials[0].facts.constraints if sweep.trials else ()
    missed = sum(not trial.is_feasible for trial in sweep.trials if trial.value is not None)
    limits = f"{BEYOND} is beyond a constraint ({', '.join(plain(str(one)) for one in bounds)})" if missed else ""
    stopped = [trial for trial in sweep.trials if trial.state in (State.PRUNED, State.FAIL)]
    lines = ["", *(f"{trial.facts.number:04d} {end_line(trial)}" for trial in stopped)] if stopped else []
    lines = ["", f"{limits}: {counted(missed, 'trial', 'trials')}.", *lines] if missed else lines
    if classes := counts_text(sweep.trials):
        lines += ["", f"{counted(len(sweep.trials), 'trial', 'trials')}: {classes}."]
    if saved := savings_of(sweep).text():
        lines += ["", f"{saved[:1].upper()}{saved[1:]}."]
    if sweep.unstarted:
        lines += ["", sweep.unstarted]
    significance = significance_text(sweep)
    return [*lines, "", significance] if significance else lines


def significance_text(sweep: SweepView) -> str:
    """Return one sentence on whether the best configuration is significantly better; empty for fewer than two.

    With several objectives, it is on the Pareto front.
    """
    if has_front(sweep.trials):
        return _front_sentence(sweep)
    if has_several_seeds(sweep.trials):
        return best_configuration_text(configuration_results(sweep.trials))
    return one_seed_text(map(configuration_to_compare, sweep.trials))


def one_seed_text(configurations: Iterable[int | None]) -> str:
    """Return what to say of a sweep with one seed and these configurations to compare; empty for fewer than two."""
    several = len({one for one in configurations if one is not None}) > 1
    return "With one seed, the ranking may be chance. Add more: `seeds: [0, 1, 2]`." if several else ""


def configuration_to_compare(trial: TrialRecord) -> int | None:
    """Return the configuration of a trial that more seeds would tell from others; None if it has no result.

    A member of a population counts for nothing, because a population has one seed.
    """
    has_result = trial.value is not None and trial.state is not State.FAIL
    return trial.facts.configuration if has_result and not trial.facts.until else None


def _front_sentence(sweep: SweepView) -> str:
    """Return which trials no other one dominates; over several seeds, which configurations."""
    if all(trial.value is None for trial in sweep.trials):
        return ""
    members, of = front_members(sweep.trials)
    text = front_text(sweep.trials[0].facts.objectives, members, of=of)
    chance = "With one seed, the front may be chance. Add more: `seeds: [0, 1, 2]`."
    return f"{text[:1].upper()}{text[1:]}." + ("" if has_several_seeds(sweep.trials) else f" {chance}")
