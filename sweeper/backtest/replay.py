"""The arms of a backtest: rules, diagnoses and pruners. Each returns which trials it flags, at which step and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sweeper import config
from sweeper.backtest.case import Case, Recording
from sweeper.rules import Rule, first_decision, rule_of
from sweeper.rules.conditions import CONDITIONS
from sweeper.rules.diagnoses import DIAGNOSES, STOPPING, Diagnosis, Effect
from sweeper.rules.health import Change
from sweeper.rules.needs import OBSERVED
from sweeper.search import pruners
from sweeper.search.pruners import History

AUTO, AUTO_AND_WARNINGS = "auto", "auto + warnings"
WARNING: tuple[str, ...] = tuple(name for name, kind in DIAGNOSES.items() if kind.effect is Effect.WARNS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """A rule, a diagnosis or a pruner fired at `step`, for `reason`. A flag that only warns does not stop the trial."""

    rule: str
    step: int
    reason: str = ""
    stops: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The flags of an arm for one trial, the most important one first."""

    flags: tuple[Flag, ...]

    @property
    def step(self) -> int:
        """The step of the first flag."""
        return min(flag.step for flag in self.flags)

    @property
    def stop(self) -> int | None:
        """The step at which the trial would have been stopped; None if the flags only warn."""
        return min((flag.step for flag in self.flags if flag.stops), default=None)

    @property
    def classes(self) -> tuple[str, ...]:
        """The diagnoses among the flags; empty for an arm without diagnoses, such as a pruner."""
        return tuple(flag.rule for flag in self.flags if flag.rule in DIAGNOSES)


Verdicts = Mapping[int, Verdict | None]
"""By trial number, when and why the trial is flagged; None if it is not."""


class Arm(Protocol):
    """One of the methods that a backtest compares: a rule, a set of diagnoses, or a pruner."""

    @property
    def name(self) -> str:
        """The name of the arm in the table."""

    def verdicts(self, recording: Recording) -> Verdicts | str:
        """Return a verdict on every case, or a sentence with the reason why the arm cannot be replayed."""


@dataclass(frozen=True, kw_only=True)
class HealthArm:
    """Diagnoses with their defaults. All such arms share one pass over a recording (`Recording.begun`).

    The diagnoses in `stops` stop a trial, and the first that begins decides. Those in `warns` only flag it, and count
    if they began no later.
    """

    name: str
    stops: tuple[str, ...]
    warns: tuple[str, ...] = ()

    def verdicts(self, recording: Recording) -> Verdicts | str:
        """Return the diagnoses that began, as in `Arm.verdicts`."""
        lacking = [_lacking(DIAGNOSES[name](), recording) for name in (*self.stops, *self.warns)]
        if all(lacking):
            return lacking[0]
        return {case.number: self._verdict(recording.begun[case.number], case) for case in recording.cases}

    def _verdict(self, begun: Sequence[Change], case: Case) -> Verdict | None:
        in_time = [change for change in begun if change.step < case.steps - 1]
        stop = next((change for change in in_time if change.diagnosis in self.stops), None)
        known = {*self.stops, *self.warns} if self.warns else set()
        others = [
            change
            for change in in_time
            if change is not stop and change.diagnosis in known and (stop is None or change.step <= stop.step)
        ]
        flags = [self._flag(change) for change in ([] if stop is None else [stop]) + others]
        return Verdict(flags=tuple(flags)) if flags else None

    def _flag(self, change: Change) -> Flag:
        stops = change.diagnosis in self.stops
        return Flag(rule=change.diagnosis, step=change.step, reason=change.reason, stops=stops)


DEFAULTS: Sequence[HealthArm | type[config.RuleSettings]] = (
    HealthArm(name=AUTO, stops=STOPPING),
    HealthArm(name=AUTO_AND_WARNINGS, stops=STOPPING, warns=WARNING),
    *(HealthArm(name=name, stops=(name,)) for name in STOPPING),
    *(kind for kind in CONDITIONS.values() if kind.fires_by_default),
)
"""The arms that are replayed by default, and the rules that are replayed with their defaults."""


