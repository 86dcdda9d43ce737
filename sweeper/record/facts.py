"""What is fixed about a trial before it first runs: `trial.json`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from sweeper.errors import RecordError
from sweeper.record.causes import Cause
from sweeper.record.derivation import Derivation
from sweeper.record.objectives import Constraint, Objective
from sweeper.record.on_spike import OnSpike
from sweeper.record.storage.codec import reader_of
from sweeper.record.storage.layout import TrialDir, read_json
from sweeper.record.values.macros import filled_value
from sweeper.record.values.params import Nesting, unquoted
from sweeper.record.values.redaction import redacted_values


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """The causes after which a trial is retried: at most `max` times, the n-th after ``backoff_s * 2**(n-1)`` seconds.

    An attempt that something outside the sweep stopped is retried where `killed` is listed. Attempts that a rule or a
    person stopped are not retried.
    """

    max: int = 2
    on: tuple[str, ...] = (Cause.KILLED, Cause.LOST, Cause.HUNG)
    backoff_s: float = 1.0

    @classmethod
    def read(cls, value: object) -> RetryPolicy:
        """Return the policy in `trial.json`; records of early versions have none and get the defaults.

        Raises:
            TypeError: the value is not a policy.
        """
        if not isinstance(value, Mapping):
            raise TypeError(f"expected a mapping, got {value!r}")
        kinds: Mapping[str, Any] = {"max": int, "on": list | tuple, "backoff_s": int | float}
        known = {name: value[name] for name in kinds if name in value}
        if not all(isinstance(part, kinds[name]) for name, part in known.items()):
            raise TypeError(f"expected max, a list on, and backoff_s, got {value!r}")
        return replace(cls(**known), on=tuple(known.get("on", cls().on)))

    def covers(self, cause: str) -> bool:
        """Whether a trial is retried after this cause."""
        return (Cause.KILLED if cause == Cause.STOPPED else cause) in self.on


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The number, configuration, seed, parameters and command of a trial, and how the sweep measures and retries it.

    `shown` are the parameters that vary between trials, `metric` and `maximize` the objective, and `at` says which
    evaluation counts: ``best`` or ``last``. `watch` is ``auto`` where the script is watched without changes. `nesting`
    are the groups of parameters; None in records of earlier versions. `output_limit_mb` is the limit of the worker's
    output in 10^6 bytes, 0 for none. `objectives` are empty unless there are several; `metric` and `maximize` are then
    the first. `derived` says from which trial it was derived, None that it was not; the search does not know it then,
    and its `configuration` is negative, unless the search itself derived it. `checkpoint_every_steps` is 0 if only time
    counts, and `keep_healthy` the number of older checkpoints that are kept. `until` is the number of optimizer steps
    after which the trial ends as completed, 0 if its script decides. `on_spike` is one of `OnSpike`. `format` is
    that of `trial.json` (`record.events.FORMAT`), 0 where it is unknown.
    """

    number: int
    configuration: int
    seed: int
    seeds: int = 1
    params: Mapping[str, object]
    shown: Mapping[str, object]
    command: Sequence[str]
    metric: str
    maximize: bool
    at: str = "best"
    checkpoint_every_s: float = 600.0
    resources: Mapping[str, object] = field(default_factory=dict)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    watch: str = ""
    nesting: Nesting | None = None
    output_limit_mb: float = 100.0
    objectives: tuple[Objective, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    derived: Derivation | None = None
    checkpoint_every_steps: int = 0
    keep_healthy: int = 0
    until: int = 0
    on_spike: str = OnSpike.RECORD.value
    format: int = field(default=0, compare=False)

    @classmethod
    def read(cls, trial: TrialDir) -> Facts:
        """Return the facts of a trial.

        Raises:
            RecordError: `trial.json` is missing or not valid, or belongs to another trial.
        """
        value = read_json(trial.facts)
        known: dict[str, Any] = {field.name: value[field.name] for field in fields(cls) if field.name in value}
        try:
            known |= {name: _listed(known.get(name, ()), kind) for name, kind in _RANKING.items()}
            if known.get("derived") is not None:
                known["derived"] = reader_of(Derivation)(known["derived"]).checked(trial.number)
            facts = cls(**{**known, "retry": RetryPolicy.read(known.get("retry", {}))})
        except (TypeError, KeyError, ValueError) as error:
            raise RecordError(f"{trial.facts}: expected the facts of a trial, got: {error}") from error
        for name, kind in _TYPES.items():
            if not _fits(getattr(facts, name), kind):
                raise RecordError(f"{trial.facts}: {name}: expected {kind.__name__}, got {getattr(facts, name)!r}")
        if facts.on_spike not in list(OnSpike):
            expected = f"one of {', '.join(OnSpike)}"
            raise RecordError(f"{trial.facts}: on_spike: expected {expected}, got {facts.on_spike!r}")
        if not (facts.nesting is None or isinstance(facts.nesting, dict)):
            raise RecordError(f"{trial.facts}: nesting: expected a mapping, got {facts.nesting!r}")
        if facts.number != trial.number:
            raise RecordError(f"{trial.facts}: number: expected {trial.number}, as its directory, got {facts.number}")
        return facts

    @property
    def goals(self) -> tuple[Objective, ...]:
        """The objectives; where there is one, that of `metric`."""
        return self.objectives or (Objective(name=self.metric, maximize=self.maximize),)

    @property
    def ranking(self) -> tuple[str, ...]:
        """The names of the objectives, and of the metrics with bounds."""
        return tuple(dict.fromkeys([*(one.name for one in self.goals), *(one.name for one in self.constraints)]))

    @property
    def is_searched(self) -> bool:
        """Whether the search knows the trial's configuration: it does not if a person or a repair derived the trial."""
        return self.configuration >= 0

    @property
    def label(self) -> str:
        """The number and the varied parameters, for people and for TensorBoard: ``0003_lr=3e-4_warmup=0.1``.

        The label of a derived trial ends in the number of its parent and the step after which it continues:
        ``0012_lr=1e-4_warmup=0.1_from=0003+119``.
        """
        varied = {**self.shown, "seed": self.seed} if self.seeds > 1 else self.shown
        parts = [
            f"{self.number:04d}",
            *(f"{name}={unquoted(value)}" for name, value in redacted_values(varied).items()),
            *([] if self.derived is None else [f"from={self.derived.origin}"]),
        ]
        name = "".join(c if c.isalnum() or c in "._=+-," else "-" for c in "_".join(parts))
        return name.encode()[:LONGEST_LABEL].decode(errors="ignore")

    def macros(self, trial: TrialDir) -> dict[str, str]:
        """Return the values of the trial's macros (`record.values.macros`), with its directory as it is seen here."""
        return {
            "dir": str(trial.path.absolute()),
            "number": str(self.number),
            "name": self.label,
            "seed": str(self.seed),
        }

    def params_in(self, trial: TrialDir) -> dict[str, object]:
        """Return the parameters as the script gets them: with the trial's macros in their values replaced."""
        macros = self.macros(trial)
        return {name: filled_value(value, macros) for name, value in self.params.items()}


LONGEST_LABEL = 200
"""Maximum length in bytes; file systems allow 255 for a path component."""

_TYPES: Mapping[str, type] = {
    "number": int,
    "configuration": int,
    "seed": int,
    "params": dict,
    "shown": dict,
    "command": list,
    "metric": str,
    "maximize": bool,
    "at": str,
    "seeds": int,
    "checkpoint_every_s": float,
    "resources": dict,
    "watch": str,
    "output_limit_mb": float,
    "checkpoint_every_steps": int,
    "keep_healthy": int,
    "until": int,
    "on_spike": str,
    "format": int,
}


_RANKING: Mapping[str, type] = {"objectives": Objective, "constraints": Constraint}


def _listed(value: object, kind: type) -> tuple[Any, ...]:
    """Return a list of JSON objects as dataclasses of this kind.

    Raises:
        TypeError: the value is not such a list.
        KeyError: an object lacks a key.
    """
    if not isinstance(value, list | tuple):
        raise TypeError(f"expected a list, got {value!r}")
    return tuple(reader_of(kind)(one) for one in value)


def _fits(value: object, kind: type) -> bool:
    """Whether a JSON value has this type; numbers have to fit 64 bits."""
    if kind is int:
        return type(value) is int and -(2**63) <= value < 2**63
    if kind is float:
        return type(value) in (int, float) and abs(value) <= sys.float_info.max  # type: ignore[arg-type]  # checked just before
    return isinstance(value, kind)
