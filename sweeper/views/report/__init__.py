"""`sweeper report`: one page that opens without a network, verdict first; and the same for programs."""

from __future__ import annotations

import base64
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import jinja2

from sweeper.record.fold import State
from sweeper.record.redaction import redacted, redacted_values
from sweeper.record.trial import Entry, Trial, spelled
from sweeper.views.advice import advice
from sweeper.views.depthmap import DepthMap
from sweeper.views.ranking import ranked, who_is_best
from sweeper.views.receipt import end_line, value_step
from sweeper.views.report import charts
from sweeper.views.report.course import Course, course_of
from sweeper.views.snapshot import SweepView, savings_of, steps_done
from sweeper.views.standing import interval_text, repeated, standings
from sweeper.views.status import to_json
from sweeper.views.table import params_of
from sweeper.views.verdict import Verdict
from sweeper.views.wording import counted, duration, number, plain

MOST_CURVES = 60
MOST_MAPS = 24
MOST_LAYERS = 75
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
            state=sweep.state.lower(),
            facts=_facts(sweep),
            verdict=_verdict(sweep, order),
            metric=plain(sweep.metric),
            rows=_rows(sweep, order),
            standings=_standings(sweep),
            ended=[_ended(trial, sweep.trials) for trial in order if trial.state in (State.PRUNED, State.FAIL)],
            rules=[plain(line) for line in known.rules],
            charts=_charts(courses, sweep, known),
            maps=_maps(courses),
            maps_left_out=max(0, sum(bool(course.layers) for course in courses) - MOST_MAPS),
            curves_left_out=max(0, len(courses) - MOST_CURVES),
            messages=[plain(message) for message in sweep.messages],
            unreadable=[plain(line) for line in sweep.unreadable],
            origin=_origin(known.origin),
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
    return jinja2.Environment(
        loader=jinja2.DictLoader({"page.html": text}), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )


def _facts(sweep: SweepView) -> list[str]:
    words = Counter(map(_word, sweep.trials))
    counts = [f"{words[word]} {word}" for word in (*charts.WORDS.values(), "waiting") if words[word]]
    took = sum(trial.seconds(sweep.now) for trial in sweep.trials)
    savings = savings_of(sweep)
    lines = [f"{counted(len(sweep.trials), 'trial', 'trials')}: {', '.join(counts)}", f"{duration(took)} of slots"]
    if savings.trials:
        audited = [t for t in sweep.trials if t.control.spared is not None]
        net = f"; {counted(len(audited), 'condemned trial was', 'condemned trials were')} let run on" if audited else ""
        lines.append(f"pruning saved {savings.steps:,} steps, about {duration(savings.seconds)} of one slot{net}")
    return lines


def _word(trial: Trial) -> str:
    """The state, for people; one that has never run waits, one that has was interrupted."""
    return charts.WORDS[trial.state] if trial.control.launched else "waiting"


def _verdict(sweep: SweepView, order: Sequence[Trial]) -> str:
    best = order[0] if order and order[0].value is not None else None
    if best is None:
        return "No trial has a value yet."
    text = who_is_best(sweep)
    value = f"{number(best.value)} at step {value_step(best)}"
    which = "best" if best.facts.at == "best" else "best last"
    first = f"The {which} {plain(sweep.metric)} is {value}, of trial {best.facts.number:04d}"
    where = params_of(best)
    return f"{first}{f' ({where})' if where else ''}. {text}".strip()


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
        }
        for trial in order
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
            "fate": standing.fate,
        }
        for standing in standings(sweep.trials)
    ]


def _ended(trial: Trial, siblings: Sequence[Trial]) -> dict[str, Any]:
    return {
        "number": f"{trial.facts.number:04d}",
        "class": trial.state.value.lower(),
        "params": params_of(trial),
        "line": end_line(trial),
        "advice": advice(trial, siblings),
    }


_WHAT_REACH_IS = (
    "The gradient of the first quarter of the layers over that of the last. Where it falls, the first layers no longer "
    "learn, whatever the loss says."
)


def _charts(courses: Sequence[Course], sweep: SweepView, known: Known) -> list[tuple[str, str, str]]:
    """Title, what to look for, and the drawing, of each chart that there is something for."""
    shown = courses[:MOST_CURVES]
    metric = sweep.metric
    drawn = [
        (plain(metric), "A line a trial; one that was pruned ends in a cross.", charts.curves(shown, _values, metric)),
        ("Training loss", "", charts.curves(shown, _losses, "loss")),
        (
            "Reach",
            _WHAT_REACH_IS,
            charts.curves(shown, _reach, "reach", log=True),
        ),
        ("Each parameter", "A point a trial.", charts.slices(courses, metric)),
        ("Parameters together", "A line a trial, bright where its value is good.", charts.parallel(courses, metric)),
        (
            "What mattered",
            "The share of the variation of the values that a parameter explains (Optuna's fANOVA).",
            charts.bars(known.importance, "importance"),
        ),
        ("Slots", "What ran where, and when.", charts.timeline(courses, sweep.now)),
    ]
    return [entry for entry in drawn if entry[2]]


def _values(course: Course) -> charts.Points:
    return course.values


def _losses(course: Course) -> charts.Points:
    return course.losses


def _reach(course: Course) -> charts.Points:
    return [(step, reach) for step, reach in course.reach if math.isfinite(reach)]


def _maps(courses: Sequence[Course]) -> list[dict[str, str]]:
    """The depth profile of each watched trial; those that were pruned first, since they are why one looks."""
    watched = [course for course in courses if course.layers and course.depth.looks()]
    order = sorted(watched, key=lambda course: course.trial.state is not State.PRUNED)[:MOST_MAPS]
    sheets: dict[tuple[str, ...], DepthMap] = {}
    maps = []
    for course in order:
        layers = tuple(course.layers)
        sheet = sheets.setdefault(layers, DepthMap(layers, MOST_LAYERS))
        png = sheet.draw(course.depth, Verdict.of(course.trial))
        title = f"{course.number} {params_of(course.trial)}, {charts.WORDS[course.trial.state]}"
        maps.append({"title": title, "png": base64.b64encode(png).decode()})
    return maps


def _origin(origin: Mapping[str, object]) -> list[tuple[str, str]]:
    told = redacted_values({key: value for key, value in origin.items() if key not in ("difference", "packages")})
    return [(plain(key), plain(_text(value))) for key, value in told.items() if value not in ("", None, [], {})]


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


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return spelled(value)