@dataclass(frozen=True, kw_only=True)
class RuleArm:
    """A rule with its settings. A default rule reads the training loss of the run instead of `loss/train`."""

    settings: config.RuleSettings
    is_default: bool = False

    @property
    def name(self) -> str:
        """The name of the rule, and its settings that differ from the defaults."""
        return _name(self.settings)

    def verdicts(self, recording: Recording) -> Verdicts | str:
        """Replay the rule, as in `Arm.verdicts`. The decision is the one that the rule makes live."""
        settings = _with_loss(self.settings, recording.loss) if self.is_default else self.settings
        lacking = _lacking(settings, recording)
        if lacking:
            return lacking
        rule = rule_of(settings, recording.objective)
        return {case.number: _verdict(rule, case) for case in recording.cases}


def _verdict(rule: Rule, case: Case) -> Verdict | None:
    """Return the decision of the rule; a decision at the last step does not count, because it stops nothing."""
    decision = first_decision(rule, case.events)
    if decision is None or decision.step >= case.steps - 1:
        return None
    return Verdict(flags=(Flag(rule=decision.rule, step=decision.step, reason=decision.reason),))


@dataclass(frozen=True, kw_only=True)
class PrunerArm:
    """A pruner with its settings, replayed by `search.pruners.stop_steps`."""

    settings: config.PrunerSettings

    @property
    def name(self) -> str:
        """The name of the pruner, and its settings that differ from the defaults."""
        return _name(self.settings)

    def verdicts(self, recording: Recording) -> Verdicts | str:
        """Replay the pruner, as in `Arm.verdicts`. Trials are compared with their siblings only."""
        found: dict[int, int | None] = {}
        for cases in recording.siblings:
            found |= pruners.stop_steps(self.settings, _histories(cases), maximize=recording.maximize)
        return _by_pruner(self.name, found)


@dataclass(frozen=True, kw_only=True)
class OneEpochWaiting:
    """The published version of `one_epoch`, which waits for the first evaluations of all trials."""

    name: str = "one_epoch, waiting"

    def verdicts(self, recording: Recording) -> Verdicts | str:
        """Replay the pruner, as in `Arm.verdicts`. Trials are compared with their siblings only."""
        found: dict[int, int | None] = {}
        for cases in recording.siblings:
            found |= pruners.one_epoch(_histories(cases), maximize=recording.maximize)
        return _by_pruner(self.name, found)


def _by_pruner(name: str, found: Mapping[int, int | None]) -> Verdicts:
    return {
        number: None if step is None else Verdict(flags=(Flag(rule=name, step=step),)) for number, step in found.items()
    }


def _histories(cases: Sequence[Case]) -> list[History]:
    return [History(number=c.number, evaluations=c.evaluations, last_step=c.steps - 1, ended=c.ended) for c in cases]


def arms(early_stop: config.EarlyStop | None) -> list[Arm]:
    """Return the rules of a file, or else `DEFAULTS`; then the pruners with their defaults."""
    named: list[Arm] = (
        [one if isinstance(one, HealthArm) else RuleArm(settings=one(), is_default=True) for one in DEFAULTS]
        if early_stop is None
        else [_arm(settings) for settings in early_stop.rules]
    )
    beside: list[Arm] = [*(PrunerArm(settings=settings) for settings in pruners.DEFAULTS), OneEpochWaiting()]
    return [*named, *(arm for arm in beside if arm not in named)]


def _arm(settings: config.StopSettings) -> Arm:
    match settings:
        case Diagnosis() if settings == type(settings)():
            return HealthArm(name=settings.name, stops=(settings.name,))
        case config.RuleSettings():
            return RuleArm(settings=settings)
        case config.PrunerSettings():
            return PrunerArm(settings=settings)
    raise TypeError(settings)


def _name(settings: config.StopSettings) -> str:
    """Return the name of the rule, and its settings that differ from the defaults."""
    given = settings.model_dump(exclude_defaults=True)
    return settings.name + "".join(f" {name}={value}" for name, value in given.items())


def _with_loss(settings: config.RuleSettings, loss: str) -> config.RuleSettings:
    return settings.model_copy(update={"metric": loss}) if isinstance(settings, config.Plateau) and loss else settings


def _lacking(settings: config.RuleSettings, recording: Recording) -> str:
    """Return a sentence about the values that a rule needs and no trial recorded; empty if nothing is missing."""
    observed, recorded = recording.observed, recording.recorded
    read = settings.needs(settings.model_dump(mode="json"))
    missing = [alternatives for alternatives in read if not alternatives & recorded]
    if not missing:
        return ""
    if not observed and any(alternatives & set(OBSERVED) for alternatives in missing):
        return "needs gradients: none recorded"
    listed = " and ".join(" or ".join(sorted(alternatives)) for alternatives in missing)
    return f"needs {listed}: not recorded"
