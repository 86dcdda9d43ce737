"""The pages: templates over the JSON of answers, so that secrets are redacted and everything recorded is escaped."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote, urlencode

import jinja2
from markupsafe import Markup

from sweeper import __version__
from sweeper.record.storage.inbox import person
from sweeper.record.values.params import spelled
from sweeper.results import captions
from sweeper.results.wording import duration, number, plain
from sweeper.service.access import local
from sweeper.service.answers.encoding import to_json
from sweeper.service.answers.lineage import Lineage
from sweeper.service.answers.sweep import Runs, Sweep
from sweeper.service.answers.trial import Trial, TrialComparison, TrialPage
from sweeper.ui import assets
from sweeper.ui.questions import Question
from sweeper.ui.wording import ORDER, STATES, best_line, classes, headline, outcome
from sweeper.views.shared import with_code

MOST_MESSAGES = 50
"""Messages that the page of a sweep lists; `sweeper status` prints all."""
AT_ONCE = 3
"""Messages that are shown unfolded."""
RECENT_S = 2 * 86400.0
"""An older moment is shown as its date."""
COLUMNS = (
    ("number", "trial"),
    ("state", "state"),
    ("value", "value"),
    ("step", "step"),
    ("seconds", "time"),
    ("health", "health"),
)
"""The columns that every table has: by what they are sorted, and their names."""


def runs_page(runs: Runs, reading: list[str]) -> str:
    """Return the page of all runs; `reading` are those that are still read for the first time."""
    return _render("runs.html", **_runs(runs, reading))


def runs_part(runs: Runs, reading: list[str]) -> str:
    """Return the table of all runs."""
    return _render("parts/runs.html", **_runs(runs, reading))


def sweep_page(sweep: Sweep, page: TrialPage, question: Question, *, several: bool) -> str:
    """Return the page of a sweep; `several` says whether there are other runs."""
    context = {**_summary(sweep), **_table(sweep, page, question), "several": several}
    return _render("sweep.html", **context)


def summary_part(sweep: Sweep) -> str:
    """Return the verdict of a sweep."""
    return _render("parts/summary.html", **_summary(sweep))


def table_part(sweep: Sweep, page: TrialPage, question: Question) -> str:
    """Return the table of trials."""
    return _render("parts/table.html", **_table(sweep, page, question))


def trial_page(trial: Trial, lineage: Lineage | None, sweep: Sweep, *, several: bool) -> str:
    """Return the page of a trial."""
    return _render("trial.html", several=several, **_trial(trial, lineage, sweep))


def trial_parts(trial: Trial, lineage: Lineage | None, sweep: Sweep) -> dict[str, str]:
    """Return what changes of the page of a trial, by the id of its place."""
    context = _trial(trial, lineage, sweep)
    return {"head": _render("parts/trial_head.html", **context), "trial": _render("parts/trial.html", **context)}


def comparison_page(found: TrialComparison, *, several: bool) -> str:
    """Return the page of two trials side by side."""
    return _render("compare.html", several=several, run=found.run, found=to_json(found))


def reading_page(name: str, trials: int, *, several: bool) -> str:
    """Return the page that waits for the first reading of a run."""
    return _render("reading.html", several=several, run=name, trials=trials)


def message_page(title: str, text: str) -> str:
    """Return a page with one message."""
    return _render("message.html", title=title, text=text)


def entry_page(target: str) -> str:
    """Return the page that goes on to an address of this server."""
    return _render("entry.html", target=target)


def refused_page(reason: str, path: str) -> str:
    """Return the page that refuses a request."""
    return _render("refused.html", reason=reason, path=local(path))


def _runs(runs: Runs, reading: list[str]) -> dict[str, Any]:
    return {**to_json(runs), "reading": reading}


def _summary(sweep: Sweep) -> dict[str, Any]:
    facts = to_json(sweep)
    return {
        "run": sweep.name,
        "sweep": facts,
        "headline": headline(sweep),
        "outcome": outcome(sweep),
        "best_line": best_line(sweep),
        "classes": classes(sweep),
        "limits": [part for part in facts["budget"] if part["limit"] is not None],
        "messages": [*facts["unreadable"], *facts["damage"], *facts["unmet"], *facts["messages"]],
        "at_once": AT_ONCE,
        "most_messages": MOST_MESSAGES,
        "bar": _bar(sweep),
    }


def _bar(sweep: Sweep) -> list[dict[str, Any]]:
    """Return the parts of the bar of states: where each begins, and its width, in percent."""
    parts, begin = [], 0.0
    for state in ORDER:
        count = sweep.counts.get(state, 0)
        width = 100 * count / max(1, sweep.total)
        parts.append({"state": state, "begin": round(begin, 2), "width": round(width, 2), "count": count})
        begin += width
    return [part for part in parts if part["count"]]


def _table(sweep: Sweep, page: TrialPage, question: Question) -> dict[str, Any]:
    query = question.query
    names = {"value": page.metric or "value"}
    metrics = list(sweep.objectives) if len(sweep.objectives) > 1 else []
    return {
        "run": sweep.name,
        "page": to_json(page),
        "sentence": sentence,
        "query": query,
        "heads": [(key, names.get(key, name)) for key, name in COLUMNS],
        "objectives": metrics,
        "states": ORDER,
        "reasons": any(row.reason for row in page.rows),
        "brush": question.brush,
        "filtered": bool(query.states or query.health or query.text or question.brush or query.flagged is not None),
        "last": max(0, (page.matched - 1) // query.limit * query.limit),
    }


def _trial(trial: Trial, lineage: Lineage | None, sweep: Sweep) -> dict[str, Any]:
    family = None if lineage is None else to_json(lineage)
    facts = {"metric": sweep.metric, "maximize": sweep.maximize}
    return {"run": sweep.name, "trial": to_json(trial), "lineage": family, **facts}


# ---- templates


def shown(value: object) -> object:
    """Return what a template puts into a page: nothing recorded can turn text around or hide in it."""
    if not isinstance(value, str) or isinstance(value, Markup) or (value.isascii() and value.isprintable()):
        return value
    return plain(value)


def clock(seconds: float | None) -> str:
    """Return a moment as date and time of this machine; `-` for None."""
    return "-" if seconds is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def code(text: object) -> Markup:
    """Return text in which words between backticks are code."""
    return with_code(shown(str(text)))


def sentence(text: str) -> str:
    """Return text as a sentence: with a capital and a full stop."""
    text = text.strip()
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?')) else '.'}" if text else ""


def _ago(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    passed = max(0.0, time.time() - seconds)
    return f"{duration(passed)} ago" if passed < RECENT_S else time.strftime("%Y-%m-%d", time.localtime(seconds))


def _value(value: object) -> str:
    """Return a value of a parameter."""
    return number(value) if isinstance(value, float) else spelled(value)


def quoted(name: str) -> str:
    """Return the name of a run as a part of an address."""
    return quote(name, safe="")


def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader("sweeper.ui"), jinja2.PackageLoader("sweeper.views", "shared")]
        ),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=shown,
    )
    made.filters |= {
        "number": lambda value: number(value if isinstance(value, int | float) else None),
        "duration": lambda value: "-" if value is None else duration(value),
        "clock": clock,
        "ago": _ago,
        "code": code,
        "value": _value,
        "path": lambda text: quoted(str(text)),
        "sentence": sentence,
        "query": lambda given: urlencode({key: value for key, value in given.items() if value not in ("", None)}),
        "state": lambda state: STATES.get(state, str(state).lower()),
    }
    made.globals |= {
        "sweeper_version": __version__,
        "plotly": assets.plotly_version,
        "person": person,
        "captions": captions,
        "state_words": STATES,
    }
    return made


_ENVIRONMENT = _environment()


def _render(template: str, **context: Any) -> str:
    return _ENVIRONMENT.get_template(template).render(**context)
