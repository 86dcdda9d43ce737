"""Spikes: steps with a training loss or a gradient norm that is far above the recent ones; pure, apart from its memory.

The recorder passes on each reported training loss and each observed gradient norm, which costs nothing on the device.
If the script calls `Trial.guard`, its values are tested instead, because they are those of every step.

Neither the record nor the training suffers from endless spikes. The first `RECORDED_SINGLY` are recorded one by one,
and after that an event stands for as many as were found before it. A step is skipped only as long as less than
`MOST_IN_A_ROW` steps in a row, and less than `MOST_SHARE` of all guarded steps, were skipped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from sweeper.record.events import Event, Metrics, Noted, Observation, Spiked
from sweeper.record.on_spike import OnSpike
from sweeper.record.values.losses import is_trained_loss
from sweeper.record.values.outliers import MedianWindow, Outlier, OutlierTest

GRADIENT_NORM = "gradient_norm"
ELSEWHERE = "another rank"
"""The name of a spike that other ranks have found and this one has not."""
MOST_SERIES = 16
"""Maximum number of losses that are tested."""
RECORDED_SINGLY = 50
MOST_IN_A_ROW = 5
MOST_SHARE, FEWEST = 0.02, 5
"""At most this share of the steps is skipped, but always `FEWEST` of them."""
UNGUARDED = (
    "on_spike: skip: the step with a spike was not skipped, because it did not go through trial.guard(...). Only "
    "trial.guard, watch: auto with a loop of the script's own, and LightningCallback can skip a step"
)


class Spikes:
    """The spikes of one attempt.

    Attributes:
        action: what the sweep wants done.
        is_guarded: whether the script calls `Trial.guard`, so that reported values are not tested.
        exhausted: whether so many steps were skipped that no more are.
    """

    def __init__(self, action: OnSpike, test: Callable[[], OutlierTest] = MedianWindow) -> None:
        """Start without values.

        Args:
            action: what the sweep wants done.
            test: makes the test of one series of values.
        """
        self.action = action
        self.is_guarded = False
        self.exhausted = False
        self._make_test = test
        self._tests: dict[str, OutlierTest] = {}
        self._steps = self._skipped = self._in_a_row = 0
        self._found = 0
        self._newest_step = -1
        self._unrecorded: Spiked | None = None
        self._is_noted = False

    def worst(self, values: Mapping[str, float]) -> tuple[str, Outlier] | None:
        """Return the value of a step that is furthest out, with its name; None if no value is an outlier."""
        found: list[tuple[str, Outlier]] = []
        for name, value in values.items():
            if name not in self._tests:
                if len(self._tests) >= MOST_SERIES:
                    continue
                self._tests[name] = self._make_test()
            if (outlier := self._tests[name].take(value)) is not None:
                found.append((name, outlier))
        return max(found, key=lambda one: one[1].z, default=None)

    def among(self, events: Sequence[Event]) -> list[Event]:
        """Return what is to be recorded of spikes in these events."""
        if self.is_guarded or self.action is OnSpike.OFF:
            return []
        return [new for event in events for new in self._in_event(event)]

    def recorded(self, step: int, values: Mapping[str, float]) -> list[Event]:
        """Return what is to be recorded of the values of a step that is not skipped."""
        found = self.worst(values)
        if found is None or step == self._newest_step:  # its loss and its gradient are one spike
            return []
        action = OnSpike.REWIND if self.action is OnSpike.REWIND else OnSpike.RECORD
        return self._counted(step, found, action)

    def decide(self, step: int, found: tuple[str, Outlier] | None, *, anywhere: bool) -> tuple[bool, list[Event]]:
        """Decide on a step. All ranks get the same decision.

        Args:
            step: the step.
            found: what `worst` has returned for it.
            anywhere: whether a rank has found a spike.

        Returns:
            Whether the step is to be taken, and what is to be recorded.
        """
        self._steps += 1
        if not anywhere:
            self._in_a_row = 0
            return True, []
        nothing = Outlier(value=math.nan, centre=math.nan, scale=math.nan, z=math.nan)
        spike = found or (ELSEWHERE, nothing)
        limit = max(FEWEST, int(MOST_SHARE * self._steps))
        if self._in_a_row >= MOST_IN_A_ROW or self._skipped >= limit:
            self.exhausted = True
            why = f"{self._in_a_row} steps in a row" if self._in_a_row >= MOST_IN_A_ROW else f"{self._skipped} steps"
            text = f"{why} of {self._steps} were skipped, so from step {step} on spikes are only recorded"
            return True, [*self._counted(step, spike, OnSpike.RECORD), Noted(text=f"on_spike: skip: {text}")]
        self._skipped += 1
        self._in_a_row += 1
        return False, self._counted(step, spike, OnSpike.SKIP)

    def rest(self) -> list[Event]:
        """Return the event for the spikes that were not recorded yet, at the end of the attempt."""
        rest, self._unrecorded = self._unrecorded, None
        return [] if rest is None else [rest]

    def _in_event(self, event: Event) -> list[Event]:
        match event:
            case Metrics():
                losses = {name: value for name, value in event.values.items() if is_trained_loss(name)}
                new = self.recorded(event.step, losses) if losses else []
            case Observation() if not event.skipped and not math.isnan(event.gradient_norm):
                new = self.recorded(event.step, {GRADIENT_NORM: event.gradient_norm})
            case _:
                return []
        if new and self.action is OnSpike.SKIP and not self._is_noted:
            self._is_noted = True
            new = [*new, Noted(text=UNGUARDED)]
        return new

    def _counted(self, step: int, found: tuple[str, Outlier], action: OnSpike) -> list[Event]:
        name, outlier = found
        self._found += 1
        self._newest_step = step
        before = self._unrecorded
        event = Spiked(
            step=step,
            name=name,
            value=outlier.value,
            centre=outlier.centre,
            scale=outlier.scale,
            z=outlier.z,
            action=action.value,
            skipped=int(action is OnSpike.SKIP),
        )
        if before is not None:
            event = replace(event, count=1 + before.count, skipped=event.skipped + before.skipped)
        is_due = self._found <= RECORDED_SINGLY or self._found.bit_count() == 1
        self._unrecorded = None if is_due else event
        return [event] if is_due else []
