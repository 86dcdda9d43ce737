"""The table of trials: the rows and columns that fit the terminal; pure functions."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sweeper.record.trial import State, TrialRecord
from sweeper.record.values.params import spelled_apart
from sweeper.record.values.redaction import redacted_value
from sweeper.results.columns import SHORTEST, Column, fitted, shorten, total_width
from sweeper.results.front import bounded_cell
from sweeper.results.health.trial_health import health_effect, health_text, inferred_text, values_text
from sweeper.results.snapshot import SweepView, origin_of, params_of, seconds_left, steps_done, steps_per_second
from sweeper.results.wording import duration, number, plain, waiting_text
from sweeper.rules.diagnoses import Effect
from sweeper.views.terminal.rich_tables import STATE_STYLES, rich_table
from sweeper.views.terminal.sparklines import SparklineData, loss_name, loss_sparks, reach_sparks

CHOSEN = "reverse"
HEALTH_STYLES: Mapping[Effect | None, str] = {
    Effect.STOPS: "red",
    Effect.WARNS: "yellow",
    Effect.INFORMS: "",
    None: "yellow",
}
"""The colour of a diagnosis in a terminal, by its effect; None is that of a class of a newer version."""
SPARKS = (16, 8)
"""Widths of sparklines; the first that fits is used."""
MESSAGES_SHOWN = 3
LOSS = "loss"
"""Head of the column of the training loss."""
MOST_PARAMETER_COLUMNS = 4


def status_table(
    sweep: SweepView,
    *,
    width: int = 80,
    height: int | None = None,
    curves: Mapping[int, SparklineData] | None = None,
    chosen: int | None = None,
) -> RenderableType:
    """Return the table of a sweep, with a summary above and notes below.

    Args:
        width: maximum width in terminal cells.
        height: maximum number of lines, None for no limit; running trials are kept first, then the latest.
        curves: samples for the sparklines, by trial number.
        chosen: number of the selected trial, which is highlighted and always shown.
    """
    messages = [Text(f"  {shorten(plain(line), width - 2)}") for line in sweep.messages[-MESSAGES_SHOWN:]]
    waiting = [] if sweep.waiting is None else [waiting_text(sweep.waiting, sweep.now)]
    unmet = _unmet([*waiting, *sweep.unmet], width)
    rows = rows_of(sweep, None if height is None else height - len(unmet), chosen)
    table = trial_table(rows, sweep.metric, width, curves=curves or {}, chosen=chosen)
    parts: list[RenderableType] = [_summary(sweep, width), table]
    hidden = _hidden_line(sweep.trials, rows)
    if hidden:
        parts.append(Text(shorten(hidden, width), style="dim"))
    below = filter(None, (values_text(rows), inferred_text(rows)))
    parts.extend(Text(f"  {shorten(line, width - 2)}", style="dim") for line in below)
    return Group(*parts, *unmet, *messages)


def rows_of(sweep: SweepView, height: int | None, chosen: int | None = None) -> Sequence[TrialRecord]:
    """Return the trials that `status_table` shows in `height` lines; all trials if `height` is None."""
    if height is None:
        return sweep.trials
    # Four lines: the summary, the heads, the number of hidden trials, and the metrics read as loss and score.
    room = height - min(len(sweep.messages), MESSAGES_SHOWN) - 4
    rows = visible(sweep.trials, max(1, room), chosen)
    # One more line if `watch: auto` found something. Only the shown trials are asked: others would have to be decoded.
    return visible(sweep.trials, max(1, room - 1), chosen) if inferred_text(rows) else rows


def trial_table(
    trials: Sequence[TrialRecord],
    metric: str,
    width: int,
    *,
    curves: Mapping[int, SparklineData] | None = None,
    chosen: int | None = None,
) -> Table:
    """Return a table with one row per trial, in columns that fit `width` and do not wrap."""
    wide = next(
        (spark for spark in SPARKS if total_width(_columns(trials, metric, curves or {}, spark)) <= width), SPARKS[-1]
    )
    rows = [CHOSEN if trial.facts.number == chosen else "" for trial in trials]
    columns = fitted(_columns(trials, metric, curves or {}, wide), width)
    return rich_table(columns, [STATE_STYLES[trial.state] for trial in trials], rows)


def visible(trials: Sequence[TrialRecord], rows: int, chosen: int | None = None) -> list[TrialRecord]:
    """Return at most `rows` trials in the order of their numbers.

    They are chosen in this order: the selected trial, running, paused, the latest to end, then the next to run.
    """
    if len(trials) <= rows:
        return list(trials)
    rank = {State.RUNNING: 0, State.PAUSED: 1, State.WAITING: 3}
    order = sorted(trials, key=lambda t: (t.number != chosen, rank.get(t.state, 2), _lateness(t), t.number))
    return sorted(order[:rows], key=lambda trial: trial.facts.number)


def step_text(trial: TrialRecord) -> str:
    """Return the steps done and planned: ``320/640``; ``-`` before the first step if none are planned."""
    total = trial.progress.total_steps
    done = steps_done(trial)
    if total is None:
        return str(done) if done else "-"
    return f"{done}/{total}"


def loss_of(trial: TrialRecord) -> float | None:
    """Return the last training loss (`sparklines.loss_name`); None if the trial logged none."""
    name = loss_name(trial)
    return None if name is None else trial.progress.metrics[name].last


def reach_of(trial: TrialRecord) -> float | None:
    """Return the reach of the last observation; None if there was none."""
    return None if trial.progress.observation is None else trial.progress.observation.reach


def _columns(
    trials: Sequence[TrialRecord], metric: str, curves: Mapping[int, SparklineData], spark: int
) -> list[Column]:
    def cells(of: Callable[[TrialRecord], str]) -> list[str]:
        return [of(trial) for trial in trials]

    drawn = [curves.get(trial.facts.number, SparklineData()) for trial in trials]
    seeds = any(trial.facts.seeds > 1 for trial in trials)
    return [
        Column(head="trial", cells=cells(lambda t: f"{t.facts.number:04d}"), right=False, firm=True),
        Column(head="state", cells=cells(lambda t: t.state.value), right=False, firm=True),
        *_parameter_columns(trials),
        *_origin_column(trials),
        *([Column(head="seed", cells=cells(lambda t: str(t.facts.seed)), give=1)] if seeds else []),
        Column(head="step", cells=cells(step_text), firm=True),
        Column(head=LOSS, cells=cells(lambda t: number(loss_of(t))), give=3),
        *_spark_column("~loss", loss_sparks(drawn, spark), give=6),
        *_value_columns(trials, metric),
        Column(head="reach", cells=cells(lambda t: number(reach_of(t))), firm=True),
        *_spark_column("~reach", reach_sparks(drawn, spark), give=5),
        Column(head="step/s", cells=cells(_speed_text), give=8),
        Column(head="left", cells=cells(lambda t: duration(seconds_left(t))), give=4),
        _health_column(trials),
    ]


def _value_columns(trials: Sequence[TrialRecord], metric: str) -> list[Column]:
    """Return the column of the metric, or one for each of several objectives and for each metric with bounds."""
    objectives = trials[0].facts.objectives if trials else ()
    name = plain(metric) or "metric"
    if name == LOSS and trials:  # the column of the training loss has the last value
        name = f"{trials[0].facts.at} {name}"
    columns = [] if objectives else [Column(head=name, cells=[number(t.value) for t in trials])]
    for place, objective in enumerate(objectives):
        cells = [number(None if t.values is None else t.values[place]) for t in trials]
        columns.append(Column(head=plain(objective.name), cells=cells))
    for constraint in trials[0].facts.constraints if trials else ():
        cells = [bounded_cell(trial, constraint.name) for trial in trials]
        columns.append(Column(head=plain(constraint.name), cells=cells, give=6))
    return columns


def _health_column(trials: Sequence[TrialRecord]) -> Column:
    """Return the column of diagnoses that hold and since when; if there is little room, without the step."""
    styles = [HEALTH_STYLES[health_effect(trial)] for trial in trials]
    without = [health_text(trial, with_step=False) for trial in trials]
    return Column(
        head="health",
        cells=[health_text(trial) for trial in trials],
        give=7,
        right=False,
        styles=styles,
        instead=Column(head="health", cells=without, give=2, right=False, styles=styles),
    )


def _spark_column(head: str, sparks: Sequence[str], give: int) -> list[Column]:
    return [Column(head=head, cells=sparks, give=give, right=False)] if any(sparks) else []


def _parameter_columns(trials: Sequence[TrialRecord]) -> list[Column]:
    """Return a column for each varied parameter; if there are many, one column for all of them."""
    names = list(dict.fromkeys(name for trial in trials for name in trial.facts.shown))
    if len(names) > MOST_PARAMETER_COLUMNS:
        return [Column(head="parameters", cells=[params_of(trial) for trial in trials], right=False, apart=True)]
    return [Column(head=plain(name), cells=_values(trials, name), right=False, apart=True) for name in names]


def _origin_column(trials: Sequence[TrialRecord]) -> list[Column]:
    """Return the column with the parents of derived trials, if there are any and no other column has them."""
    cells = [origin_of(trial) or "-" for trial in trials]
    own = {name for trial in trials for name in trial.facts.shown}
    is_shown = len(own) <= MOST_PARAMETER_COLUMNS and any(trial.is_derived for trial in trials)
    return [Column(head="from", cells=cells, give=2, right=False)] if is_shown else []


def _values(trials: Sequence[TrialRecord], name: str) -> list[str]:
    values = [redacted_value(name, trial.facts.shown[name]) for trial in trials if name in trial.facts.shown]
    texts = iter(spelled_apart(values))
    return [plain(next(texts)) if name in trial.facts.shown else "-" for trial in trials]


def _speed_text(trial: TrialRecord) -> str:
    speed = steps_per_second(trial)
    return f"{speed:.3g}" if trial.state is State.RUNNING and math.isfinite(speed) else "-"


def _summary(sweep: SweepView, width: int) -> Text:
    """Return the name, state, progress and time of the sweep, shortened to the width."""
    ended = sum(trial.state.ended for trial in sweep.trials)
    of = f" of {sweep.total}" if sweep.total is not None else ""
    parts = [f"{ended}{of} ended", f"{sweep.count(State.RUNNING)} running"]
    if paused := sweep.count(State.PAUSED):
        parts.append(f"{paused} paused")
    if sweep.slots:
        parts.append(f"{sweep.slots_in_use}/{len(sweep.slots)} slots")
    parts.append(duration(sweep.now - sweep.started))
    if math.isfinite(sweep.seconds_left):
        parts.append(f"~{duration(sweep.seconds_left)} left")
    name = shorten(plain(sweep.title or sweep.name), width // 3)
    text = Text(name, style="bold")
    text.append(
        shorten(f"  {sweep.state.lower()}: {', '.join(parts)}", max(0, width - cell_len(name))), style="not bold"
    )
    return text


def _unmet(lines: Sequence[str], width: int) -> list[Text]:
    """Return the needs of rules that no trial meets, folded; they matter more to a user than a row of the table."""
    room = max(SHORTEST, width - 4)
    folded = [(i, part) for line in lines[:MESSAGES_SHOWN] for i, part in enumerate(textwrap.wrap(plain(line), room))]
    return [Text(f"{'    ' if i else '  '}{part}", style="yellow") for i, part in folded]


def _hidden_line(trials: Sequence[TrialRecord], shown: Sequence[TrialRecord]) -> str:
    numbers = {trial.number for trial in shown}
    hidden = [trial for trial in trials if trial.number not in numbers]
    counts = {state: sum(trial.state is state for trial in hidden) for state in State}
    listed = ", ".join(f"{count} {state.value}" for state, count in counts.items() if count)
    return f"… {len(hidden)} more trials not shown: {listed}" if hidden else ""


def _lateness(trial: TrialRecord) -> float:
    return -trial.latest if trial.state.ended and math.isfinite(trial.latest) else 0.0
