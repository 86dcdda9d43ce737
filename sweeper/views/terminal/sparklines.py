"""How loss and reach of a trial went, in a few characters, from a few samples of its record.

A record is sampled at places that are evenly spaced in its bytes, so that a long one costs no more than a short one,
and again once it has grown by a `GROWN`th: the table is drawn four times a second.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sweeper.record.events import Event, Metrics, Observation, decode
from sweeper.record.trial import Trial
from sweeper.rules.names import training_loss

SAMPLES = 32
CHUNK = 4096
"""Bytes that are read at each place."""
GROWN = 32
BARS = "▁▂▃▄▅▆▇█"
NOT_FINITE = "!"
REACH = (1e-5, 1.0)
"""The scale of reach, which is logarithmic, and the same for all."""

Points = Sequence[tuple[int, float]]
"""Steps, ascending, and the values there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """The sampled loss and reach of a trial."""

    loss: Points = ()
    reach: Points = ()


@dataclass(slots=True)
class Curves:
    """The curves of trials, kept until there is more to be seen."""

    _known: dict[int, tuple[tuple[int, bool], int, Curve]] = field(default_factory=dict)

    def of(self, trials: Iterable[Trial]) -> Mapping[int, Curve]:
        """By number, of those that were launched."""
        return {trial.facts.number: self._of(trial) for trial in trials if trial.control.launched}

    def _of(self, trial: Trial) -> Curve:
        number, stage, size = (
            trial.facts.number,
            (trial.control.attempt, trial.state.ended),
            _size(trial.attempt.events),
        )
        known = self._known.get(number)
        if known is None or known[0] != stage or size > known[1] * (1 + 1 / GROWN):
            known = self._known[number] = (stage, size, sampled(trial))
        return known[2]


def sampled(trial: Trial) -> Curve:
    """A trial's curve: of all its attempts, each standing up to the step where a later one began."""
    name, loss, reach = loss_name(trial), dict[int, float](), dict[int, float]()
    for attempt in sorted(trial.control.launched):
        new_loss, new_reach = dict[int, float](), dict[int, float]()
        for event in _samples(trial.directory.attempt(attempt).events, name):
            if isinstance(event, Metrics) and name is not None:
                new_loss[event.step] = event.values[name]
            elif isinstance(event, Observation):
                new_reach[event.step] = event.reach
        loss, reach = _superseded(loss, new_loss), _superseded(reach, new_reach)
    return Curve(loss=tuple(sorted(loss.items())), reach=tuple(sorted(reach.items())))


def loss_name(trial: Trial) -> str | None:
    """Return the metric that is shown as the loss: the one that diagnoses read, or the first that is named a loss."""
    metrics = trial.progress.metrics
    return training_loss(metrics) or next((name for name in metrics if "loss" in name.lower()), None)


def can_draw(encoding: str) -> bool:
    """Whether a terminal of this encoding has the characters."""
    try:
        BARS.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def spark(points: Points, width: int, low: float, high: float) -> str:
    """The points as bars from `low` to `high`, in `width` places of equal numbers of steps; empty without points."""
    if not points or width < 1:
        return ""
    first, last = points[0][0], points[-1][0]
    bars = [""] * width
    for step, value in points:
        bars[(step - first) * width // (last - first + 1)] = _bar(value, low, high)
    for place in range(1, width):  # where nothing was sampled, it is as it was
        bars[place] = bars[place] or bars[place - 1]
    return "".join(bars)


def loss_sparks(curves: Sequence[Curve], width: int) -> list[str]:
    """A spark a curve, all on one scale: from the lowest loss of any to the highest that any began with."""
    finite = [value for curve in curves for _, value in curve.loss if math.isfinite(value)]
    starts = [curve.loss[0][1] for curve in curves if curve.loss and math.isfinite(curve.loss[0][1])]
    low, high = min(finite, default=0.0), max(starts, default=1.0)
    return [spark(curve.loss, width, low, high if high > low else low + 1) for curve in curves]


def reach_sparks(curves: Sequence[Curve], width: int) -> list[str]:
    """A spark a curve, on the scale of `REACH`."""
    low, high = (math.log10(value) for value in REACH)
    return [spark([(s, _log(value)) for s, value in curve.reach], width, low, high) for curve in curves]


def _bar(value: float, low: float, high: float) -> str:
    if not math.isfinite(value):
        return NOT_FINITE
    share = min(1.0, max(0.0, (value - low) / (high - low)))
    return BARS[round(share * (len(BARS) - 1))]


def _log(value: float) -> float:
    return math.log10(max(value, REACH[0])) if math.isfinite(value) else value


def _superseded(earlier: Mapping[int, float], later: Mapping[int, float]) -> dict[int, float]:
    began = min(later, default=math.inf)
    return {step: value for step, value in earlier.items() if step < began} | dict(later)


def _samples(path: Path, loss: str | None) -> Iterator[Event]:
    """The first loss and the first observation behind each of some places in a journal, and the last ones of all."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            lines: Sequence[bytes] = ()
            for place in sorted({*(size * i // SAMPLES for i in range(SAMPLES)), max(0, size - CHUNK)}):
                file.seek(place)
                lines = file.read(CHUNK).split(b"\n")[bool(place) : -1]
                yield from _firsts(lines, loss)
            yield from _firsts(reversed(lines), loss)
    except OSError:
        return


def _firsts(lines: Iterable[bytes], loss: str | None) -> Iterator[Event]:
    wanted: dict[type[Event], bool] = {Metrics: loss is not None, Observation: True}
    for line in lines:
        if not any(wanted.values()):
            return
        event = _event(line)
        if event is not None and wanted.get(type(event)) and (isinstance(event, Observation) or _has(event, loss)):
            wanted[type(event)] = False
            yield event


def _has(event: Event, loss: str | None) -> bool:
    return isinstance(event, Metrics) and loss in event.values


def _event(line: bytes) -> Event | None:
    if not line.startswith((b'{"event":"Metrics"', b'{"event":"Observation"')):
        return None
    try:
        return decode(line)
    except ValueError:
        return None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
