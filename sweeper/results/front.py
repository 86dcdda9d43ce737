"""The ranks of trials with several objectives or with constraints, and the Pareto front in words; pure functions.

Trials that keep to all constraints rank before the others. Among them, rank 0 is the Pareto front: the trials that no
other one dominates (`record.pareto`). With several seeds, configurations rank by the means of their objectives.

With several objectives, trials that were stopped early or failed have no rank: a trial that diverges is often the best
one in another objective, such as the latency.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sweeper.record.objectives import Objective
from sweeper.record.pareto import ranks
from sweeper.record.trial import State, TrialRecord
from sweeper.record.values.extremes import mean
from sweeper.results.snapshot import params_of
from sweeper.results.wording import counted, number, plain

MOST_NAMED = 3
"""Maximum number of trials of the front that a sentence describes."""

BEYOND = "!"
"""The mark of a value that is beyond a bound of the constraints."""

Member = tuple[str, Sequence[float]]
"""The name of a trial or configuration on the front, and its objectives."""


def has_ranks(trials: Sequence[TrialRecord]) -> bool:
    """Return whether the sweep ranks trials by more than the value of one metric."""
    return bool(trials) and bool(trials[0].facts.objectives or trials[0].facts.constraints)


def has_front(trials: Sequence[TrialRecord]) -> bool:
    """Return whether the sweep has several objectives."""
    return bool(trials) and bool(trials[0].facts.objectives)


def has_rank(trial: TrialRecord) -> bool:
    """Return whether the state of a trial allows it a rank."""
    return not trial.facts.objectives or trial.state not in (State.PRUNED, State.FAIL)


def violation_of(trial: TrialRecord) -> float:
    """Return the sum of what the trial is beyond its bounds; infinity if a metric with bounds has no value."""
    return sum(max(0.0, one) for one in trial.violations)


def means_of(trials: Sequence[TrialRecord]) -> tuple[float, ...] | None:
    """Return the mean of each objective over the trials of a configuration that have values; None without any."""
    valued = [values for trial in trials if (values := trial.values) is not None]
    return tuple(map(mean, zip(*valued, strict=True))) if valued else None


def ranks_of(groups: Sequence[Sequence[TrialRecord]]) -> list[int | None]:
    """Return the rank of each configuration, given its trials; a configuration may be a single trial.

    A configuration keeps to a constraint if all of its seeds do.

    Returns:
        None for a configuration without values, and with several objectives if one of its trials was stopped early or
        failed; 0 for each where trials rank by one metric alone.
    """
    first = next((group[0] for group in groups if group), None)
    means = [means_of(group) if all(map(has_rank, group)) else None for group in groups]
    if first is None or not has_ranks([first]):
        return [None if one is None else 0 for one in means]
    goals = first.facts.objectives
    known = [index for index, mean in enumerate(means) if mean is not None]
    points = [[goal.signed(value) for goal, value in zip(goals, means[i] or (), strict=False)] for i in known]
    missed = [max(violation_of(trial) for trial in groups[index] if trial.values is not None) for index in known]
    found = dict(zip(known, ranks(points, missed), strict=True))
    return [found.get(index) for index in range(len(groups))]


def trial_ranks(trials: Sequence[TrialRecord]) -> dict[int, int]:
    """Return the rank of each trial with values, by number; empty where trials rank by one metric alone."""
    if not has_ranks(trials):
        return {}
    found = ranks_of([[trial] for trial in trials])
    return {trial.facts.number: rank for trial, rank in zip(trials, found, strict=True) if rank is not None}


def front_of(trials: Sequence[TrialRecord], ranks: Mapping[int, int] | None = None) -> list[TrialRecord]:
    """Return the trials on the Pareto front, best in the first objective first; empty with one objective.

    Args:
        trials: the trials.
        ranks: their ranks (`trial_ranks`), where they are known.
    """
    if not has_front(trials):
        return []
    found, sign = trial_ranks(trials) if ranks is None else ranks, -1 if trials[0].facts.maximize else 1
    members = [trial for trial in trials if found.get(trial.facts.number) == 0 and trial.is_feasible]
    return sorted(members, key=lambda trial: (sign * (trial.value or 0.0), trial.facts.number))


def rank_word(rank: int | None, *, feasible: bool) -> str:
    """Return a rank as a cell of a table: ``front``, 2, 3, or ``infeasible``."""
    if rank is None:
        return "-"
    return ("front" if rank == 0 else str(rank + 1)) if feasible else "infeasible"


def front_text(goals: Sequence[Objective], members: Sequence[Member], *, of: str = "trial") -> str:
    """Return the front as part of a sentence: ``Pareto front of 2 trials: 0003 (loss 0.1, latency_ms 9), ...``.

    Args:
        goals: the objectives.
        members: the trials on the front.
        of: what they are.
    """
    if not members:
        return f"no {of} keeps to all constraints"
    named = [f"{name} ({objectives_text(goals, values)})" for name, values in members[:MOST_NAMED]]
    more = f" and {len(members) - MOST_NAMED} more" if len(members) > MOST_NAMED else ""
    return f"Pareto front of {counted(len(members), of, f'{of}s')}: {', '.join(named)}{more}"


def objectives_text(goals: Sequence[Objective], values: Sequence[float]) -> str:
    """Return the objectives on one line: ``loss/val 0.31, latency_ms 12``."""
    return ", ".join(f"{plain(goal.name)} {number(value)}" for goal, value in zip(goals, values, strict=True))


def members_of(trials: Sequence[TrialRecord], *, with_params: bool = False) -> list[Member]:
    """Return the trials on the front by their numbers, with their objectives."""
    return named_members(front_of(trials), with_params=with_params)


def named_members(front: Sequence[TrialRecord], *, with_params: bool = False) -> list[Member]:
    """Return trials on the front by their numbers, with their objectives."""
    return [(_name(trial, with_params=with_params), trial.values or ()) for trial in front]


def bounded_cell(trial: TrialRecord, name: str) -> str:
    """Return the value of a metric with bounds, with a mark if it is beyond one."""
    value = trial.constrained.get(name)
    beyond = value is not None and any(
        violation > 0 for one in trial.facts.constraints if one.name == name for violation in one.violations(value)
    )
    return number(value) + BEYOND * beyond


def missed_text(trial: TrialRecord) -> str:
    """Return which constraints a trial misses: ``memory_gb 20 is beyond memory_gb <= 16``; empty if none."""
    known: Mapping[str, float] = trial.constrained
    parts = []
    for one in trial.facts.constraints:
        name = plain(one.name)
        if one.name not in known:
            parts.append(f"{name} was not logged, so {plain(str(one))} is unknown")
        elif any(violation > 0 for violation in one.violations(known[one.name])):
            parts.append(f"{name} {number(known[one.name])} is beyond {plain(str(one))}")
    return "; ".join(parts)


def _name(trial: TrialRecord, *, with_params: bool) -> str:
    params = params_of(trial) if with_params else ""
    return f"{trial.facts.number:04d}" + (f" {params}" if params else "")
