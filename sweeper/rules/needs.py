"""Find the values that rules, pruners and the ranking need but no trial records.

If the values of a rule never come, it stops no trial, and looks like a rule that has no reason to fire. So sweeper
warns, from the record alone, once a trial is complete or has run for a while. Rules are given as in `spec.json`: their
names and settings.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from sweeper.record.trial import State, TrialRecord
from sweeper.record.values.depth_profile import FEWEST_LAYERS
from sweeper.rules.diagnoses import DIAGNOSES
from sweeper.rules.settings import needs
from sweeper.rules.signals.metric_names import held_out_loss, is_loss, score, training_loss
from sweeper.rules.unread import found_in, unread

CHANCE_S = 120.0
"""Seconds that a trial has to have run before missing values are reported."""
EVALUATION_S = 300.0
"""A longer wait for the sweep's metric, which is logged only at evaluation, typically once per epoch."""
OBSERVED = ("reach", "update_ratio", "gradient_norm", "gradient_zero", "activations")
"""The values of an observation that rules read."""
BY_STATISTIC = {"update_ratio": "update_ratio", "grad_zero": "gradient_zero"}
"""The values of an observation that need a recorded statistic, by that statistic."""
KINDS: Mapping[str, Callable[[Iterable[str]], str | None]] = {
    "loss": training_loss,
    "held_out_loss": held_out_loss,
    "score": score,
}
"""The kinds of metrics that diagnoses read, each with the function that chooses one of the reported names."""
MOST_NAMED = 8
"""Maximum number of metrics that a message lists."""


def recorded(trial: TrialRecord) -> frozenset[str]:
    """Return the values that a trial records: its metrics by name and kind, and the values of its observations."""
    reported, watching = set(trial.progress.metrics), trial.progress.watching
    names = reported | {word for word, found in KINDS.items() if found(reported) is not None}
    if not reported.isdisjoint(goal.name for goal in trial.facts.goals):
        names.add("score")
    if watching is not None:
        names |= {"activations"} if watching.activations else set()
        names.add("gradient_norm")
        names |= {"reach"} if len(watching.layers) >= FEWEST_LAYERS else set()
        names |= {read for statistic, read in BY_STATISTIC.items() if statistic in watching.statistics}
    return frozenset(names)


def unmet(early_stop: object, trials: Sequence[TrialRecord], now: float, metrics: object = None) -> tuple[str, ...]:
    """Return a sentence for each rule, and for the metric of the sweep, that needs values that no trial records.

    A metric that is read from files or output (`metrics` in the sweep file) has a sentence if it has no value.

    Args:
        early_stop: the value of this key in the resolved sweep; anything but a mapping with rules means no rules.
        trials: the trials of the sweep.
        now: seconds since the epoch.
        metrics: the value of this key in the resolved sweep.

    Returns:
        Nothing before a trial is complete or has run for `CHANCE_S`, or `EVALUATION_S` for the metric.
    """
    rules = dict(_rules(early_stop))
    early, late = (_Recorded(trials, now, seconds) for seconds in (CHANCE_S, EVALUATION_S))
    waited = any(True for _ in late)
    names = trials[0].facts.ranking if waited else ()
    return (
        *(line for name in names for line in _missing_metric(name, rules, late, metrics, trials)),
        *unread(metrics, trials, waited=waited),
        *(_missing_values(rules, early) if any(True for _ in early) else ()),
    )


@dataclass(frozen=True, slots=True)
class _Recorded:
    """The recorded values of each trial that is complete or has run for some seconds.

    They are computed lazily, because the first trial usually has all values.
    """

    trials: Sequence[TrialRecord]
    now: float
    seconds: float

    def __iter__(self) -> Iterator[frozenset[str]]:
        return (
            recorded(trial)
            for trial in self.trials
            if trial.state is State.COMPLETE or trial.seconds(self.now) >= self.seconds
        )


def _rules(early_stop: object) -> Iterator[tuple[str, list[frozenset[str]]]]:
    """Yield the name of each rule with what it reads."""
    listed = early_stop.get("rules") if isinstance(early_stop, Mapping) else None
    for rule in listed if isinstance(listed, list) else ():
        for name, settings in rule.items() if isinstance(rule, Mapping) else ():
            if isinstance(settings, Mapping):
                yield name, needs(name, settings)


