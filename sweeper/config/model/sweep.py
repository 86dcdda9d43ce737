"""The sweep as the rest of sweeper sees it: resolved, complete and unchanging.

Field order is the order in which a person reads a sweep file. What several keys must satisfy together stands in
``checks``, because pydantic would not look at it before every single key is right.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal, Self, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    PlainValidator,
    ValidationError,
    field_validator,
    model_validator,
)

from sweeper.config.model.executors import Executor, Local
from sweeper.config.model.parameters import Parameter, without_repetition
from sweeper.errors import RecordError
from sweeper.mistakes import STRICT, refused, suggested
from sweeper.rules.settings import AUTO, PRESET, RULES, Rules
from sweeper.rules.signals import Objective

NAME = re.compile(r"\w[\w.+=-]*")
LONGEST_NAME = 100
"""Bytes; file systems take 255 for a path component, and a name is made longer by what stands beside it."""


def as_name(text: str) -> str:
    """The name of a sweep that is nearest to a text; ``sweep`` where it has nothing in it that a name could have."""
    near = re.sub(r"[^\w.+=-]+", "-", text).strip(".+=-")
    return near[: LONGEST_NAME // 4] or "sweep"


class Method(StrEnum):
    """How configurations are proposed; `bayes`, W&B's word, is `tpe`."""

    GRID = "grid"
    RANDOM = "random"
    BAYES = "bayes"
    TPE = "tpe"
    GP = "gp"
    CMAES = "cmaes"
    QMC = "qmc"


class Goal(StrEnum):
    """Which values of the metric are better."""

    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"


class At(StrEnum):
    """Which evaluation is the value of a trial."""

    BEST = "best"
    LAST = "last"


class Metric(BaseModel):
    """What a sweep is for."""

    model_config = STRICT
    name: Annotated[str, Field(min_length=1)]
    goal: Annotated[Goal, Field(strict=False)] = Goal.MINIMIZE
    at: Annotated[At, Field(strict=False)] = At.BEST

    @property
    def objective(self) -> Objective:
        """The metric as the rules read it."""
        return Objective(name=self.name, maximize=self.goal is Goal.MAXIMIZE)


class Mode(StrEnum):
    """What follows from a decision: the trial is stopped, or it is written down and the trial runs on."""

    ACT = "act"
    OBSERVE = "observe"


class StopWhen(StrEnum):
    """When a trial that has not failed may end before its time; it is COMPLETE then."""

    CONVERGED = "converged"


class EarlyStop(BaseModel):
    """The rules that may end a trial before its time.

    ``audit`` is the share of condemned trials that run on all the same, so that it is measured how often a rule is
    wrong; one that is known to be wrong more often than ``most_false_prunes`` no longer acts. The checkpoints of pruned
    trials are kept within ``keep_parked_gb``, where it is given. With ``stop_when: converged`` a trial ends, COMPLETE,
    once its loss no longer falls.

    Without ``rules`` the preset ``auto`` applies: every diagnosis that stops a trial, with its defaults. A sweep file
    may write the word ``auto`` in place of the mapping. ``rules`` lists the diagnoses one by one in any case, so that a
    record shows which rules applied.
    """

    model_config = STRICT
    mode: Annotated[Mode, Field(strict=False)] = Mode.ACT
    audit: Annotated[float, Field(ge=0, le=1)] = 0.0
    most_false_prunes: Annotated[float, Field(gt=0, lt=1)] = 0.05
    keep_parked_gb: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    stop_when: Annotated[StopWhen, Field(strict=False)] | None = None
    rules: Rules = PRESET

    @model_validator(mode="before")
    @classmethod
    def _takes_the_preset(cls, given: object) -> object:
        if given == AUTO:
            return {}
        if not isinstance(given, EarlyStop | Mapping):
            raise refused(f"{AUTO} or a mapping", hint=_hint(given))
        return given


