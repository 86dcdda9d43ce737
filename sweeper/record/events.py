"""What can be appended to a record, as frozen dataclasses, and their one-line JSON form.

Rules of the format:
1. One event a line: ``{"event": "Metrics", "time": 1.5, "step": 3, "values": {"loss": "nan"}}``.
2. ``time`` is the writer's wall clock in seconds since the epoch; nothing is decided by it.
3. NaN and the infinities are the strings ``"nan"``, ``"inf"``, ``"-inf"``: evidence that JSON has no word for.
4. A reader skips event names and keys that it does not know, so that an older reader survives a newer writer.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

FORMAT = 1

DAMAGE = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
"""What it can raise to take JSON apart that is not what we wrote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Anything that is appended; `time` is wall clock, seconds since the epoch."""

    time: float = 0.0


# ---- written by the worker, to events.jsonl ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(Event):
    """The training script opened its trial; from here on it supersedes every earlier attempt.

    `attempt` is 0 in records of before it was written.
    """

    pid: int
    host: str
    attempt: int = 0
    format: int = FORMAT


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed(Event):
    """The script took the checkpoint of `step`: what earlier attempts saw up to that step stands again."""

    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(Event):
    """What the script means to do: optimizer steps in all, and the highest learning rate of its schedule.

    `uncorrected` are the two betas of an Adam whose bias correction is left out, so that its first steps are larger.
    """

    total_steps: int
    peak_lr: float | None = None
    uncorrected: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters(Event):
    """What `watch` found in the model, counted in entries of its parameters.

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

    `tensors[i]` has `sizes[i]` entries and belongs to layer `layer_of[i]` of `layers` (-1: watched, but no layer).
    A row is the value of each of `statistics` for each tensor, tensor by tensor, and then that of each of `activations`
    for each layer. `statistics` is all of `record.profile.STATISTICS`, or `grad_norm` alone where only reach is
    watched; `activations` is all of `record.profile.ACTIVATIONS`, or empty where none are recorded.

    `networks[i]` says to which network layer `i` belongs. Layers of one network feed each other; the actor and the
    critic of a policy, or a generator and a discriminator, are two. Empty in records of before it was written, where
    all layers count as one network.
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
        """How many values of a row are of tensors; they come first."""
        return len(self.tensors) * len(self.statistics)

    @property
    def row_width(self) -> int:
        """How many values a row has."""
        return self.of_tensors + len(self.layers) * len(self.activations)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation(Event):
    """One look at gradients and updates; the per-tensor values are row `row` of the side file.

    `reach` is dimensionless (see `record.profile`); `clipped` says whether the gradients were taken after clipping.
    `reaches` is the first layer that the gradient still reaches, 0 where it reaches all, -1 where that is undefined.
    `update_ratio` is the median over the tensors that had a gradient, `gradient_norm` the Euclidean norm over all of
    them, `gradient_zero` the largest share of entries that are exactly 0 in a layer. `skipped` counts the steps since
    the last observation, this one included, that a gradient scaler left out because a gradient was not finite.

    Of the watched tensors, `missing` had no gradient, and `not_finite` had a gradient or weights that are not finite;
    both are -1 in records of before they were written. `gradient_norm` leaves out tensors without a gradient. Where the
    model is several networks, `reach` is the smallest of theirs. `activations` are summaries over the layers, by the
    names in `record.profile.SUMMARIES`; empty where no activations were recorded. `weights` are summaries over the
    watched tensors, by the names in `record.profile.WEIGHTS`; empty in records of before they were written.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics(Event):
    """Scalars that the script reported at a step."""

    step: int
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpointed(Event):
    """The state after `step` is safe in `file`, below the trial's `checkpoints/`."""

    step: int
    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted(Event):
    """Something a person should know, said once."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished(Event):
    """The script left its trial: `completed`, `stopped` (it was asked to) or `failed` (an exception, in `error`).

    `cause` is `cuda-oom` where the exception says that a device had no memory left; otherwise empty. With CUDA in use
    `peak_device_mb` is the most that torch had allocated on the current device, in MiB.
    """

    outcome: str
    error: str = ""
    cause: str = ""
    peak_device_mb: float | None = None


# ---- written by the orchestrator, to control.jsonl ---------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched(Event):
    """Attempt `attempt` is about to be started on `slot`; on disk before it is.

    `gpus` is how many devices it is given, below 1 a part of one that others may share; None in records of before it
    was written.
    """

    attempt: int
    slot: str
    gpus: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured(Event):
    """The attempt had a device to itself, and took at most so much of its memory, in MiB."""

    attempt: int
    device_peak_mb: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRequested(Event):
    """The attempt is about to be asked to stop: `pruned` or `converged` (then `decision` says why), or `interrupted`.

    Where a person ends a trial that does not run, `attempt` is its newest, 0 where none was launched.
    """

    attempt: int
    cause: str
    decision: Mapping[str, object] | None = None


PERSON = "a person"
"""What stands in a decision for its rule where a person made it."""

OBSERVED, AUDITED, BREAKER, REVIVED = "observed", "audited", "breaker", "revived"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condemned(Event):
    """A rule decided against the trial, and it is let run on.

    `spared` says why: rules only observe (`OBSERVED`), a coin fell so (`AUDITED`), the rule is known to be wrong too
    often (`BREAKER`), or the trial had been revived (`REVIVED`). `value` is the trial's at that moment.
    """

    attempt: int
    spared: str
    decision: Mapping[str, object]
    value: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosed(Event):
    """A diagnosis began to hold at `step`, and had held since step `since`; or it ended at `step` (`holds` is False).

    `diagnosis` is the name of a class of `rules.diagnoses`. Where it began, `reason` and `evidence` say why.
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
    """The attempt did not end within its grace and is about to be killed."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost(Event):
    """The attempt holds no lease and left no exit: nobody saw it end."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Abandoned(Event):
    """The attempt is given up and about to be killed, for a cause that its end will not show; `reason` in words.

    `cause` is `hung`, or `lost` where it is the attempt's device that is lost.
    """

    attempt: int
    cause: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryGranted(Event):
    """A failed trial may run again, after `attempt`."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Revived(Event):
    """A person wants the trial to go on whatever rules say, also where `attempt` was pruned; no rule stops it again."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Held(Event):
    """A person paused the trial: after `attempt` none is launched until it is released, or revived."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Released(Event):
    """A person lets the paused trial go on, after `attempt`."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepStarted(Event):
    """An orchestrator took the run (to log.jsonl)."""

    pid: int
    host: str
    profile: str
    slots: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepEnded(Event):
    """The orchestrator left the run: `complete`, `failed`, `spent` (its budget) or `interrupted` (to log.jsonl)."""

    outcome: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPaused(Event):
    """A person paused the sweep: nothing runs until it is resumed, or the orchestrator leaves (to log.jsonl)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepResumed(Event):
    """A person lets the paused sweep go on (to log.jsonl)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferred(Event):
    """A person wants these trials to be started before all others, in this order (to log.jsonl)."""

    trials: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecTaken(Event):
    """The sweep file changed in ways that only add, and was taken (to log.jsonl)."""

    additions: tuple[str, ...]


