"""The models of a sweep file: `SweepSpec` and its sections, resolved and immutable.

The fields are in the order in which people read a sweep file. The docstrings are the descriptions in the JSON Schema.
Rules about several keys are in `config.check.consistency`: pydantic would not check them before each key is valid.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal, Self, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    field_validator,
    model_validator,
)

from sweeper.config.model.executors import Executor, Local
from sweeper.config.model.parameters import Parameter
from sweeper.config.model.population import DEFAULT_SIZE, Population, plain_turns
from sweeper.config.model.repair import MOST_REPAIRS, RepairNames, as_repair, as_written
from sweeper.config.model.resume import ResumeArgs
from sweeper.config.model.sources import AnySource
from sweeper.config.model.values import Given, without_repetition
from sweeper.errors import RecordError
from sweeper.mistakes import STRICT, refused, suggested
from sweeper.rules import Constraint, Objective, OnSpike
from sweeper.rules.conditions import Spike
from sweeper.rules.settings import AUTO, PRESET, RULES, Rules
from sweeper.rules.signals.metric_names import is_loss, score

NAME = re.compile(r"\w[\w.+=-]*")
LONGEST_NAME = 100
"""Maximum length in bytes. File systems allow 255 for a path component, and sweeper appends suffixes to the name."""


LONGEST_MADE = 64
"""Maximum length in bytes of a name that is made from other text."""


def as_name(text: str) -> str:
    """Return the text as a valid name of a sweep, which is the name of its directory.

    It is `my-sweep` for `my sweep!`, and `sweep` if nothing of the text is valid. A long text is cut, and ends with a
    checksum of all of it, so that texts with one beginning have different names.
    """
    if NAME.fullmatch(text) and len(text.encode()) <= LONGEST_MADE:
        return text
    near = re.sub(r"-{2,}", "-", re.sub(r"[^\w.+=-]+", "-", text)).strip(".+=-") or "sweep"
    if len(near.encode()) <= LONGEST_MADE:
        return near
    checksum = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]
    kept = near.encode()[: LONGEST_MADE - len(checksum) - 1].decode(errors="ignore")
    return f"{kept.rstrip('.+=-')}-{checksum}"


class Method(StrEnum):
    """How configurations are proposed, for example `method: tpe`. `bayes`, as W&B calls it, means `tpe`.

    `nsga2` and `nsga3` are genetic algorithms for several objectives. `pbt` trains a `population` in turns.
    """

    GRID = "grid"
    RANDOM = "random"
    BAYES = "bayes"
    TPE = "tpe"
    GP = "gp"
    CMAES = "cmaes"
    QMC = "qmc"
    NSGA2 = "nsga2"
    NSGA3 = "nsga3"
    PBT = "pbt"


LEARNING = (Method.BAYES, Method.TPE, Method.GP, Method.CMAES, Method.NSGA2, Method.NSGA3)
"""The methods that base their proposals on values."""


class Goal(StrEnum):
    """Whether lower or higher values of the metric are better."""

    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"


class At(StrEnum):
    """Which evaluation counts as the value of a trial: the best one, or the last one."""

    BEST = "best"
    LAST = "last"


class Impute(StrEnum):
    """The value that the search takes for a trial that failed because of its parameters.

    `worst` is the worst value of all trials so far. `best` and `latest` are the trial's own value, and the worst so far
    if it has none. With `off` such a trial is ignored unless it has a value.
    """

    WORST = "worst"
    BEST = "best"
    LATEST = "latest"
    OFF = "off"


def _off(given: object) -> object:
    return Impute.OFF if given is False else given


class Metric(BaseModel):
    """The metric that ranks the trials, for example `metric: {name: accuracy/test, goal: maximize}`.

    `name` is the name under which the training script reports it. `at` chooses the `best` or the `last` evaluation.
    `impute` chooses the value with which a trial counts in the search that failed because of its parameters.
    Once a trial has reached the value `target`, no more trials are started.
    """

    model_config = STRICT
    name: Annotated[str, Field(min_length=1)]
    goal: Annotated[Goal, Field(strict=False)] = Goal.MINIMIZE
    at: Annotated[At, Field(strict=False)] = At.BEST
    impute: Annotated[Impute, Field(strict=False), BeforeValidator(_off)] = Impute.WORST
    target: Annotated[float, Field(allow_inf_nan=False)] | None = None

    @property
    def objective(self) -> Objective:
        """The metric in the form that the rules take."""
        return Objective(name=self.name, maximize=self.goal is Goal.MAXIMIZE)


class ObjectiveSettings(BaseModel):
    """One of several objectives, for example `{name: latency_ms, goal: minimize}`.

    `name` is the name under which the training script reports it. The last step at which the script reported all
    objectives counts.
    """

    model_config = STRICT
    name: Annotated[str, Field(min_length=1)]
    goal: Annotated[Goal, Field(strict=False)] = Goal.MINIMIZE


class ConstraintSettings(BaseModel):
    """Bounds of a metric, for example `{name: memory_gb, max: 16}`.

    Trials within all bounds rank before all others, and the search avoids the others.
    """

    model_config = STRICT
    name: Annotated[str, Field(min_length=1)]
    min: Annotated[float, Field(allow_inf_nan=False)] | None = None
    max: Annotated[float, Field(allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _has_a_bound(self) -> Self:
        if self.min is None and self.max is None:
            raise refused("min, max, or both", got="neither", hint=f"for example {{name: {self.name}, max: 16}}")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise refused("a max that is not below min", got=f"min: {self.min:g} and max: {self.max:g}")
        return self


class Mode(StrEnum):
    """What happens when a rule fires: `act` stops the trial, `observe` only records the decision."""

    ACT = "act"
    OBSERVE = "observe"


class WatchMode(StrEnum):
    """How a script is watched that does not use sweeper: `auto` finds its optimizers, models, losses and metrics."""

    AUTO = "auto"


def _no_spikes(given: object) -> object:
    return OnSpike.OFF if given is False else given


class StopWhen(StrEnum):
    """When a successful trial may end early, as COMPLETE: `converged`, once its loss has stopped falling."""

    CONVERGED = "converged"


class EarlyStop(BaseModel):
    """The rules that may stop a trial early, for example `early_stop: auto`, or `early_stop: {rules: [{stalled: {}}]}`.

    `audit` is the share of stopped trials that continue anyway, to measure how often a rule is wrong. A rule with a
    false-stop rate above `most_false_prunes` is disabled. `keep_parked_gb` limits the disk space for the checkpoints
    of trials that were stopped early. With `stop_when: converged`, a trial also ends, as COMPLETE, once its loss has
    stopped falling.

    With `repair: auto`, a trial that a diagnosis stopped is tried again, from before it failed and with changed
    parameters. `max_repairs` limits the attempts, one after the other.

    Without `rules`, the preset `auto` applies: every diagnosis that stops a trial, with its defaults.
    """

    model_config = STRICT
    mode: Annotated[Mode, Field(strict=False)] = Mode.ACT
    audit: Annotated[float, Field(ge=0, le=1)] = 0.0
    most_false_prunes: Annotated[float, Field(gt=0, lt=1)] = 0.05
    keep_parked_gb: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    stop_when: Annotated[StopWhen, Field(strict=False)] | None = None
    repair: Annotated[RepairNames | None, BeforeValidator(as_repair), PlainSerializer(as_written)] = None
    max_repairs: Annotated[int, Field(ge=1, le=10)] = MOST_REPAIRS
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
    """Return what to write instead of a value of `early_stop` that is neither the preset nor a mapping."""
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
"""The value of `gpu_memory_gb` that stands for the measured peak of the first trials."""

LEAST_SHARE, MOST_GPUS = 0.001, 10_000


def _gpus(value: object) -> float:
    if type(value) not in (int, float) or not 0 <= (number := cast("float", value)) < MOST_GPUS:
        raise refused("a number of GPUs, such as 2 or 0.5")
    if number != int(number) and not LEAST_SHARE <= number < 1:
        raise refused(f"a whole number of GPUs, or a fraction from {LEAST_SHARE} to below 1")
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
    """The resources of one trial, for example `resources: {gpus: 1, cpus: 4}`. Unset values are left to the executor.

    `gpus` is a whole number, or a fraction such as 0.5, so that trials share a GPU. `gpu_memory_gb` is the memory of a
    trial on its GPU in 10^9 bytes, or `measured`: trials then share GPUs by the measured peak memory of the first ones.
    """

    model_config = STRICT
    gpus: Annotated[float, PlainValidator(_gpus, json_schema_input_type=Gpus)] | None = None
    cpus: Annotated[int, Field(ge=1)] | None = None
    gpu_memory_gb: Annotated[float | str, PlainValidator(_gigabytes, json_schema_input_type=Gigabytes)] | None = None


class Checkpoint(BaseModel):
    """How often a trial saves a checkpoint, for example `checkpoint: {every_minutes: 5}`, and how many are kept.

    With `every_steps`, a checkpoint is also due after so many optimizer steps. The newest two are kept, and
    `keep_healthy` older ones, the denser the newer they are: a trial can be derived from one that was saved before the
    training went wrong.
    """

    model_config = STRICT
    every_minutes: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 10.0
    every_steps: Annotated[int, Field(ge=1)] | None = None
    keep_healthy: Annotated[int, Field(ge=0, le=100)] = 0


class BudgetSettings(BaseModel):
    """The limits of a sweep, for example `budget: {trials: 50, hours: 12}`. At a limit, no more trials are started.

    `trials` counts started trials, `hours` the sweep's own running time, `gpu_hours` the GPU time of all trials.
    """

    model_config = STRICT
    trials: Annotated[int, Field(ge=1)] | None = None
    hours: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    gpu_hours: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


class RetryCause(StrEnum):
    """The causes of failure after which a trial can be retried. The values are those of `record.causes`."""

    KILLED = "killed"
    LOST = "lost"
    HUNG = "hung"
    OOM = "oom"
    CUDA_OOM = "cuda-oom"
    NOT_FOUND = "not-found"
    ERROR = "error"


class LaunchMode(StrEnum):
    """How a worker starts: `spawn` runs the command, `preload` forks a process that already has its imports."""

    SPAWN = "spawn"
    PRELOAD = "preload"


class RetrySettings(BaseModel):
    """Which failed trials are retried, for example `retry: {max: 3, on: [killed, lost, oom]}`.

    `max` is the number of retries of one trial, `on` the causes of failure. The first retry waits `backoff_s` seconds,
    and each further one twice as long.
    """

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
    """The figures in TensorBoard, for example `figures: {every_steps: 100, max_layers: 40}`.

    A trial's figures are drawn every `every_steps` steps and show at most `max_layers` layers, always with the first
    and the last. TensorBoard shows at most `most_runs` trials.
    """

    model_config = STRICT
    every_steps: Annotated[int, Field(ge=1)] = 30
    max_layers: Annotated[int, Field(ge=2)] = 75
    most_runs: Annotated[int, Field(ge=1)] = 500


def _listed(sources: object) -> object:
    return (sources,) if isinstance(sources, str) else sources


Text = Annotated[str, Field(min_length=1)]
ENVIRONMENT = re.compile(r"\$\{(\w+)\}")
"""A reference to an environment variable in a webhook: `${NAME}`."""


class Happening(StrEnum):
    """What notifications are sent for: the end of the sweep, a failed trial, a stopped trial, or a disabled rule."""

    END = "end"
    FAILURE = "failure"
    PRUNE = "prune"
    BREAKER = "breaker"


class Notify(BaseModel):
    """Notifications by a command, a webhook, or both, for example `notify: {command: [notify-send, "${text}"]}`.

    `on` lists the events. In `command`, `${text}` stands for the message. `webhook` is a URL, or `${NAME}` for an
    environment variable with the URL, so that it stays secret. Both are given up after `timeout_s` seconds.
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
            expected = "a URL that begins with http:// or https://, or ${NAME} for an environment variable"
            raise refused(expected, got="something else")  # not the value: it may be a secret
        return webhook