def _hint(given: object) -> str:
    """Return what to write in place of a value of `early_stop` that is neither the preset nor a mapping."""
    match given:
        case bool():
            return f"write {AUTO}" if given else "write null, so that no trial is stopped early"
        case list():
            return "write {rules: [...]}"
        case str() if given.lower() in ("none", "off", "no", "never"):
            return "write null, so that no trial is stopped early"
        case str() if given in RULES:
            return f"write {{rules: [{{{given}: {{}}}}]}}"
        case str():
            return suggested(given, [AUTO])
    return ""


MEASURED = "measured"
"""Instead of an amount of memory: what a trial was seen to take."""


LEAST_SHARE, MOST_GPUS = 0.001, 10_000


def _gpus(value: object) -> float:
    if type(value) not in (int, float) or not 0 <= (number := cast("float", value)) < MOST_GPUS:
        raise refused("a number of GPUs, or a part of one")
    if number != int(number) and not LEAST_SHARE <= number < 1:
        raise refused(f"a whole number of GPUs, or a part of one of {LEAST_SHARE} or more")
    return int(number) if number == int(number) else number


def _gigabytes(value: object) -> float | str:
    if value == MEASURED:
        return MEASURED
    if type(value) not in (int, float) or not 0 < cast("float", value) < math.inf:
        raise refused(f"a number of gigabytes above 0, or {MEASURED}")
    return cast("float", value)


Gpus = Annotated[float, Field(ge=0)]
Gigabytes = Annotated[float, Field(gt=0)] | Literal["measured"]


class Resources(BaseModel):
    """What one trial takes; None leaves it to the executor.

    `gpus` is a number of whole GPUs, or a part of one, so that several trials share it; `gpu_memory_gb` are the 10^9
    bytes of its GPU that a trial takes, or `measured`: then trials share a GPU by what the first of them took.
    """

    model_config = STRICT
    gpus: Annotated[float, PlainValidator(_gpus, json_schema_input_type=Gpus)] | None = None
    cpus: Annotated[int, Field(ge=1)] | None = None
    gpu_memory_gb: Annotated[float | str, PlainValidator(_gigabytes, json_schema_input_type=Gigabytes)] | None = None


class Checkpoint(BaseModel):
    """How often a trial saves what it needs to go on."""

    model_config = STRICT
    every_minutes: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 10.0


class BudgetSettings(BaseModel):
    """What a sweep may spend before it launches no more: trials started, its own hours, its trials' GPU hours."""

    model_config = STRICT
    trials: Annotated[int, Field(ge=1)] | None = None
    hours: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    gpu_hours: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


class RetryCause(StrEnum):
    """Causes of an attempt's end that a trial may be retried after; the words of `record.causes`."""

    KILLED = "killed"
    LOST = "lost"
    HUNG = "hung"
    OOM = "oom"
    CUDA_OOM = "cuda-oom"
    NOT_FOUND = "not-found"
    ERROR = "error"


class LaunchMode(StrEnum):
    """How a worker starts: as any command, or forked from a process that has imported what it imports."""

    SPAWN = "spawn"
    PRELOAD = "preload"


class RetrySettings(BaseModel):
    """After which causes of its end a trial is run again, how often, and after which pause, doubled each time."""

    model_config = STRICT
    max: Annotated[int, Field(ge=0, le=100)] = 2
    on: Annotated[tuple[Annotated[RetryCause, Field(strict=False)], ...], Field(strict=False)] = (
        RetryCause.KILLED,
        RetryCause.LOST,
        RetryCause.HUNG,
    )
    backoff_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0

    _distinct = field_validator("on")(without_repetition)


class FigureSettings(BaseModel):
    """How often the views draw a trial's figures, and how many layers they show; the first and the last always.

    TensorBoard has at most ``most_runs`` trials.
    """

    model_config = STRICT
    every_steps: Annotated[int, Field(ge=1)] = 30
    max_layers: Annotated[int, Field(ge=2)] = 75
    most_runs: Annotated[int, Field(ge=1)] = 500


