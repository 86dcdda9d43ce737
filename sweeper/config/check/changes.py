"""Compare two versions of a sweep: do the changes only add trials, or do they conflict with trials already run?"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from pydantic import BaseModel

from sweeper.config.check.known import known_changes
from sweeper.config.model.parameters import Choice, Constant, Parameter, Range
from sweeper.config.model.shapes import Beta, Normal
from sweeper.config.model.sources import MetricSource
from sweeper.config.model.sweep import Checkpoint, EarlyStop, Method, Metric, SweepSpec, as_name
from sweeper.config.model.values import Value, identity
from sweeper.mistakes import shown
from sweeper.rules.settings import AUTO, written

_ADDING = (
    *("description", "profile_description", "run_cap", "budget", "executor", "resources", "launch", "checkpoint"),
    *("retry", "resume_args", "hang_after_s", "output_limit_mb", "figures", "notify"),
)
"""Keys that change the number of trials and how they run, but not their results."""

_DECIDING = (
    "name",
    "trainer",
    "command",
    "program",
    "method",
    "population_size",
    "population",
    "metric",
    "objectives",
    "constraints",
    "dataset",
    "tokenizer",
    "early_stop",
    "on_spike",
    "watch",
)
"""Keys that change the results of every trial."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """The differences between two versions of a sweep, one line each.

    Attributes:
        additions: changes that leave the existing trials valid.
        conflicts: changes that would make the existing trials different.
    """

    additions: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()


_NeverRan: TypeAlias = Callable[[str, Value], bool]
_Found: TypeAlias = tuple[bool, str]
"""Whether a change is a conflict, and its description."""


def changes_between(
    old: SweepSpec,
    new: SweepSpec,
    *,
    unread: Container[str] = (),
    never_ran: Callable[[str, Value], bool] = lambda _name, _value: False,
) -> Changes:
    """Return the changes from the sweep that was run to the new one.

    Args:
        old: the sweep that was run.
        new: the sweep as its file has it now.
        unread: names under `metrics` of which no trial has a value, so that another source makes no difference.
        never_ran: returns whether no trial has run with a value of a parameter, given its name and the value; with an
            empty name, whether none has run with a seed. Such a value can be taken out.
    """
    changes = [
        *_title(old, new),
        *_keys(old, new),
        *_sources(old, new, unread),
        *_parameters(old, new, never_ran),
        *_seeds(old, new, never_ran),
        *((False, sentence) for sentence in known_changes(old, new)),
    ]
    # A profile is a bundle of other keys: choosing another one is a conflict if any of them is.
    if old.profile != new.profile:
        matters = any(conflict for conflict, _ in changes)
        changes.insert(0, (matters, _instead("profile", old.profile, new.profile)))
    return Changes(
        additions=tuple(sentence for conflict, sentence in changes if not conflict),
        conflicts=tuple(sentence for conflict, sentence in changes if conflict),
    )


def _title(old: SweepSpec, new: SweepSpec) -> Iterator[_Found]:
    """Find another title. It is a conflict if both became the same directory, which is then that of another sweep."""
    before, after = old.title or old.name, new.title or new.name
    if old.name == new.name and before != after:
        yield as_name(before) == as_name(after), _instead("title", before, after)


def _keys(old: SweepSpec, new: SweepSpec) -> Iterator[_Found]:
    for conflict, keys in ((True, _DECIDING), (False, _ADDING)):
        for key in keys:
            before, after = getattr(old, key), getattr(new, key)
            if isinstance(before, Metric) and before.impute is not after.impute:  # only the search reads it
                yield False, f"metric.impute: {after.impute} instead of {before.impute}"
                after = after.model_copy(update={"impute": before.impute})
            if key == "metric" and old.objectives and new.objectives:
                continue  # it is the first of the objectives
            if isinstance(before, Metric) and before.target != after.target:  # it only ends the sweep
                yield False, f"metric.target: {_part(after.target)} instead of {_part(before.target)}"
                after = after.model_copy(update={"target": before.target})
            if before != after:
                yield from ((conflict, text) for text in _changes(key, before, after))


def _changes(key: str, before: object, after: object) -> Iterator[str]:
    """Yield how two different values of a key differ; of a metric, each setting that differs."""
    if key == "notify":  # its webhook may contain a token
        yield f"{key}: changed"
    elif isinstance(before, Metric) and isinstance(after, Metric):
        for name, was in before:
            if (now := getattr(after, name)) != was:
                yield _instead(f"{key}.{name}", was, now)
    elif isinstance(before, Checkpoint) and isinstance(after, Checkpoint):
        yield _instead(key, *_differing(before, after))
    else:
        yield _instead(key, before, after)


def _differing(before: Checkpoint, after: Checkpoint) -> tuple[dict[str, object], dict[str, object]]:
    """Return the settings that differ, before and after."""
    old, new = before.model_dump(), after.model_dump()
    names = [name for name in old if old[name] != new[name]]
    return {name: old[name] for name in names}, {name: new[name] for name in names}


def _sources(old: SweepSpec, new: SweepSpec, unread: Container[str]) -> Iterator[_Found]:
    """Find changes of `metrics`. One more metric is an addition: it is also read for trials that have ended."""
    for name in dict.fromkeys([*old.metrics, *new.metrics]):
        before, after = old.metrics.get(name), new.metrics.get(name)
        if before != after:
            conflict = before is not None and name not in unread
            yield conflict, _instead(f"metrics.{name}", _source(before), _source(after))


def _source(source: MetricSource | None) -> object:
    return None if source is None else {source.kind: source.model_dump(mode="json", exclude_defaults=True)}


def _parameters(old: SweepSpec, new: SweepSpec, never_ran: _NeverRan) -> Iterator[_Found]:
    in_grid = old.method is Method.GRID and new.method is Method.GRID
    for name, before in old.parameters.items():
        key = f"parameters.{name}"
        after = new.parameters.get(name)
        if after is not None and old.nesting is not None:  # a run of an early version did not record the groups
            paths = [(spec.nesting or {}).get(name, (name,)) for spec in (old, new)]
            if paths[0] != paths[1]:
                yield True, f"{key}: {' > '.join(paths[1])} instead of {' > '.join(paths[0])} in JSON"
        if after is None:
            yield True, f"{key}: removed, was {_described(before)}"
        elif before.when != after.when:
            yield True, f"{key}.when: {_part(after.when)} instead of {_part(before.when)}"
        elif in_grid and isinstance(before, Constant | Choice) and isinstance(after, Constant | Choice):
            yield from _values(f"{key}.values", _options(before), _options(after), partial(never_ran, name))
        elif _content(before) != _content(after):
            yield True, f"{key}: {_described(after)} instead of {_described(before)}"
    for name in new.parameters.keys() - old.parameters.keys():
        yield True, f"parameters.{name}: new, {_described(new.parameters[name])}"


def _seeds(old: SweepSpec, new: SweepSpec, never_ran: _NeverRan) -> Iterator[_Found]:
    return _values("seeds", old.seeds, new.seeds, partial(never_ran, ""))


def _values(
    key: str, old: Iterable[Value], new: Iterable[Value], never_ran: Callable[[Value], bool]
) -> Iterator[_Found]:
    """Find removed and added values, in the order of the files. A different order is not a change."""
    before = {identity(value): value for value in old}
    after = {identity(value): value for value in new}
    for known, value in before.items():
        if known not in after:
            unused = never_ran(value)
            yield not unused, f"{key}: removed {shown(value)}{', which no trial has run with' if unused else ''}"
    for known, value in after.items():
        if known not in before:
            yield False, f"{key}: added {shown(value)}"


def _options(parameter: Constant | Choice) -> tuple[Value, ...]:
    return parameter.values if isinstance(parameter, Choice) else (parameter.value,)


def _content(parameter: Parameter) -> object:
    match parameter:
        case Constant():
            return identity(_options(parameter)), None
        case Choice():
            return identity(_options(parameter)), parameter.probabilities
        case _:
            return parameter.model_dump(exclude={"when"})


def _described(parameter: Parameter) -> str:
    match parameter:
        case Constant():
            return shown(parameter.value)
        case Choice():
            weights = "" if parameter.probabilities is None else f" with probabilities {shown(parameter.probabilities)}"
            return f"one of {shown(parameter.values)}{weights}"
        case Normal() | Beta():
            settings = parameter.model_dump(mode="json", exclude={"when", "distribution"}, exclude_none=True)
            return f"{parameter.distribution} with {', '.join(f'{key} {shown(one)}' for key, one in settings.items())}"
        case Range():
            step = "" if parameter.q is None else f" by {shown(parameter.q)}"
            return f"{parameter.distribution} from {shown(parameter.min)} to {shown(parameter.max)}{step}"


def _instead(key: str, before: object, after: object) -> str:
    return f"{key}: {_part(after)} instead of {_part(before)}"


def _part(value: object) -> str:
    """Return a short description of a key's value; for a section, its settings."""
    if isinstance(value, EarlyStop):
        return _early_stop(value)
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    match value:
        case None | () | "":
            return "nothing"
        case Mapping():
            return "{" + ", ".join(f"{name}: {_part(part)}" for name, part in value.items()) + "}"
        case list() if value and isinstance(value[0], Mapping):
            return "[" + ", ".join(_part(part) for part in value) + "]"
        case _:
            return shown(value)


def _early_stop(value: EarlyStop) -> str:
    """Return the settings that differ from the defaults, and the rules as a sweep file would list them."""
    settings = value.model_dump(mode="json", exclude_defaults=True, exclude={"rules"})
    parts = [f"{name}: {_part(part)}" for name, part in settings.items()]
    rules = written(value.rules)
    if rules == [AUTO]:
        return "{" + ", ".join([*parts, f"rules: {AUTO}"]) + "}" if parts else AUTO
    entries = [rule if isinstance(rule, str) else _settings(rule) for rule in rules]
    return "{" + ", ".join([*parts, f"rules: [{', '.join(entries)}]"]) + "}"


def _settings(value: object) -> str:
    """Return a rule on one line, as a sweep file would have it."""
    match value:
        case Mapping():
            return "{" + ", ".join(f"{name}: {_settings(part)}" for name, part in value.items()) + "}"
        case list() if value and isinstance(value[0], Mapping):
            return "[" + ", ".join(map(_settings, value)) + "]"
        case _:
            return shown(value)
