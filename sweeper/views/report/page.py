"""`sweeper report`: one page that opens without a network, verdict first; and the same for programs."""

from __future__ import annotations

import base64
import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import TypeVar

import jinja2
from markupsafe import Markup, escape

from sweeper.record.fold import State
from sweeper.record.trial import Entry, Trial
from sweeper.record.values.redaction import redacted, redacted_values
from sweeper.results.comparison.configurations import interval_text, name_of, repeated, standings
from sweeper.results.comparison.provenance import described
from sweeper.results.health.timeline import timeline
from sweeper.results.health.trial_health import counts_text, health_effect, health_text
from sweeper.results.health.verdict import Verdict
from sweeper.results.ranking import ranked, who_is_best
from sweeper.results.receipt import value_step
from sweeper.results.snapshot import SweepView, params_of, savings_of, steps_done
from sweeper.results.status import to_json
from sweeper.results.wording import counted, duration, number, plain
from sweeper.views.figures.depth_map import DepthMap
from sweeper.views.figures.trial_figures import MOST_LAYERS
from sweeper.views.report import charts
from sweeper.views.report.course import Course, course_of
from sweeper.views.report.endings import MOST_LISTED, endings_of

Picked = TypeVar("Picked")

MOST_ROWS = 24
MOST_CURVES = 60
MOST_MAPS = 24
MOST_MAPS_AT_ONCE = 4
"""What a person can look at; the page says how many were left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the page shows beside the trials.

    `importance` is each parameter's share of the variation of the values; `rules` a line for each rule that condemned
    anybody, on how often it is known to be wrong; `origin` is where the sweep came from.
    """

    description: str = ""
    sweep_yaml: str = ""
    importance: Mapping[str, float] = field(default_factory=dict)
    rules: Sequence[str] = ()
    origin: Mapping[str, object] = field(default_factory=dict)
    reproduce: str = ""


def report(sweep: SweepView, histories: Mapping[int, Sequence[Entry]], known: Known) -> tuple[str, str]:
    """The page, and its numbers as JSON.

    Args:
        histories: of the trials, by number.
    """
    order = ranked(sweep.trials)
    courses = [course_of(trial, histories.get(trial.facts.number, ())) for trial in order]
    page = (
        _environment()
        .get_template("page.html")
        .render(
            name=plain(sweep.name),
            description=plain(known.description),
            state=_STATES.get(sweep.state, plain(sweep.state.lower())),
            facts=_facts(sweep),
            verdict=_verdict(sweep, order),
            metric=plain(sweep.metric),
            rows=_rows(sweep, order),
            standings=_standings(sweep),
            most_rows=MOST_ROWS,
            endings=endings_of(sweep, order),
            health=_health(sweep, order),
            most_health=MOST_LISTED,
            rules=[plain(line) for line in known.rules],
            charts=_charts(courses, sweep, known),
            maps=_maps(courses),
            most_maps=MOST_MAPS_AT_ONCE,
            maps_left_out=max(0, sum(bool(course.layers) for course in courses) - MOST_MAPS),
            messages=[plain(message) for message in sweep.messages],
            unreadable=[plain(line) for line in sweep.unreadable],
            origin=list(described(redacted_values(known.origin))) if known.origin else [],
            difference=_lines(redacted(str(known.origin.get("difference", "")))),
            packages=_packages(known.origin),
            sweep_yaml=_lines(redacted(known.sweep_yaml)),
            reproduce=plain(known.reproduce),
        )
    )
    summary = {
        **to_json(sweep),
        "verdict": _verdict(sweep, order),
        "importance": dict(known.importance),
        "rules": list(known.rules),
    }
    return page, json.dumps(summary, indent=1, default=str) + "\n"