def _listed(sources: object) -> object:
    return (sources,) if isinstance(sources, str) else sources


Text = Annotated[str, Field(min_length=1)]
ENVIRONMENT = re.compile(r"\$\{(\w+)\}")
"""How a webhook names a variable of the environment."""


class Happening(StrEnum):
    """What somebody may want to be told."""

    END = "end"
    FAILURE = "failure"
    PRUNE = "prune"
    BREAKER = "breaker"


class Notify(BaseModel):
    """Who is told what happens: a command, in whose words ``${text}`` stands for it, a webhook, or both.

    A webhook is a URL, or ``${NAME}`` for one that stands in the environment, where a secret belongs. After
    ``timeout_s`` nobody waits for either.
    """

    model_config = STRICT
    on: Annotated[
        tuple[Annotated[Happening, Field(strict=False)], ...],
        Field(strict=False, min_length=1),
        BeforeValidator(_listed),
    ] = (Happening.END, Happening.FAILURE, Happening.BREAKER)
    command: Annotated[tuple[Text, ...], Field(strict=False, min_length=1)] | None = None
    webhook: Text | None = None
    timeout_s: Annotated[float, Field(gt=0, le=600, allow_inf_nan=False)] = 10.0

    _distinct = field_validator("on")(without_repetition)

    @field_validator("webhook")
    @classmethod
    def _is_a_url(cls, webhook: str | None) -> str | None:
        if webhook is not None and not (webhook.startswith(("http://", "https://")) or ENVIRONMENT.match(webhook)):
            raise refused("a URL, http:// or https://, or ${NAME} of the environment", got="something else")
        return webhook


Sources = Annotated[tuple[Text, ...], Field(strict=False), BeforeValidator(_listed)]
"""Where data may come from, the first that can be had being used; empty leaves it to the trainer."""


class SweepSpec(BaseModel):
    """A sweep: one of ``trainer``, ``command`` and ``program``, what it is given, and when it is stopped."""

    model_config = STRICT
    name: str
    description: str = ""
    profile: str | None = None
    profile_description: str = ""
    trainer: str | None = None
    command: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] | None = None
    program: Text | None = None
    method: Annotated[Method, Field(strict=False)]
    metric: Metric
    parameters: Mapping[str, Parameter] = {}
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**32)], ...], Field(strict=False, min_length=1)] = (0,)
    run_cap: Annotated[int, Field(ge=1)] | None = None
    budget: BudgetSettings = BudgetSettings()
    dataset: Sources = ()
    tokenizer: Sources = ()
    early_stop: EarlyStop | None = None
    executor: Executor = Local()
    resources: Resources = Resources()
    launch: Annotated[LaunchMode, Field(strict=False)] = LaunchMode.SPAWN
    checkpoint: Checkpoint = Checkpoint()
    retry: RetrySettings = RetrySettings()
    hang_after_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    figures: FigureSettings = FigureSettings()
    notify: Notify | None = None

    _distinct = field_validator("seeds", "dataset", "tokenizer")(without_repetition)

    @field_validator("name")
    @classmethod
    def _is_a_path_component(cls, name: str) -> str:
        if not NAME.fullmatch(name):
            expected = "a name for a directory: letters, digits and . _ + = -, beginning with a letter or digit"
            raise refused(expected, hint=f"for example {as_name(name)}")
        if len(name.encode()) > LONGEST_NAME:
            raise refused(f"a name of at most {LONGEST_NAME} bytes", got=f"{len(name.encode())} bytes")
        return name

    def to_json(self) -> dict[str, Any]:
        """The spec as JSON-ready data; ``from_json`` gives an equal one back."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Self:
        """The spec that ``to_json`` was called on.

        Raises:
            RecordError: the data is not what ``to_json`` writes.
        """
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise RecordError(f"The resolved sweep cannot be understood: {error}") from error
