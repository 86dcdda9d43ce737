"""The service's answers, cut to what an agent needs next; pure functions.

Every text that a run contains goes through `text.shown` or into a field named `quoted`. An answer that is still too
long is made again with fewer items, until the estimate of its tokens is within its limit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from sweeper.agent.answers import (
    Allowance,
    Comparison,
    CurveItem,
    Curves,
    Given,
    Output,
    Pair,
    RunItem,
    Runs,
    Short,
    State,
    TrialItem,
    Trials,
    Why,
)
from sweeper.agent.text import MOST_PARAMS, PARAM_DIGITS, joined, params_of, quoted, rounded, shown, tokens, value_of
from sweeper.record.trial import State as TrialState
from sweeper.service.answers import series, sweep, trial
from sweeper.service.budget import holding
from sweeper.service.thinning import thinned

STATE_TOKENS, WHY_TOKENS, ANSWER_TOKENS = 2_000, 300, 2_000
"""Maximum estimated tokens of the state of a sweep, of the reason of a trial, and of any other answer."""
SIZES = (1.0, 0.85, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0)
"""The shares of the usual number of items with which an answer is tried, one after the other."""
FEW_PARAMS = 4
"""Maximum number of parameters of a trial in lists other than that of the best."""
BEST, ATTENTION, RUNNING, COMMANDS, MESSAGES = 5, 10, 8, 5, 8
RUNS, ROWS, METRICS, LINES = 40, 50, 20, 40
T = TypeVar("T", bound=Short)


class Part(NamedTuple):
    """The first rows of a list of trials, and how many it has in all."""

    rows: Sequence[trial.TrialRow]
    matched: int


def to_text(answer: Short) -> str:
    """Return an answer as compact JSON, without fields that are null."""
    return answer.model_dump_json(exclude_none=True)


def fitted(make: Callable[[float], T], most: int) -> T:
    """Return the first answer, of those made with the shares `SIZES`, that is within so many tokens; else the last."""
    answer = make(SIZES[0])
    for size in SIZES[1:]:
        if tokens(to_text(answer)) <= most:
            break
        answer = make(size)
    return answer


def runs_of(found: sweep.Runs, allowance: Allowance | None, *, can_act: bool) -> Runs:
    """Return the runs of a folder."""

    def make(size: float) -> Runs:
        count = max(1, int(RUNS * size))
        more = max(0, len(found.runs) - count)
        start = (
            "run(file, because) starts the sweep of a file" if can_act else "a person can start one: `sweeper run FILE`"
        )
        first = "state(run) shows one of them" if found.runs else start
        return Runs(runs=[_run_item(row) for row in found.runs[:count]], left_out=more, allowance=allowance, next=first)

    return fitted(make, ANSWER_TOKENS)


def _run_item(row: sweep.RunRow) -> RunItem:
    return RunItem(
        name=shown(row.name),
        state=row.state,
        trials=row.trials,
        counts=dict(row.counts),
        metric=shown(row.metric) or None,
        goal=_goal(row.maximize) if row.metric else None,
        best=rounded(row.best.value) if row.best else None,
        best_trial=row.best.number if row.best else None,
        quoted=shown(row.problem, 200) or None,
    )


def state_of(found: sweep.Sweep, pages: Mapping[str, Part], allowance: Allowance | None, *, can_act: bool) -> State:
    """Return a sweep as it stands.

    Args:
        found: the sweep.
        pages: the first rows of its trials by `best`, `attention` and `running`.
        allowance: what agents may still use.
        can_act: whether commands are allowed.
    """
    named = {"best": BEST, "attention": ATTENTION, "running": RUNNING}
    name = shown(found.name)

    def make(size: float) -> State:
        params = {"best": MOST_PARAMS, "attention": FEW_PARAMS, "running": FEW_PARAMS}
        lists = {
            part: [item_of(row, params[part]) for row in pages[part].rows[: math.ceil(most * size)]]
            for part, most in named.items()
        }
        left_out = {part: more for part in named if (more := pages[part].matched - len(lists[part])) > 0}
        waiting = f"trials wait although slots are free: {'; '.join(found.waiting.reasons)}" if found.waiting else ""
        words = (found.verdict, found.significance, found.savings, found.unstarted, waiting)
        lines = (*words, *found.unmet, *found.damage, *found.unreadable, *reversed(found.messages))
        return State(
            run=name,
            state=found.state,
            metric=shown(found.metric) or None,
            goal=_goal(found.maximize) if found.metric else None,
            counts=dict(found.counts),
            total=found.total,
            best=lists["best"] or None,
            attention=lists["attention"] or None,
            running=lists["running"] or None,
            left_out=left_out or None,
            slots=f"{found.slots_in_use} of {len(found.slots)} in use",
            seconds_left=None if found.seconds_left is None else round(found.seconds_left),
            budget=_budget(found.budget) or None,
            commands=[given_of(one) for one in reversed(found.commands[-max(1, int(COMMANDS * size)) :])] or None,
            allowance=allowance,
            quoted=quoted(lines, max(3, int((6 + MESSAGES) * size))) or None,
            next=_next(found, pages, can_act=can_act),
        )

    return fitted(make, STATE_TOKENS)


def _budget(parts: Sequence[sweep.BudgetPart]) -> dict[str, str]:
    return {part.name: _budget_text(part) for part in parts if part.limit is not None}


def _budget_text(part: sweep.BudgetPart) -> str:
    used = "-" if part.used is None else f"{part.used:.4g}"
    return f"{used} of {part.limit:g}{', spent' if part.spent else ''}"


def _next(found: sweep.Sweep, pages: Mapping[str, Part], *, can_act: bool) -> str:
    """Return which tools to call next."""
    if found.state in ("RUNNING", "PAUSED"):
        look = "why(run, number) for those under attention; " if pages["attention"].matched else ""
        resume = "resume(run) continues it; " if found.state == "PAUSED" and can_act else ""
        return f"{look}{resume}wait(run, event) for `end`, `flag` or `trial:NUMBER` instead of asking again"
    if found.state == "STOPPED" and (keys := holding(found)):
        reached = f"no call starts the trials that wait, because {', '.join(keys)} is reached: ask the user; then"
        more = ", ".join(f'"{key}=VALUE"' for key in keys)
        words = " ".join(f"{key}=VALUE" for key in keys)
        return f"{reached} {f'run(file, because, [{more}])' if can_act else f'`sweeper run FILE {words}`'} starts them"
    if found.state == "STOPPED":
        return "run(file) resumes it" if can_act else "a person can resume it with `sweeper run FILE`"
    return "trials(run) lists all, why(run, number) explains one, compare(run, first, second) two"


def given_of(one: sweep.GivenCommand) -> Given:
    """Return a command with its author and its reason."""
    words = joined([shown(one.by), shown(one.because, 120)])
    return Given(do=one.do, trials=list(one.trials[:10]) or None, quoted=words or "-")


def trials_of(run: str, page: trial.TrialPage) -> Trials:
    """Return one page of a table of trials; the rows that do not fit are on the next page."""

    def make(size: float) -> Trials:
        rows = [item_of(row) for row in page.rows[: max(1, int(ROWS * size))]]
        end = page.offset + len(rows)
        more = f"trials(..., offset={end}) for the next page" if end < page.matched else "these are all"
        return Trials(run=shown(run), total=page.total, matched=page.matched, offset=page.offset, rows=rows, next=more)

    return fitted(make, ANSWER_TOKENS)


def item_of(row: trial.TrialRow, most: int = MOST_PARAMS) -> TrialItem:
    """Return a trial as an item of a list, with so many parameters."""
    return TrialItem(
        number=row.number,
        state=row.state,
        value=rounded(row.value),
        place=row.place,
        step=row.step,
        total_steps=row.total_steps,
        health=shown(row.health) if row.health not in ("", "-", "ok") else None,
        params=params_of(row.params, most),
        quoted=shown(row.reason, 120) or None,
    )


def why_of(found: trial.Trial, *, can_act: bool) -> Why:
    """Return how a trial stands or ended, and why: the reason first, then its health, advice, and commands."""
    row, moments = found.row, found.timeline
    now = [moment for moment in moments if moment.advice]
    before = [moment for moment in moments if not moment.advice]
    last = found.attempt_list[-1].text if found.attempt_list else "it was never started"
    lines = [
        row.reason or last,
        joined([f"{name}={value_of(value)}" for name, value in params_of(row.params).items()]),
        *(f"{moment.text} ({moment.when})" for moment in (*now, *reversed(before))),
        *(line for moment in now for line in moment.advice),
        *(f"{one.do} by {joined([one.by, one.because])}" for one in reversed(found.commands)),
        *found.notes,
    ]

    def make(size: float) -> Why:
        return Why(
            run=shown(found.run),
            number=row.number,
            state=row.state,
            value=rounded(row.value),
            place=row.place,
            step=row.step,
            total_steps=row.total_steps,
            attempts=row.attempts,
            quoted=quoted(lines, max(1, int(12 * size)), max(80, int(200 * size))),
            next=_next_of(row, can_act=can_act),
        )

    return fitted(make, WHY_TOKENS)


def _next_of(row: trial.TrialRow, *, can_act: bool) -> str:
    match row.state:
        case TrialState.PRUNED if can_act:
            return "revive(run, number) if the rule was wrong"
        case TrialState.RUNNING if can_act:
            return "curves(run, [number]); stop(run, [number]) if it is doomed"
        case TrialState.FAIL:
            return "output(run, number) has its last lines"
    return "curves(run, [number])"


def output_of(run: str, found: series.Output) -> Output:
    """Return the end of what an attempt printed."""
    lines = [line for text in found.text.split("\n") if (line := shown(text, 200))]

    def make(size: float) -> Output:
        count = max(1, int(LINES * size))
        return Output(
            run=shown(run), number=found.number, attempt=found.attempt, running=found.running, quoted=lines[-count:]
        )

    return fitted(make, ANSWER_TOKENS)


def curves_of(run: str, found: series.Curves) -> Curves:
    """Return curves with as many of their points as fit."""

    def make(size: float) -> Curves:
        items = [_curve_of(one, max(4, int(found.points * size))) for one in found.curves]
        kept = items if size else items[:4]
        more = f"; {len(items) - len(kept)} curves left out" if len(kept) < len(items) else ""
        names = [shown(name) for name in found.metrics[: max(3, int(METRICS * size))]]
        text = "`metrics` names what these trials recorded; first, last and extreme values are kept"
        return Curves(run=shown(run), by=found.by, curves=kept, metrics=names, next=f"{text}{more}")

    return fitted(make, ANSWER_TOKENS)


def _curve_of(one: series.Curve, points: int) -> CurveItem:
    places = thinned([math.nan if y is None else y for y in one.y], points)
    return CurveItem(
        number=one.number,
        metric=shown(one.metric),
        x=[rounded(one.x[place], PARAM_DIGITS) or 0.0 for place in places],
        y=[rounded(one.y[place]) for place in places],
        recorded=one.recorded,
    )


def comparison_of(found: trial.TrialComparison) -> Comparison:
    """Return two trials side by side."""

    def make(size: float) -> Comparison:
        count = max(1, int(METRICS * size))
        return Comparison(
            run=shown(found.run),
            first=item_of(found.first).model_copy(update={"params": None}),
            second=item_of(found.second).model_copy(update={"params": None}),
            params=[
                Pair(name=shown(one.name), first=value_of(one.first), second=value_of(one.second))
                for one in found.params[:count]
            ],
            equal=found.equal,
            metrics=[
                Pair(name=shown(one.name), first=rounded(one.first), second=rounded(one.second))
                for one in found.metrics[:count]
            ],
            quoted=shown(found.text, 200),
        )

    return fitted(make, ANSWER_TOKENS)


def _goal(maximize: bool) -> str:  # noqa: FBT001 - the service's own word
    return "maximize" if maximize else "minimize"