# ---- written by the search, to search.jsonl -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked(Event):
    """The search proposed `params` as configuration `configuration`.

    `attributes` is what the sampler attached to find it again, without which it would not go on as it began: the state
    of CMA-ES, the place in the sequence of QMC. A pickle is among them: read them from records of one's own only.
    """

    configuration: int
    params: Mapping[str, object]
    attributes: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told(Event):
    """The search was told how a configuration ended; `value` is None where nothing was measured.

    `step` is the last optimizer step at which it was evaluated.
    """

    configuration: int
    state: str
    value: float | None
    step: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated(Event):
    """The pruners were told a value of a trial: its evaluation `evaluation`, from 1, at an optimizer step.

    Trials tell concurrently. A pruner's verdicts depend on the order, and the order is that of these lines.
    """

    trial: int
    evaluation: int
    step: int
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed(Event):
    """The pruners were told that a trial ended, `pruned` or by itself; of its values they hear no more."""

    trial: int
    pruned: bool


# ---- written by the shim, as exit.json ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit(Event):
    """How the attempt's process ended: exit `code`, or the `signal` that ended it; peak resident memory in MiB.

    `cause` is what a parent can see of it (`record.causes`); empty after code 0. It is `cuda-oom` where a rank other
    than the first said so, and `peak_device_mb` is then of that rank.
    """

    attempt: int
    code: int | None
    signal: int | None
    cause: str
    peak_memory_mb: float
    peak_device_mb: float | None = None


# ---- the JSON form ------------------------------------------------------------------------------------------------


