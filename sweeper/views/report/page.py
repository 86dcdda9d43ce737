"""Build the page of `sweeper report`, and its values as JSON for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import jinja2

from sweeper.record.trial import HistoryEntry, State, TrialRecord
from sweeper.record.values.redaction import redacted, redacted_values
from sweeper.results.comparison.configurations import (
    configuration_name,
    configuration_results,
    has_several_seeds,
    interval_text,
)
from sweeper.results.comparison.provenance import described
from sweeper.results.front import bounded_cell, has_front, missed_text, rank_word, trial_ranks
from sweeper.results.health.timeline import timeline
from sweeper.results.health.trial_health import counts_text, health_effect, health_text
from sweeper.results.lineage import derivation_text, parent_of
from sweeper.results.ranking import ranked, significance_text
from sweeper.results.receipt import value_step
from sweeper.results.snapshot import SweepView, params_of, savings_of, steps_done
from sweeper.results.spikes import spike_lines
from sweeper.results.status import to_json
from sweeper.results.wording import counted, duration, number, plain
from sweeper.views.report import charts
from sweeper.views.report.drawings import MOST_MAPS, depth_maps, drawn_charts
from sweeper.views.report.endings import MOST_LISTED, endings_of
from sweeper.views.report.trial_curves import curves_of_trial, joined
from sweeper.views.shared import with_code

MOST_ROWS = 24
"""Maximum number of rows of a table; longer tables are folded."""
MOST_MAPS_AT_ONCE = 4
"""Number of depth maps that are shown unfolded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportContext:
    """What the page shows in addition to the trials.

    Args:
        description: of the sweep.
        sweep_yaml: the sweep file as given.
        importance: the fraction of the variance of the values that each parameter explains.
        importances: the same for each of several objectives, by name; `importance` is that of the first.
        rules: for each rule that flagged trials, a line on its known false-stop rate.
        origin: the provenance of the sweep.
        reproduce: the command that reproduces the best trial; empty if there is none.
    """

    description: str = ""
    sweep_yaml: str = ""
    importance: Mapping[str, float] = field(default_factory=dict)
    importances: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    rules: Sequence[str] = ()
    origin: Mapping[str, object] = field(default_factory=dict)
    reproduce: str = ""


def report(
    sweep: SweepView, histories: Mapping[int, Sequence[HistoryEntry]], context: ReportContext
) -> tuple[str, str]:
    """Return the report as an HTML page, and its values as JSON.

    Args:
        histories: the histories of the trials, by number.
    """
    order = ranked(sweep.trials)
    curves = joined([curves_of_trial(trial, histories.get(trial.facts.number, ())) for trial in order])
    page = (
        _environment()
        .get_template("page.html")
        .render(
            name=plain(sweep.title or sweep.name),
            description=plain(context.description),
            state=_STATES.get(sweep.state, plain(sweep.state.lower())),
            facts=_facts(sweep),
            conclusion=_conclusion(sweep, order),
            metric=plain(sweep.metric),
            rows=_rows(sweep, order),
            configurations=_configurations(sweep),
            most_rows=MOST_ROWS,
            lineage=_lineage(sweep),
            endings=endings_of(sweep, order),
            health=_health(sweep, order),
            most_health=MOST_LISTED,
            spikes=_spikes(order),
            rules=[plain(line) for line in context.rules],
            heads=_value_heads(sweep),
            charts=drawn_charts(curves, sweep.metric, context.importances or {"": context.importance}, sweep.now),
            maps=depth_maps(curves),
            most_maps=MOST_MAPS_AT_ONCE,
            maps_left_out=max(0, sum(bool(one.layers) for one in curves) - MOST_MAPS),
            messages=[plain(message) for message in sweep.messages],
            unreadable=[plain(line) for line in (*sweep.unreadable, *sweep.damage)],
            origin=list(described(redacted_values(context.origin))) if context.origin else [],
            difference=_lines(redacted(str(context.origin.get("difference", "")))),
            packages=_packages(context.origin),
            sweep_yaml=_lines(redacted(context.sweep_yaml)),
            reproduce=plain(context.reproduce),
        )
    )
    several = {"importances": {name: dict(one) for name, one in context.importances.items()}}
    summary = {
        **to_json(sweep),
        "verdict": _conclusion(sweep, order),
        "importance": dict(context.importance),
        **(several if context.importances else {}),
        "rules": list(context.rules),
    }
    summary = redacted_values(summary)
    return page, json.dumps(summary, indent=1, default=str) + "\n"


def _spikes(order: Sequence[TrialRecord]) -> list[tuple[str, list[str]]]:
    """Return the number and the spikes of each trial that had one, at most `MOST_LISTED` of them."""
    spiked = [trial for trial in order if trial.progress.spikes]
    return [(f"{trial.number:04d}", spike_lines(trial.progress)) for trial in spiked[:MOST_LISTED]]


def _environment() -> jinja2.Environment:
    """Return the environment of the template; it escapes everything but the charts."""
    loader = jinja2.ChoiceLoader([jinja2.PackageLoader("sweeper.views", name) for name in ("report", "shared")])
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["code"] = with_code
    return environment


def _facts(sweep: SweepView) -> list[str]:
    words = Counter(map(_word, sweep.trials))
    counts = [f"{words[word]} {word}" for word in (*charts.WORDS.values(), "waiting") if words[word]]
    took = sum(trial.seconds(sweep.now) for trial in sweep.trials)
    saved, health = savings_of(sweep).text(), counts_text(sweep.trials)
    lines = [f"{counted(len(sweep.trials), 'trial', 'trials')}: {', '.join(counts)}", f"{duration(took)} of slot time"]
    lines += [f"health: {health}"] if health else []
    return [*lines, saved] if saved else lines


