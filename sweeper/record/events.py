"""The events of a record as frozen dataclasses; `record.storage.codec` reads and writes them as JSON lines."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from sweeper.record.decision import Decision
from sweeper.record.derivation import Derivation

FORMAT = 3
"""The version of the format.

Format 1 has other names for some events and keys (`storage.codec.RENAMED`). Formats 1 and 2 have no checksums
(`storage.checksums`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """The base class of all events; `time` is the writer's wall clock in seconds since the epoch."""

    time: float = 0.0


# ---- written by the worker, to events.jsonl ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(Event):
    """The training script opened its trial; its attempt supersedes every earlier one.

    `attempt` is 0 in records of early versions, which lack it.
    """

    pid: int
    host: str
    attempt: int = 0
    format: int = FORMAT


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed(Event):
    """The script loaded the checkpoint of `step`: the events of earlier attempts up to that step are valid again."""

    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(Event):
    """The schedule of the script: the total number of optimizer steps and the highest learning rate.

    `uncorrected` are the two betas of an Adam without bias correction: its first steps are larger.
    """

    total_steps: int
    peak_lr: float | None = None
    uncorrected: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters(Event):
    """The parameters that `watch` found in the model, counted in entries.

    `trained` entries require a gradient and belong to an optimizer, `frozen` ones require none, `unowned` ones require
    a gradient and belong to no optimizer; `names` are the first few tensors of those. `foreign` entries belong to an
    optimizer but not to the model. `resolution` is the largest relative spacing of a number in a trained tensor:
    1.2e-7 in float32, 7.8e-3 in bfloat16.
    """

    trained: int
    frozen: int = 0
    unowned: int = 0
    foreign: int = 0
    resolution: float = math.nan
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Watching(Event):
    """The columns of the side file `layers.f32`, one row an observation.

    `tensors[i]` has `sizes[i]` entries and belongs to layer `layer_of[i]` of `layers` (-1: watched, but in no layer).
    A row holds the value of each of `statistics` for each tensor, tensor by tensor, and then that of each of
    `activations` for each layer. `statistics` is all of `STATISTICS` in `record.values.depth_profile`, or `grad_norm`
    alone where only reach is watched; `activations` is all of `ACTIVATIONS` there, or empty where none are recorded.

    `networks[i]` is the network of layer `i`. Layers of one network feed each other; the actor and the critic of a
    policy, or a generator and a discriminator, are two networks. Records of early versions lack it; there, all layers
    count as one network.
    """

    layers: tuple[str, ...]
    tensors: tuple[str, ...]
    sizes: tuple[int, ...]
    layer_of: tuple[int, ...]
    statistics: tuple[str, ...]
    every: int
    left_out: Mapping[str, str] = field(default_factory=dict)
    networks: tuple[int, ...] = ()
    activations: tuple[str, ...] = ()

    @property
    def of_tensors(self) -> int:
        """The number of values in a row that belong to tensors; they come first."""
        return len(self.tensors) * len(self.statistics)

    @property
    def row_width(self) -> int:
        """The number of values in a row."""
        return self.of_tensors + len(self.layers) * len(self.activations)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation(Event):
    """One observation of gradients and updates; the per-tensor values are row `row` of the side file.

    `reach` is dimensionless (see `record.values.depth_profile`); `clipped` tells whether the gradients were measured
    after clipping. `reaches` is the first layer that the gradient still reaches, 0 where it reaches all, -1 where that
    is undefined.
    `update_ratio` is the median over the tensors that had a gradient, `gradient_norm` the Euclidean norm over all of
    them, `gradient_zero` the largest share of entries that are exactly 0 in a layer. `skipped` counts the steps since
    the last observation, including this one, that were skipped: `withheld` of them because of a spike (see `Spiked`),
    the others by a gradient scaler, because a gradient was not finite.

    Of the watched tensors, `missing` had no gradient, and `not_finite` had a gradient or weights that are not finite;
    both are -1 in records of early versions, which lack them. `gradient_norm` leaves out tensors without a gradient.
    With several networks, `reach` is the smallest of theirs. `activations` are summaries over the layers, by the
    names in `record.values.depth_profile.SUMMARIES`; empty where no activations were recorded. `weights` are summaries
    over the watched tensors, by the names in `record.values.depth_profile.WEIGHTS`; empty in records of early versions.
    `row_crc` is the CRC-32 of the bytes of the row, -1 in records of formats 1 and 2.
    """

    step: int
    row: int
    reach: float
    update_ratio: float
    learning_rate: float
    clipped: bool = True
    skipped: int = 0
    reaches: int = -1
    gradient_norm: float = math.nan
    gradient_zero: float = math.nan
    missing: int = -1
    not_finite: int = -1
    activations: Mapping[str, float] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    row_crc: int = -1
    withheld: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics(Event):
    """Scalars that the script reported at a step."""

    step: int
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpointed(Event):
    """The state after `step` is saved in `file`, below the trial's `checkpoints/`.

    `points_to` is the path of a library's own checkpoint, from the trial's directory, if `file` only points to it.
    """

    step: int
    file: str
    points_to: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted(Event):
    """A message for the user, recorded once."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Spiked(Event):
    """The training loss or the gradient norm of a step was far above the recent ones, or not finite.

    `name` is what was far out: the name of a loss, or `gradient_norm`. `centre`, `scale` and `z` are as in
    `record.values.outliers.Outlier`. `action` is what was done: `skip`, if the step was skipped; `record`; or `rewind`,
    which asks the rule `spike` to stop the trial.

    `count` is the number of spikes that the event stands for: itself, and those since the event before that were not
    recorded one by one. `skipped` of these steps were skipped.
    """

    step: int
    name: str
    value: float
    centre: float
    scale: float
    z: float
    action: str = "record"
    count: int = 1
    skipped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Inferred(Event):
    """What `watch: auto` has found in a script that does not use sweeper.

    `kind` is `optimizers` or `models`, with `names` such as ``opt (SGD)``; `trainer`, if sweeper's callback watches and
    stops the training of a library; or the function of a library that logged metrics, such as `wandb.log`, with `names`
    of metrics that it had not logged before.
    """

    kind: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished(Event):
    """The script closed its trial: `completed`, `stopped` (on request) or `failed` (an exception, in `error`).

    `cause` is `cuda-oom` where the exception reports that a device ran out of memory; otherwise empty. With CUDA
    in use, `peak_device_mb` is the highest amount that torch had allocated on the current device, in MiB.
    """

    outcome: str
    error: str = ""
    cause: str = ""
    peak_device_mb: float | None = None


# ---- written by the orchestrator, to control.jsonl ---------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched(Event):
    """Attempt `attempt` is about to be started on `slot`; on disk before the process is started.

    `gpus` is the number of its devices, below 1 a share of one; None in records of early versions, which lack it.
    """

    attempt: int
    slot: str
    gpus: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured(Event):
    """The highest device memory of an attempt that had the device to itself, in MiB."""

    attempt: int
    device_peak_mb: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected(Event):
    """Values that the orchestrator read from what an attempt wrote or printed, by `metrics` in the sweep file.

    In the history they are `Metrics`, after the first `after` events of the attempt, which had been read by then. They
    come from `file`, relative to the trial's directory, which is read up to byte `offset`. `mark` is a checksum of the
    bytes before it, by which a replaced file is recognized.
    """

    attempt: int
    step: int
    values: Mapping[str, float]
    file: str
    offset: int
    mark: int = 0
    after: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Noticed(Event):
    """What the orchestrator found where it looked for metrics: `place` is a kind of source and its files.

    `names` are tags, keys or columns with a number that were found there for the first time. `problem` is why a value
    of `metric` could not be read; empty if there is none.
    """

    attempt: int
    place: str
    names: tuple[str, ...] = ()
    metric: str = ""
    problem: str = ""


PRUNED, CONVERGED, INTERRUPTED = "pruned", "converged", "interrupted"
"""Causes of a stop: a decision, the decision that nothing is left to gain, and an interrupt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRequested(Event):
    """The attempt is about to be asked to stop; `decision` is the reason where `cause` is `PRUNED` or `CONVERGED`.

    Where a person stops a trial that is not running, `attempt` is its newest, 0 where none was launched.
    """

    attempt: int
    cause: str
    decision: Decision | None = None

    @property
    def by_person(self) -> bool:
        """Whether a person decided on the stop."""
        return self.decision is not None and self.decision.by_person


OBSERVED, AUDITED, BREAKER, REVIVED = "observed", "audited", "breaker", "revived"
"""Causes for which a flagged trial continues: rules only observe, it was drawn for the audit, the rule was disabled
because it is known to be wrong too often, or a person had revived the trial."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Continued(Event):
    """A rule decided to stop the trial, but the trial continues: `cause` is why, `value` its value at that moment.

    With several objectives, `values` has the value of each at that moment, by name, and with constraints that of each
    metric with bounds.
    """

    attempt: int
    cause: str
    decision: Decision
    value: float | None = None
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotRepaired(Event):
    """A trial that a diagnosis stopped is not tried again, and why: no change of a parameter would help."""

    attempt: int
    diagnosis: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosed(Event):
    """A diagnosis began to hold at `step`, and had held since step `since`; or it ended at `step` (`holds` is False).

    `diagnosis` is the name of a class in `rules.diagnoses`. `reason` and `evidence` are set where it began.
    """

    attempt: int
    diagnosis: str
    step: int
    since: int
    holds: bool
    reason: str = ""
    evidence: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class KillSent(Event):
    """The attempt did not end within the grace period and is about to be killed."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost(Event):
    """The attempt holds no lease and left no exit: its processes are gone."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Abandoned(Event):
    """The orchestrator is about to kill the attempt for a cause that its exit will not show.

    `cause` is `hung`, or `lost` where the attempt's device is lost; `reason` explains it.
    """

    attempt: int
    cause: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryGranted(Event):
    """A failed trial may be retried after `attempt`."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Revived(Event):
    """A person revived the trial: it continues even if `attempt` was pruned, and no rule stops it again."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused(Event):
    """A person paused the trial: no attempt is launched after `attempt` until it is unpaused or revived."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpaused(Event):
    """A person resumed the paused trial after `attempt`."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepStarted(Event):
    """An orchestrator started to run the sweep (in log.jsonl)."""

    pid: int
    host: str
    profile: str
    slots: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepEnded(Event):
    """The orchestrator ended: `complete`, `failed`, `spent` (the budget) or `interrupted` (in log.jsonl)."""

    outcome: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPaused(Event):
    """A person paused the sweep: no trial runs until it is resumed or the orchestrator ends (in log.jsonl)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepResumed(Event):
    """A person resumed the paused sweep (in log.jsonl)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskFilling(Event):
    """The disk of the run fills up: `free_gb` in 10^9 bytes, and how long it will last at this pace (in log.jsonl).

    `seconds_left` is infinite if little is left, but it does not become less.
    """

    free_gb: float
    seconds_left: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepWaiting(Event):
    """Trials wait although the sweep has free slots, or no longer do so (in log.jsonl).

    Attributes:
        since: since when they wait, in seconds since the epoch.
        reasons: what they wait for, for users; empty if they no longer wait.
        sweeps: the directories of the other sweeps among these.
    """

    since: float
    reasons: tuple[str, ...]
    sweeps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferred(Event):
    """A person moved these trials to the front of the queue, in this order (in log.jsonl)."""

    trials: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandGiven(Event):
    """A person or an agent gave a command, which is carried out next (in log.jsonl).

    `do` is the command: `stop`, `pause`, `resume`, `revive`, `first`, `add`, `derive` or `run`. `trials` are the trials
    that it is for; empty for the whole sweep. `by` is who gave it, and `because` why; both may be empty. `params` are
    those of a configuration that is added, or the changes of a derived trial.
    """

    do: str
    trials: tuple[int, ...] = ()
    by: str = ""
    because: str = ""
    params: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecTaken(Event):
    """Additions to the sweep file were taken over (in log.jsonl)."""

    additions: tuple[str, ...]


# ---- written by the search, to search.jsonl -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked(Event):
    """The search proposed `params` as configuration `configuration`.

    `attributes` are the sampler's own, which it needs to continue: what CMA-ES was told, the position of QMC in its
    sequence. Those of early versions contain a pickle, which is not read. `start` is the entry of `start_with` from
    which the configuration was made. `derived` says from which trial a member of a population continues, and `until`
    after how many optimizer steps its turn is over.
    """

    configuration: int
    params: Mapping[str, object]
    attributes: Mapping[str, object] = field(default_factory=dict)
    start: Mapping[str, object] | None = None
    derived: Derivation | None = None
    until: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedConfiguration:
    """A configuration of another run: its number there, and its result as in `Told`.

    `failed` is the share of its trials that failed because of their parameters.
    """

    configuration: int
    params: Mapping[str, object]
    state: str
    value: float | None
    step: int | None = None
    failed: float = 0.0
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned(Event):
    """The search was told the configurations of another run that had ended.

    From here on the other run is not needed any more. `run` is the entry of `learn_from`. `left_out` counts the
    configurations that were not told, by the reason.
    """

    run: str
    configurations: tuple[LearnedConfiguration, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told(Event):
    """The search received the result of a configuration; `value` is None where nothing was measured.

    `step` is the optimizer step of the last evaluation. `why` is set if its parameters made trials of it fail: the
    causes, the rules that stopped them, or that no value was finite. `imputed` is the value that the configuration then
    counted with at that moment; `Imputed` has later ones.

    With several objectives, `values` has the value of each, and `imputed_values` those that it counted with; `value` is
    then the first. `violations` has for each bound of the constraints by how much it was missed: 0 or less inside.
    """

    configuration: int
    state: str
    value: float | None
    step: int | None = None
    imputed: float | None = None
    why: str = ""
    values: Mapping[str, float] = field(default_factory=dict)
    imputed_values: Mapping[str, float] = field(default_factory=dict)
    violations: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Imputed(Event):
    """From here on, trials that failed because of their parameters count with `value`, the worst so far.

    With several objectives, `values` has the worst of each, and `value` is the first. `violations` has the largest so
    far of each bound of the constraints.
    """

    value: float
    values: Mapping[str, float] = field(default_factory=dict)
    violations: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated(Event):
    """The pruners received a value of a trial: its evaluation number `evaluation`, from 1, at an optimizer step.

    Trials report concurrently. The decisions of a pruner depend on the order of the values, which is the order of these
    lines.
    """

    trial: int
    evaluation: int
    step: int
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed(Event):
    """The pruners were told that a trial ended, stopped by a decision (`pruned`) or by itself; no value follows."""

    trial: int
    pruned: bool


# ---- written by the shim, as exit.json ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputCut(Event):
    """The bytes from `begin` to `end` of the attempt's output were removed, because it became too long.

    Written by the shim, to `output-cuts.jsonl`, before it removes them. The last one counts; all have the same `begin`.
    """

    begin: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit(Event):
    """The end of the attempt's process: exit `code` or `signal`, and peak resident memory in MiB.

    `cause` is what the parent process can tell (`record.causes`); empty after code 0. It is `cuda-oom` where a rank
    other than the first reported that, and `peak_device_mb` then belongs to that rank. `events_bytes` is the size of
    `events.jsonl` when the attempt ended, below which it never is again; -1 in records of formats 1 and 2. With
    `asked`, the parent process had got a signal to end it, from the orchestrator or from anybody else.
    """

    attempt: int
    code: int | None
    signal: int | None
    cause: str
    peak_memory_mb: float
    peak_device_mb: float | None = None
    events_bytes: int = -1
    asked: bool = False