def _environment() -> jinja2.Environment:
    """Everything that is shown is escaped, but for what was drawn here."""
    text = resources.files(__package__).joinpath("page.html").read_text("utf-8")
    environment = jinja2.Environment(
        loader=jinja2.DictLoader({"page.html": text}), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["code"] = _with_code
    return environment


def _with_code(text: str) -> Markup:
    """A sentence in which what stands in backticks is set as code."""
    return Markup(re.sub("`([^`]*)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - it is escaped first


def _facts(sweep: SweepView) -> list[str]:
    words = Counter(map(_word, sweep.trials))
    counts = [f"{words[word]} {word}" for word in (*charts.WORDS.values(), "waiting") if words[word]]
    took = sum(trial.seconds(sweep.now) for trial in sweep.trials)
    saved, health = savings_of(sweep).text(), counts_text(sweep.trials)
    lines = [f"{counted(len(sweep.trials), 'trial', 'trials')}: {', '.join(counts)}", f"{duration(took)} of slots"]
    lines += [f"health: {health}"] if health else []
    return [*lines, saved] if saved else lines


def _word(trial: Trial) -> str:
    """The state, for people; one that waits and has run was interrupted."""
    waiting = trial.state is State.WAITING and not trial.control.launched
    return "waiting" if waiting else charts.WORDS[trial.state]


def _verdict(sweep: SweepView, order: Sequence[Trial]) -> str:
    best = order[0] if order and order[0].value is not None else None
    if best is None:
        return "No trial has a value yet."
    return f"{_best_configuration(sweep) or _best_trial(best, sweep.metric)} {who_is_best(sweep)}".strip()


def _best_configuration(sweep: SweepView) -> str:
    """The best mean, where there are several seeds to take it over: the best of all trials is the luckiest as well."""
    best = next((one for one in standings(sweep.trials) if one.values), None)
    if best is None or not repeated(sweep.trials):
        return ""
    interval = f" {interval_text(*best.interval)}" if len(best.values) > 1 else ""
    over = counted(len(best.values), "seed", "seeds")
    return f"The best mean {plain(sweep.metric)} is {number(best.mean)}{interval} over {over}, of {name_of(best)}."


def _best_trial(best: Trial, metric: str) -> str:
    which, where = "best" if best.facts.at == "best" else "best last", params_of(best)
    value = f"{number(best.value)} at step {value_step(best)}"
    return f"The {which} {plain(metric)} is {value}, of trial {best.facts.number:04d}{f' ({where})' if where else ''}."


def _rows(sweep: SweepView, order: Sequence[Trial]) -> list[dict[str, str]]:
    return [
        {
            "number": f"{trial.facts.number:04d}",
            "state": _word(trial),
            "class": trial.state.value.lower(),
            "params": params_of(trial),
            "seed": str(trial.facts.seed),
            "value": number(trial.value),
            "at": str(value_step(trial)) if trial.value is not None else "-",
            "last": number(trial.series.last if trial.series else None),
            "steps": f"{steps_done(trial):,}",
            "time": duration(trial.seconds(sweep.now)),
            "health": health_text(trial),
            "effect": effect.value if (effect := health_effect(trial)) is not None else "",
        }
        for trial in order
    ]


def _health(sweep: SweepView, order: Sequence[Trial]) -> list[dict[str, object]]:
    """The timeline of each trial that had a diagnosis."""
    return [
        {
            "number": f"{trial.facts.number:04d}",
            "params": params_of(trial),
            "effect": effect.value if (effect := health_effect(trial)) is not None else "",
            "now": health_text(trial),
            "lines": timeline(trial, [other for other in sweep.trials if other is not trial]),
        }
        for trial in order
        if trial.control.diagnosed
    ]


def _standings(sweep: SweepView) -> list[dict[str, str]]:
    """A row a configuration, where it was run with several seeds."""
    if not repeated(sweep.trials):
        return []
    return [
        {
            "params": params_of(standing.trials[0]),
            "mean": number(standing.mean),
            "interval": interval_text(*standing.interval),
            "seeds": str(len(standing.values)),
            "fate": standing.fate.lower(),
        }
        for standing in standings(sweep.trials)
    ]


_STATES = {"FAIL": "ended, with failures", "COMPLETE": "complete", "STOPPED": "not finished", "RUNNING": "running"}
_WHAT_REACH_IS = (
    "The gradient of the first quarter of the layers over that of the last. Where it falls, the first layers no longer "
    "learn, whatever the loss says."
)

_WHAT_A_LINE_IS = "A line a trial through its parameters to its value, at the right; the bluer the better."
_WHAT_IMPORTANCE_IS = (
    "The share of the variation of the values that a parameter explains (Optuna's fANOVA), of complete trials alone; a "
    "parameter that is not varied explains nothing."
)


def _charts(courses: Sequence[Course], sweep: SweepView, known: Known) -> list[tuple[str, str, str]]:
    """Title, what to look for, and the drawing, of each chart that there is something for."""
    metric, shown = sweep.metric, picked(courses, MOST_CURVES)
    cross = "; one that was pruned ends in a cross" if any(c.trial.state is State.PRUNED for c in shown) else ""
    some = f" Shown are the best {MOST_CURVES // 2}, and as many of the others, evenly." if shown != courses else ""
    drawn = [
        (
            plain(metric),
            f"A line a trial{cross}.{some}",
            charts.curves(shown, _values, metric),
        ),
        ("Training loss", some.strip(), charts.curves(shown, _losses, "loss")),
        ("Reach", f"{_WHAT_REACH_IS}{some}", charts.curves(shown, _reach, "reach", log=True)),
        ("Each parameter", "A point a trial, by its value.", charts.slices(courses, metric)),
        ("Parameters together", _WHAT_A_LINE_IS, charts.parallel(courses, metric)),
        ("What mattered", _WHAT_IMPORTANCE_IS, charts.bars(known.importance, "importance")),
        (
            "Slots",
            "What ran where, and when: a bar an attempt. Where nothing ran for long, time is cut (dashed).",
            charts.timeline(courses, sweep.now),
        ),
    ]
    return [entry for entry in drawn if entry[2]]


def picked(courses: Sequence[Picked], most: int) -> Sequence[Picked]:
    """At most so many of the courses, which stand in order: half of them the best, half of the others, evenly."""
    if len(courses) <= most:
        return courses
    best, others = courses[: most // 2], courses[most // 2 :]
    count = most - len(best)
    return [*best, *(others[place * (len(others) - 1) // max(1, count - 1)] for place in range(count))]


def _values(course: Course) -> charts.Points:
    return course.values


def _losses(course: Course) -> charts.Points:
    return course.losses


def _reach(course: Course) -> charts.Points:
    return [(step, reach) for step, reach in course.reach if math.isfinite(reach)]


def _maps(courses: Sequence[Course]) -> list[dict[str, str]]:
    """The depth profile of watched trials: one that was pruned, one that was not, by turns, each kind in its order."""
    watched = [course for course in courses if course.layers and course.depth.has_profile]
    pruned = [course for course in watched if course.trial.state is State.PRUNED]
    others = [course for course in watched if course.trial.state is not State.PRUNED]
    turns = itertools.chain.from_iterable(itertools.zip_longest(pruned, others))
    order = list(itertools.islice(filter(None, turns), MOST_MAPS))
    sheets: dict[tuple[str, ...], DepthMap] = {}
    maps = []
    for course in order:
        layers = tuple(course.layers)
        if layers not in sheets:  # its still parts take longer to draw than what moves
            sheets[layers] = DepthMap(layers, MOST_LAYERS)
        png = sheets[layers].draw(course.depth, Verdict.of(course.trial))
        title = f"{course.number} {params_of(course.trial)}, {charts.WORDS[course.trial.state]}"
        maps.append({"title": title, "png": base64.b64encode(png).decode()})
    return maps


def _packages(origin: Mapping[str, object]) -> str:
    packages = origin.get("packages")
    return (
        plain(", ".join(f"{name} {version}" for name, version in packages.items()))
        if isinstance(packages, dict)
        else ""
    )


def _lines(text: str) -> str:
    """Several lines, each of which does nothing but show."""
    return "\n".join(plain(line.expandtabs(4)) for line in text.split("\n"))