def _word(trial: TrialRecord) -> str:
    """Return the state as a word; a waiting trial that has run before is interrupted."""
    waiting = trial.state is State.WAITING and not trial.attempts
    return "waiting" if waiting else charts.WORDS[trial.state]


def _conclusion(sweep: SweepView, order: Sequence[TrialRecord]) -> str:
    best = order[0] if order and order[0].value is not None else None
    if best is None:
        return "No trial has a value yet."
    if has_front(sweep.trials):
        return significance_text(sweep)
    missed = f" {missed}." if (missed := missed_text(best)) else ""
    found = f"{_best_configuration(sweep) or _best_trial(best, sweep.metric)}{missed}"
    return f"{found} {significance_text(sweep)}".strip()


def _best_configuration(sweep: SweepView) -> str:
    """Return a sentence on the best mean over seeds; empty with one seed. The best single trial may be just lucky."""
    best = next((one for one in configuration_results(sweep.trials) if one.values), None)
    if best is None or not has_several_seeds(sweep.trials):
        return ""
    interval = f" {interval_text(*best.interval)}" if len(best.values) > 1 else ""
    over = counted(len(best.values), "seed", "seeds")
    name = configuration_name(best)
    return f"The best mean {plain(sweep.metric)} is {number(best.mean)}{interval} over {over}, of {name}."


def _best_trial(best: TrialRecord, metric: str) -> str:
    which, where = "best" if best.facts.at == "best" else "best last", params_of(best)
    value = f"{number(best.value)} at step {value_step(best)}"
    return f"The {which} {plain(metric)} is {value}, of trial {best.facts.number:04d}{f' ({where})' if where else ''}."


def _value_heads(sweep: SweepView) -> list[str]:
    """Return the heads of the columns with the objectives, the metrics with bounds and the rank."""
    facts = sweep.trials[0].facts if sweep.trials else None
    if facts is None:
        return [plain(sweep.metric)]
    heads = ["rank", *(plain(one.name) for one in facts.objectives)] if facts.objectives else [plain(sweep.metric)]
    return [*heads, *(plain(one.name) for one in facts.constraints)]


def _values(trial: TrialRecord, rank: int | None) -> list[str]:
    facts = trial.facts
    if facts.objectives:
        found = trial.values or (None,) * len(facts.objectives)
        cells = [rank_word(rank, feasible=trial.is_feasible), *map(number, found)]
    else:
        cells = [number(trial.value)]
    return [*cells, *(bounded_cell(trial, one.name) for one in facts.constraints)]


def _rows(sweep: SweepView, order: Sequence[TrialRecord]) -> list[dict[str, object]]:
    ranks = trial_ranks(sweep.trials)
    return [
        {
            "number": f"{trial.facts.number:04d}",
            "state": _word(trial),
            "class": trial.state.value.lower(),
            "params": params_of(trial),
            "seed": str(trial.facts.seed),
            "values": _values(trial, ranks.get(trial.facts.number)),
            "at": str(value_step(trial)) if trial.value is not None else "-",
            "last": number(trial.series.last if trial.series else None),
            "steps": f"{steps_done(trial):,}",
            "time": duration(trial.seconds(sweep.now)),
            "health": health_text(trial),
            "effect": effect.value if (effect := health_effect(trial)) is not None else "",
        }
        for trial in order
    ]


def _lineage(sweep: SweepView) -> list[str]:
    """Return a line for each trial that was derived from another one."""
    known = {trial.facts.number: trial for trial in sweep.trials}
    return [
        f"{trial.facts.number:04d} ({_word(trial)}) is {derivation_text(derived, parent_of(trial, known))}."
        for trial in sweep.trials
        if (derived := trial.facts.derived) is not None
    ]


def _health(sweep: SweepView, order: Sequence[TrialRecord]) -> list[dict[str, object]]:
    """Return the health timeline of each trial that had a diagnosis."""
    return [
        {
            "number": f"{trial.facts.number:04d}",
            "params": params_of(trial),
            "effect": effect.value if (effect := health_effect(trial)) is not None else "",
            "now": health_text(trial),
            "lines": timeline(trial, [other for other in sweep.trials if other is not trial]),
        }
        for trial in order
        if trial.diagnosed
    ]


def _configurations(sweep: SweepView) -> list[dict[str, str]]:
    """Return a row per configuration; empty if the sweep has one seed."""
    if not has_several_seeds(sweep.trials):
        return []
    return [
        {
            "params": params_of(result.trials[0]),
            "mean": number(result.mean),
            "interval": interval_text(*result.interval),
            "seeds": str(len(result.values)),
            "outcome": result.outcome.lower(),
        }
        for result in configuration_results(sweep.trials)
    ]


_STATES = {"FAIL": "ended with failures", "COMPLETE": "complete", "STOPPED": "not finished", "RUNNING": "running"}


def _packages(origin: Mapping[str, object]) -> str:
    packages = origin.get("packages")
    return (
        plain(", ".join(f"{name} {version}" for name, version in packages.items()))
        if isinstance(packages, dict)
        else ""
    )


def _lines(text: str) -> str:
    """Return several lines without control characters."""
    return "\n".join(plain(line.expandtabs(4)) for line in text.split("\n"))
