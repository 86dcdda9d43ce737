"""What rules, pruners and the ranking read of a trial, and what of it no trial records.

A rule whose values never come stops nobody, and its silence looks like that of a rule that is content. So it is said,
from the record alone, once a trial has had its chance: it is complete, or has run for a while. Rules are taken as
`spec.json` has them, name by settings: who only reads a record needs no more than that.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sweeper.record.trial import State, TrialRecord
from sweeper.record.values.depth_profile import FEWEST_LAYERS
from sweeper.rules.diagnoses import DIAGNOSES
from sweeper.rules.settings import needs
from sweeper.rules.signals.metric_names import held_out_loss, score, training_loss

CHANCE_S = 120.0
"""How long a trial has to have run before its silence counts."""
EVALUATION_S = 300.0
"""The same of the metric of the sweep, which comes with an evaluation, and that at the end of an epoch."""
OBSERVED = ("reach", "update_ratio", "gradient_norm", "gradient_zero", "activations")
"""What rules read of an observation."""
BY_STATISTIC = {"update_ratio": "update_ratio", "grad_zero": "gradient_zero"}
"""The fields of an observation that rules read, by the recorded statistic that each of them takes."""
KINDS: Mapping[str, Callable[[Iterable[str]], str | None]] = {
    "loss": training_loss,
    "held_out_loss": held_out_loss,
    "score": score,
}
"""Kinds of metrics that diagnoses read, and what chooses one among the names reported."""
MOST_NAMED = 8
"""Metrics that a sentence names."""


def recorded(trial: TrialRecord) -> frozenset[str]:
    """What a trial gives to those who read it: the metrics that it reported, and what its watch can tell."""
    reported, watching = set(trial.progress.metrics), trial.progress.watching
    names = reported | {word for word, found in KINDS.items() if found(reported) is not None}
    if trial.facts.metric in reported:
        names.add("score")
    if watching is not None:
        names |= {"activations"} if watching.activations else set()
        names.add("gradient_norm")
        names |= {"reach"} if len(watching.layers) >= FEWEST_LAYERS else set()
        names |= {read for statistic, read in BY_STATISTIC.items() if statistic in watching.statistics}
    return frozenset(names)


def unmet(early_stop: object, trials: Sequence[TrialRecord], now: float) -> tuple[str, ...]:
    """Who waits for what no trial has recorded, a sentence each; nothing before a trial has had its chance.

    Args:
        early_stop: what stands under this key in the resolved sweep; what is none is taken for no rules.
        now: seconds since the epoch.
    """
    rules = dict(_rules(early_stop))
    judged, late = (_Heard(trials, now, chance) for chance in (CHANCE_S, EVALUATION_S))
    return (
        *(_of_metric(trials[0].facts.metric, rules, late) if any(True for _ in late) else ()),
        *(_of_rules(rules, judged) if any(True for _ in judged) else ()),
    )


@dataclass(frozen=True, slots=True)
class _Heard:
    """What each trial recorded that had its chance; as a rule the first answers, and the others are not looked at."""

    trials: Sequence[TrialRecord]
    now: float
    chance: float

    def __iter__(self) -> Iterator[frozenset[str]]:
        return (
            recorded(trial)
            for trial in self.trials
            if trial.state is State.COMPLETE or trial.seconds(self.now) >= self.chance
        )


def _rules(early_stop: object) -> Iterator[tuple[str, list[frozenset[str]]]]:
    """The rules by name, with what they read."""
    listed = early_stop.get("rules") if isinstance(early_stop, Mapping) else None
    for rule in listed if isinstance(listed, list) else ():
        for name, settings in rule.items() if isinstance(rule, Mapping) else ():
            if isinstance(settings, Mapping):
                yield name, needs(name, settings)


def _of_metric(
    metric: str, rules: Mapping[str, list[frozenset[str]]], heard: Iterable[frozenset[str]]
) -> Iterator[str]:
    if not metric or any(metric in names for names in heard):
        return
    pruners = [name for name, read in rules.items() if not read]
    stops = f", and {_and(pruners)} {'stop' if len(pruners) > 1 else 'stops'} nobody" if pruners else ""
    close = difflib.get_close_matches(metric, frozenset().union(*heard), n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    missing = f"the metric {metric} was not reported by any trial so far"
    yield f"{missing}: nothing is ranked by it{stops} ({_named(heard)}{hint})"


def _of_rules(rules: Mapping[str, list[frozenset[str]]], heard: Iterable[frozenset[str]]) -> Iterator[str]:
    blind: dict[str, list[str]] = {}
    watched = any("gradient_norm" in names for names in heard)
    for name, read in rules.items():
        missing = [one for one in read if not any(one & names for names in heard)]
        if not missing:
            continue
        what, why = _and([" or ".join(sorted(one)) for one in missing]), _why(missing, heard)
        if name in DIAGNOSES:
            # A small network has no reach, and that is no mistake of anybody's: other classes judge it.
            if not watched or not frozenset().union(*missing) <= set(OBSERVED):
                blind.setdefault(why, []).append(name)
        else:
            yield f"the rule {name} stops nobody: no trial has recorded {what} so far ({why})"
    for why, names in blind.items():
        yield f"no trial has recorded what {_and(names)} {'reads' if len(names) == 1 else 'read'} so far ({why})"


def _why(missing: Sequence[frozenset[str]], heard: Iterable[frozenset[str]]) -> str:
    """What there is instead, or what to do."""
    wanted = frozenset().union(*missing)
    if not wanted & set(OBSERVED):
        return _named(heard)
    if not any("gradient_norm" in names for names in heard):
        return "no script calls trial.watch(model, optimizer)"
    full = "update ratios, zeros and activations take trial.watch(..., statistics='full')"
    return f"reach takes {FEWEST_LAYERS} layers that feed each other; {full}"


def _named(heard: Iterable[frozenset[str]]) -> str:
    names = sorted(frozenset().union(*heard) - {*OBSERVED, *KINDS})
    if not names:
        return "nothing is reported"
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"reported: {', '.join(names[:MOST_NAMED])}{more}"


def _and(words: Sequence[str]) -> str:
    return " and ".join(words)