def encode(event: Event) -> bytes:
    """One line of JSON with its newline."""
    body: dict[str, object] = {"event": type(event).__name__}
    for name in event.__dataclass_fields__:
        body[name] = _explicit(getattr(event, name))
    return json.dumps(body, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def decode(line: bytes) -> Event | None:
    """The event of a line, or None for an event this version does not know.

    Raises:
        ValueError: the line is not an event: torn, edited, or not JSON.
    """
    try:
        return _event(_JSON.decode(line.decode()))
    except DAMAGE as error:
        message = f"not an event: {line[:80]!r} ({error})"
        raise ValueError(message) from error


def decode_all(lines: Sequence[bytes]) -> list[Event | None]:
    """What `decode` says of each of these lines, at less cost than one by one.

    Raises:
        ValueError: one of the lines is not an event.
    """
    try:
        # An array of arrays, a line each, so that two halves of an event are not read as one that is whole: no string
        # goes on past the newline, no object past "],[", and an array of arrays leaves fewer of them than lines.
        bodies = _JSON.decode((b"[[" + b"]\n,[".join(lines) + b"]]").decode()) if lines else []
        if len(bodies) != len(lines):
            raise ValueError("not as many events as lines")
        return [_event(body) for (body,) in bodies]
    except DAMAGE as error:
        raise ValueError(f"not an event in one of {len(lines)} lines ({error})") from error


def step_of(event: Event) -> int | None:
    """The optimizer step an event belongs to, None where it belongs to none."""
    return None if isinstance(event, Resumed) else getattr(event, "step", None)


def _explicit(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _explicit(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_explicit(item) for item in value]
    return value


def _event(body: Mapping[str, object]) -> Event | None:
    kind = _EVENTS.get(body["event"])  # type: ignore[call-overload]  # what is no string is no key
    if kind is None:
        return None
    event: Event = _BARE(kind)
    # A frozen dataclass asks its own __setattr__ for every field, so that its constructor takes twice as long.
    try:
        for name, plain, read, put in _READERS[kind]:
            value = body[name]
            put(event, value if type(value) is plain else read(value))
    except KeyError:  # of an older writer: the constructor knows what is meant then
        event = kind(**{name: read(body[name]) for name, _, read, _ in _READERS[kind] if name in body})
    return event


# Of the many events of many trials each field is read here: what is usual comes first, and without another call.


def _number(value: object) -> float:
    if type(value) is str or type(value) is float or type(value) is int:
        return float(value)
    raise _unlike("a number", value)


def _whole(value: object) -> object:
    """A whole number that 64 bits hold: no writer writes another, and no reader's arithmetic takes one."""
    if type(value) is int and _LEAST <= value <= _MOST:
        return value
    raise _unlike("int", value)


def _exactly(kind: type) -> Callable[[object], object]:
    def read(value: object) -> object:
        if isinstance(value, kind):
            return value
        raise _unlike(kind.__name__, value)

    return read


def _reader(hint: object) -> Callable[[object], Any]:
    """How a field of this type is read back from JSON."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is object:
        return lambda value: value
    if hint is float or hint is int:
        return _number if hint is float else _whole
    if origin is tuple:
        item, listed = _reader(arguments[0]), _exactly(list)
        return lambda value: tuple(map(item, listed(value)))  # type: ignore[call-overload]  # it is a list
    if origin is Mapping:
        return _mapping(_reader(arguments[1]), _PLAIN.get(arguments[1]))
    if origin is types.UnionType:
        inner = _reader(next(argument for argument in arguments if argument is not type(None)))
        return lambda value: None if value is None else inner(value)
    return _exactly(typing.cast("type", hint))


def _mapping(item: Callable[[object], object], plain: type | None) -> Callable[[object], object]:
    def read(value: object) -> object:
        if type(value) is dict:
            if {*map(type, value.values())} == {plain}:
                return value
            return {key: item(one) for key, one in value.items()}
        raise _unlike("dict", value)

    return read


def _unlike(what: str, value: object) -> TypeError:
    return TypeError(f"expected {what}, got {value!r}")


_LEAST, _MOST = -(2**63), 2**63 - 1
_JSON = json.JSONDecoder()
_BARE = object.__new__

_PLAIN: Mapping[object, type] = {float: float, str: str}
"""Types of which a value that is one needs no reading: most are, of the many events of many trials."""

# Event subclasses are looked up once here, so that a line costs two dictionary reads and no reflection.
_EVENTS: Mapping[str, type[Event]] = {kind.__name__: kind for kind in Event.__subclasses__()}
_HINTS: Mapping[type[Event], Mapping[str, object]] = {
    kind: typing.get_type_hints(kind, {**globals(), "Mapping": Mapping}) for kind in _EVENTS.values()
}
_READERS: Mapping[type[Event], Sequence[tuple[str, type | None, Callable[[object], Any], Callable[..., None]]]] = {
    kind: [
        (item.name, _PLAIN.get(hints[item.name]), _reader(hints[item.name]), getattr(kind, item.name).__set__)
        for item in dataclasses.fields(kind)
    ]
    for kind, hints in _HINTS.items()
}
