"""Say why a metric under `metrics` in the sweep file has no value, and what was found instead; pure functions."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence

from sweeper.mistakes import printable
from sweeper.record.trial import TrialRecord

MOST_NAMED = 12
"""Maximum number of names that a sentence lists."""
_LONGEST = 80
"""Characters of a regular expression in a sentence."""

_WHAT: Mapping[str, tuple[str, str, str]] = {
    "tensorboard": ("event file of TensorBoard", "tag", "tag"),
    "wandb": ("file of an offline run of W&B", "key", "key"),
    "csv": ("CSV file", "column", "column"),
    "json": ("JSON file", "key", "key"),
}
"""For each kind of source: its files, what a value has there, and the setting with that name."""


def place_of(kind: str, files: Sequence[str]) -> str:
    """Return the name under which the record has what was found in the files of a kind of source."""
    return " ".join([kind, *files])


def unread(metrics: object, trials: Sequence[TrialRecord], *, waited: bool) -> Iterator[str]:
    """Yield a sentence for each metric under `metrics` that no trial has, or that could not be read somewhere.

    Args:
        metrics: the value of this key in the resolved sweep; anything but a mapping means none.
        trials: the trials of the sweep.
        waited: whether the trials have run for long enough to have values.
    """
    for name, source in metrics.items() if isinstance(metrics, Mapping) else ():
        problem = _problem(name, trials)
        if problem:
            yield printable(f"metrics.{name}: trial {problem}")
        elif waited and not any(name in trial.progress.metrics for trial in trials):
            for kind, settings in source.items() if isinstance(source, Mapping) else ():
                yield printable(f"metrics.{name}: {_why(kind, settings, trials)}")


def found_in(metrics: object, trials: Sequence[TrialRecord]) -> dict[str, str]:
    """Return the kind of source of each name that was found beside the metrics that are read."""
    read = set(map(str, _asked(metrics)))
    found: dict[str, str] = {}
    for trial in trials:
        for event in trial.noticed:
            for name in event.names:
                if name not in read:
                    found.setdefault(printable(name), event.place.partition(" ")[0])
    return found


def _asked(metrics: object) -> Iterator[object]:
    for source in metrics.values() if isinstance(metrics, Mapping) else ():
        for settings in source.values() if isinstance(source, Mapping) else ():
            yield from (settings.get(key) for key in ("tag", "key", "column", "step"))


def _problem(metric: str, trials: Sequence[TrialRecord]) -> str:
    """Return the first problem with a metric, after the number of its trial; empty if there was none."""
    problems = (
        f"{trial.number:04d}: {event.problem}"
        for trial in trials
        for event in trial.noticed
        if event.metric == metric and event.problem
    )
    return next(problems, "")


def _why(kind: str, settings: Mapping[str, object], trials: Sequence[TrialRecord]) -> str:
    if kind not in _WHAT:
        regex = str(settings.get("regex"))
        return f"no line of the output matched {regex[:_LONGEST]}{'...' * (len(regex) > _LONGEST)} so far"
    what, thing, key = _WHAT[kind]
    given, wanted = settings.get("file"), str(settings.get(key))
    files = [str(file) for file in given] if isinstance(given, list) else []
    seen = [event for trial in trials for event in trial.noticed if event.place == place_of(kind, files)]
    if not seen:
        where = "the script has this directory in SWEEPER_TRIAL_DIR"
        return f"no {what} ({' or '.join(files)}) is below the directory of any trial so far; {where}"
    names = list(dict.fromkeys(name for event in seen for name in event.names))
    close = difflib.get_close_matches(wanted, names, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"no {what} below the directory of a trial has the {thing} {wanted} so far; {_listed(names)}{hint}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"there are: {', '.join(names[:MOST_NAMED])}{more}" if names else "there is no number"