Sources = Annotated[tuple[Text, ...], Field(strict=False), BeforeValidator(_listed)]
"""Names of data sources. The first available one is used. If there are none, the trainer chooses."""


class SweepSpec(BaseModel):
    """A sweep: what to run (one of `trainer`, `command` and `program`), its parameters, and how trials are searched.

    The shortest example: `{program: train.py, method: grid, parameters: {lr: {values: [1e-4, 3e-4]}}}`.
    """

    model_config = STRICT
    name: str
    title: str = ""
    description: str = ""
    profile: str | None = None
    profile_description: str = ""
    nesting: Mapping[str, Annotated[tuple[str, ...], Field(strict=False)]] | None = None
    trainer: str | None = None
    command: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] | None = None
    program: Text | None = None
    resume_args: ResumeArgs | None = None
    method: Annotated[Method, Field(strict=False)]
    population_size: Annotated[int, Field(ge=2)] | None = None
    population: Population | None = None
    metric: Metric
    objectives: Annotated[tuple[ObjectiveSettings, ...], Field(strict=False)] = ()
    constraints: Annotated[tuple[ConstraintSettings, ...], Field(strict=False)] = ()
    metrics: Mapping[Text, AnySource] = {}
    parameters: Mapping[str, Parameter] = {}
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**32)], ...], Field(strict=False, min_length=1)] = (0,)
    start_with: Annotated[tuple[Mapping[str, Given], ...], Field(strict=False)] = ()
    learn_from: Annotated[tuple[Text, ...], Field(strict=False), BeforeValidator(_listed)] = ()
    run_cap: Annotated[int, Field(ge=1)] | None = None
    budget: BudgetSettings = BudgetSettings()
    dataset: Sources = ()
    tokenizer: Sources = ()
    early_stop: EarlyStop | None = None
    on_spike: Annotated[OnSpike, Field(strict=False), BeforeValidator(_no_spikes)] = OnSpike.RECORD
    executor: Executor = Local()
    resources: Resources = Resources()
    watch: Annotated[WatchMode, Field(strict=False)] | None = None
    launch: Annotated[LaunchMode, Field(strict=False)] = LaunchMode.SPAWN
    checkpoint: Checkpoint = Checkpoint()
    retry: RetrySettings = RetrySettings()
    hang_after_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    output_limit_mb: Annotated[float, Field(ge=1, allow_inf_nan=False)] | None = 100.0
    figures: FigureSettings = FigureSettings()
    notify: Notify | None = None

    _distinct = field_validator("seeds", "learn_from", "dataset", "tokenizer")(without_repetition)

    @model_validator(mode="before")
    @classmethod
    def _takes_the_first_objective_as_metric(cls, given: object) -> object:
        if not isinstance(given, Mapping) or "objectives" not in given or "metric" in given:
            return given
        objectives = given["objectives"]
        first = objectives[0] if isinstance(objectives, list | tuple) and objectives else None
        name, goal = (first.get("name"), first.get("goal")) if isinstance(first, Mapping) else (None, None)
        # Of an objective that is not valid, the mistakes are reported once, where it is.
        return dict(given) | {
            "metric": {
                "name": name if isinstance(name, str) and name else "objective",
                "goal": goal if goal in list(Goal) else Goal.MINIMIZE,
                "at": At.LAST,
            }
        }

    @model_validator(mode="before")
    @classmethod
    def _ends_with_the_last_turn(cls, given: object) -> object:
        if not isinstance(given, Mapping) or given.get("method") != Method.PBT or given.get("run_cap") is not None:
            return given
        turns = plain_turns(given.get("population"))
        size = given.get("population_size") or DEFAULT_SIZE
        return {**given, "run_cap": turns * size} if turns and isinstance(size, int) else given

    @model_validator(mode="before")
    @classmethod
    def _stops_at_a_spike_to_rewind(cls, given: object) -> object:
        """Add the rule `spike` to the rules, so that a trial that is to be rewound is stopped as by any other rule."""
        if not isinstance(given, Mapping) or given.get("on_spike") != OnSpike.REWIND:
            return given
        rules = given.get("early_stop")
        try:
            early_stop = EarlyStop(rules=()) if rules is None else EarlyStop.model_validate(rules)
        except ValidationError:  # its mistakes are reported where it is
            return given
        if any(rule.name == Spike.name for rule in early_stop.rules):
            return given
        return {**given, "early_stop": early_stop.model_copy(update={"rules": (*early_stop.rules, Spike())})}

    @property
    def goals(self) -> tuple[Objective, ...]:
        """The objectives; where there is one, that of `metric`."""
        several = tuple(Objective(name=one.name, maximize=one.goal is Goal.MAXIMIZE) for one in self.objectives)
        return several or (self.metric.objective,)

    @property
    def bounds(self) -> tuple[Constraint, ...]:
        """The constraints in the form that the record has."""
        return tuple(Constraint(name=one.name, min=one.min, max=one.max) for one in self.constraints)

    @property
    def most_configurations(self) -> int | None:
        """The number of configurations that `run_cap` allows, each with all of its seeds; None without a `run_cap`."""
        return None if self.run_cap is None else -(-self.run_cap // len(self.seeds))

    @property
    def most_trials(self) -> int | None:
        """The number of trials that `run_cap` allows: whole configurations, so it is rounded up to all of the seeds."""
        most = self.most_configurations
        return None if most is None else most * len(self.seeds)

    @property
    def score(self) -> Objective | None:
        """The objective by which the diagnoses see whether a trial learns: the first that is a loss or a score by name.

        None if several objectives are none, such as a latency: the diagnoses then choose from what is reported.
        """
        if not self.objectives:
            return self.metric.objective
        return next((one for one in self.goals if is_loss(one.name) or score([one.name])), None)

    @field_validator("name")
    @classmethod
    def _is_a_path_component(cls, name: str) -> str:
        if not NAME.fullmatch(name):
            expected = "a name of letters, digits and . _ + = - that begins with a letter or digit"
            raise refused(expected, hint=f"for example {as_name(name)}")
        if len(name.encode()) > LONGEST_NAME:
            raise refused(f"a name of at most {LONGEST_NAME} bytes", got=f"{len(name.encode())} bytes")
        return name

    def to_json(self) -> dict[str, Any]:
        """Return the spec as JSON-ready data, from which `from_json` makes an equal spec."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Self:
        """Return the spec that `to_json` was called on.

        Raises:
            RecordError: the data does not come from `to_json`.
        """
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise RecordError(f"The recorded sweep is not valid, so it cannot be read: {error}") from error
