"""Who is replayed: the rules, and beside them the pruners; each says at which step it would have stopped a case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sweeper import spec
from sweeper.backtest.case import Case, Recording
from sweeper.record.needs import OBSERVED, needs
from sweeper.rules import Rule, first_decision, rule_of
from sweeper.search import pruners
from sweeper.search.pruners import History

Verdicts = Mapping[int, int | None]
"""Trial number to the step at which it would have been stopped; None where it runs to its end."""

DEFAULTS: Sequence[type[spec.RuleSettings]] = (
    spec.Stalled,
    spec.VanishingGradient,
    spec.ExplodingGradient,
    spec.ZeroGradient,
    spec.NonFinite,
    spec.Plateau,
)
"""The rules that say something with their defaults alone: `update_ratio`, `all` and `any` have to be told what."""


class Arm(Protocol):
    """What is compared: a rule, or a pruner."""

    @property
    def name(self) -> str:
        """As the table shows it."""

    def verdicts(self, recording: Recording) -> Verdicts | str:
        """What it says of every case; or one sentence why it cannot be replayed on this record."""


@dataclass(frozen=True, kw_only=True)
class RuleArm:
    """A rule with its settings; one of the defaults takes the run's own training loss for `loss/train`."""

    settings: spec.RuleSettings
    is_default: bool = False

    @property
    def name(self) -> str:
        """The rule's name, and what differs from its defaults."""
        return _name(self.settings)

    def verdicts(self, recording: Recording) -> Verdicts | str:
        """As `Arm.verdicts`; the decision is the one that the rule makes live."""
        settings = _with_loss(self.settings, recording.loss) if self.is_default else self.settings
        lacking = _lacking(settings, recording)
        if lacking:
            return lacking
        rule = rule_of(settings)
        return {case.number: _verdict(rule, case) for case in recording.cases}


def _verdict(rule: Rule, case: Case) -> int | None:
    """The step of the rule's decision; one at the last step stops nothing, so it is none."""
    decision = first_decision(rule, case.events)
    return decision.step if decision is not None and decision.step < case.steps - 1 else None


@dataclass(frozen=True, kw_only=True)
class PrunerArm:
    """A pruner with its settings; the model of its replay is that of `search.pruners.verdicts`."""

    settings: spec.PrunerSettings

    @property
    def name(self) -> str:
        """As a rule's."""
        return _name(self.settings)

    def verdicts(self, recording: Recording) -> Verdicts | str:
        """As `Arm.verdicts`."""
        return pruners.verdicts(self.settings, _histories(recording), maximize=recording.maximize)


@dataclass(frozen=True, kw_only=True)
class OneEpochWaiting:
    """The published baseline, which waits for the first evaluations of all trials: `search.pruners.one_epoch`."""

    name: str = "one_epoch, waiting"

    def verdicts(self, recording: Recording) -> Verdicts | str:
        """As `Arm.verdicts`."""
        return pruners.one_epoch(_histories(recording), maximize=recording.maximize)


def _histories(recording: Recording) -> list[History]:
    return [
        History(number=c.number, evaluations=c.evaluations, last_step=c.steps - 1, ended=c.ended)
        for c in recording.cases
    ]


def arms(early_stop: spec.EarlyStop | None) -> list[Arm]:
    """The rules of a file, or else the built-in ones with their defaults; then the pruners with theirs."""
    named: list[Arm] = (
        [RuleArm(settings=kind(), is_default=True) for kind in DEFAULTS]
        if early_stop is None
        else [_arm(settings) for settings in early_stop.rules]
    )
    beside: list[Arm] = [*(PrunerArm(settings=settings) for settings in pruners.DEFAULTS), OneEpochWaiting()]
    return [*named, *(arm for arm in beside if arm not in named)]


def _arm(settings: spec.StopSettings) -> Arm:
    match settings:
        case spec.RuleSettings():
            return RuleArm(settings=settings)
        case spec.PrunerSettings():
            return PrunerArm(settings=settings)
    raise TypeError(settings)


def _name(settings: spec.StopSettings) -> str:
    """The rule's name, and what differs from its defaults."""
    given = settings.model_dump(exclude_defaults=True)
    return spec.rule_name(settings) + "".join(f" {name}={value}" for name, value in given.items())


def _with_loss(settings: spec.RuleSettings, loss: str) -> spec.RuleSettings:
    key = {spec.NonFinite: "metric", spec.Plateau: "metric"}.get(type(settings))
    return settings.model_copy(update={key: loss}) if key and loss else settings


def _lacking(settings: spec.RuleSettings, recording: Recording) -> str:
    """What a rule needs and nobody recorded, as a sentence; empty where all is there."""
    observed = frozenset().union(*(case.observed for case in recording.cases))
    recorded = observed.union(*(case.metrics for case in recording.cases))
    read = needs(spec.rule_name(settings), settings.model_dump(mode="json"))
    missing = [alternatives for alternatives in read if not alternatives & recorded]
    if not missing:
        return ""
    if not observed and any(alternatives & set(OBSERVED) for alternatives in missing):
        return "needs gradients: none recorded"
    listed = " and ".join(" or ".join(sorted(alternatives)) for alternatives in missing)
    return f"needs {listed}: not recorded"