def _missing_metric(
    metric: str,
    rules: Mapping[str, list[frozenset[str]]],
    recordings: Iterable[frozenset[str]],
    metrics: object,
    trials: Sequence[TrialRecord],
) -> Iterator[str]:
    if not metric or any(metric in names for names in recordings):
        return
    pruners = [name for name, read in rules.items() if not read]
    stops = f", and {_and(pruners)} cannot stop any" if pruners else ""
    close = closest_metric(metric, frozenset().union(*recordings))
    hint = f"; did you mean {close}{_source(close, trials)}?" if close else ""
    if found := found_in(metrics, trials):  # only now: it decodes every trial that has ended
        name = (difflib.get_close_matches(metric, found, n=1, cutoff=0) or list(found))[0]
        hint += f"; found but not read: {', '.join(list(found)[:MOST_NAMED])}"
        hint += f"; to read {name}, write metrics: {{{metric}: {{{found[name]}: {name}}}}}"
    missing = f"no trial has reported the metric {metric} so far"
    ranks = metric in [goal.name for goal in trials[0].facts.goals]
    lost = "trials cannot be ranked" if ranks else "no trial can keep to its bounds"
    yield f"{missing}: {lost}{stops} ({_reported(recordings)}{hint})"


_VALIDATED = re.compile(r"\b(val|valid|validation|eval|dev)(?=[_/])|[_/](val|valid|validation|eval|dev)\b")
_KEPT = re.compile(r"\btest(?=[_/])|[_/]test\b")
"""Names of metrics on a validation set, and on the set that is kept for the end where there is one."""


def closest_metric(metric: str, names: frozenset[str]) -> str:
    """Return the reported name that was probably meant: a similar one, or one that means the same kind of value.

    The set that a script keeps for the end is not proposed: of `val_acc` and `test_acc`, the validation set decides.
    """
    if _VALIDATED.search(" ".join(names)) and not _KEPT.search(metric):
        names = frozenset(name for name in names if not _KEPT.search(name))
    if similar := difflib.get_close_matches(metric, names, n=1):
        return similar[0]
    if is_loss(metric):
        return held_out_loss(names) or training_loss(names) or ""
    return score(names) or "" if score([metric]) else ""


def _source(metric: str, trials: Sequence[TrialRecord]) -> str:
    """Return which function of a library logged a metric; empty if none did."""
    found = (kind for trial in trials for kind, names in trial.progress.inferred.items() if metric in names)
    return "".join(f", reported by {kind}" for kind in islice(found, 1))


def _missing_values(rules: Mapping[str, list[frozenset[str]]], recordings: Iterable[frozenset[str]]) -> Iterator[str]:
    diagnoses: dict[str, list[str]] = {}
    watched = bool(rules) and any("gradient_norm" in names for names in recordings)
    for name, read in rules.items():
        missing = [one for one in read if not any(one & names for names in recordings)]
        if not missing:
            continue
        what, why = _and([" or ".join(sorted(one)) for one in missing]), _instead(missing, recordings)
        if name in DIAGNOSES:
            # A small network has no reach, which is no mistake: other diagnoses apply to it.
            if not watched or not frozenset().union(*missing) <= set(OBSERVED):
                diagnoses.setdefault(why, []).append(name)
        else:
            yield f"the rule {name} cannot fire: no trial has recorded {what} so far ({why})"
    for why, names in diagnoses.items():
        need = "needs" if len(names) == 1 else "need"
        yield f"no trial has recorded the values that {_and(names)} {need} so far ({why})"


def _instead(missing: Sequence[frozenset[str]], recordings: Iterable[frozenset[str]]) -> str:
    """Return what is reported instead, or what to do."""
    wanted = frozenset().union(*missing)
    if not wanted & set(OBSERVED):
        return _reported(recordings)
    if not any("gradient_norm" in names for names in recordings):
        return "no script calls trial.watch(model, optimizer)"
    full = "update ratios, zeros and activations need trial.watch(..., statistics='full')"
    return f"reach needs {FEWEST_LAYERS} layers that feed each other; {full}"


def _reported(recordings: Iterable[frozenset[str]]) -> str:
    names = sorted(frozenset().union(*recordings) - {*OBSERVED, *KINDS})
    if not names:
        return "nothing was reported"
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"reported: {', '.join(names[:MOST_NAMED])}{more}"


def _and(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
