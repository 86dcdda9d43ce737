"""Sparklines of a trial's loss and reach, from a few samples of its record.

A record is sampled at evenly spaced byte positions, so a long record costs no more than a short one. It is sampled
again once it has grown by 1/`GROWN`, because the table is drawn four times per second.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sweeper.record.events import Collected, Event, Metrics, Observation
from sweeper.record.storage import confined
from sweeper.record.storage.codec import decode
from sweeper.record.trial import TrialRecord
from sweeper.rules.signals.metric_names import training_loss

SAMPLES = 32
CHUNK = 4096
"""Bytes read at each position."""
GROWN = 32
BARS = "▁▂▃▄▅▆▇█"
NOT_FINITE = "!"
REACH = (1e-5, 1.0)
"""The logarithmic scale of reach, the same for all trials."""

Points = Sequence[tuple[int, float]]
"""Ascending steps, and the values at these steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SparklineData:
    """The sampled loss and reach of a trial."""

    loss: Points = ()
    reach: Points = ()


@dataclass(slots=True)
class SparklineCache:
    """The samples of trials, kept until their records have grown."""

    _known: dict[int, tuple[tuple[int, bool], int, SparklineData]] = field(default_factory=dict)

    def of(self, trials: Iterable[TrialRecord]) -> Mapping[int, SparklineData]:
        """Return the samples by trial number, for launched trials that are not damaged: lines are not checked."""
        return {trial.facts.number: self._of(trial) for trial in trials if trial.attempts and not trial.altered}

    def _of(self, trial: TrialRecord) -> SparklineData:
        number, stage, size = (
            trial.facts.number,
            (trial.newest.number, trial.state.ended),
            _size(trial.attempt_dir.events) + _size(trial.directory.control),
        )
        known = self._known.get(number)
        if known is None or known[0] != stage or size > known[1] * (1 + 1 / GROWN):
            known = self._known[number] = (stage, size, sampled(trial))
        return known[2]


def sampled(trial: TrialRecord) -> SparklineData:
    """Sample a trial over all its attempts; each attempt is used up to the step at which a later one began."""
    name, loss, reach = loss_name(trial), dict[int, float](), dict[int, float]()
    collected = [
        event for event in _samples(trial.directory.control, name, [Collected]) if isinstance(event, Collected)
    ]
    for attempt in trial.attempts:
        new_loss, new_reach = dict[int, float](), dict[int, float]()
        own = _samples(trial.directory.attempt(attempt.number).events, name, [Metrics, Observation])
        for event in (*own, *(one for one in collected if one.attempt == attempt.number)):
            if isinstance(event, Metrics | Collected) and name is not None:
                new_loss[event.step] = event.values[name]
            elif isinstance(event, Observation):
                new_reach[event.step] = event.reach
        loss, reach = _superseded(loss, new_loss), _superseded(reach, new_reach)
    return SparklineData(loss=tuple(sorted(loss.items())), reach=tuple(sorted(reach.items())))


def loss_name(trial: TrialRecord) -> str | None:
    """Return the metric shown as the loss: the one that the diagnoses read, or the first with "loss" in its name."""
    metrics = trial.progress.metrics
    return training_loss(metrics) or next((name for name in metrics if "loss" in name.lower()), None)


def can_draw(encoding: str) -> bool:
    """Return whether an encoding has the bar characters."""
    try:
        BARS.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def spark(points: Points, width: int, low: float, high: float) -> str:
    """Return the points as `width` bars on a scale from `low` to `high`; empty without points.

    Each bar covers an equal number of steps. A bar without a sample repeats the bar before it.
    """
    if not points or width < 1:
        return ""
    first, last = points[0][0], points[-1][0]
    bars = [""] * width
    for step, value in points:
        bars[(step - first) * width // (last - first + 1)] = _bar(value, low, high)
    for index in range(1, width):
        bars[index] = bars[index] or bars[index - 1]
    return "".join(bars)


def loss_sparks(curves: Sequence[SparklineData], width: int) -> list[str]:
    """Return a sparkline per trial, on one scale: from the lowest loss of all to the highest first loss."""
    finite = [value for curve in curves for _, value in curve.loss if math.isfinite(value)]
    starts = [curve.loss[0][1] for curve in curves if curve.loss and math.isfinite(curve.loss[0][1])]
    low, high = min(finite, default=0.0), max(starts, default=1.0)
    return [spark(curve.loss, width, low, high if high > low else low + 1) for curve in curves]


def reach_sparks(curves: Sequence[SparklineData], width: int) -> list[str]:
    """Return a sparkline per trial, on the scale of `REACH`."""
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


def _samples(path: Path, loss: str | None, kinds: Sequence[type[Event]]) -> Iterator[Event]:
    """Yield the first event of each kind after each sampled position of a journal, and the last ones.

    Metrics without the loss do not count.
    """
    try:
        with confined.reading(path) as file:
            size = os.fstat(file.fileno()).st_size
            lines: Sequence[bytes] = ()
            for place in sorted({*(size * i // SAMPLES for i in range(SAMPLES)), max(0, size - CHUNK)}):
                file.seek(place)
                lines = file.read(CHUNK).split(b"\n")[bool(place) : -1]
                yield from _firsts(lines, loss, kinds)
            yield from _firsts(reversed(lines), loss, kinds)
    except OSError:
        return


def _firsts(lines: Iterable[bytes], loss: str | None, kinds: Sequence[type[Event]]) -> Iterator[Event]:
    wanted = {kind: kind is Observation or loss is not None for kind in kinds}
    for line in lines:
        if not any(wanted.values()):
            return
        event = _event(line)
        if event is not None and wanted.get(type(event)) and (isinstance(event, Observation) or _has(event, loss)):
            wanted[type(event)] = False
            yield event


def _has(event: Event, loss: str | None) -> bool:
    return isinstance(event, Metrics | Collected) and loss in event.values


def _event(line: bytes) -> Event | None:
    if not line.startswith((b'{"event":"Metrics"', b'{"event":"Observation"', b'{"event":"Collected"')):
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
