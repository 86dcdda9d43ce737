"""A trial beside the same trial, run again: whether its values came again; pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sweeper.record.events import Event, Metrics, Observation
from sweeper.record.fold import State
from sweeper.record.trial import Trial
from sweeper.results.receipt import end_line
from sweeper.results.wording import counted, number, plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """One series of a trial, by step, and what became of it the second time."""

    name: str
    then: Mapping[int, float]
    now: Mapping[int, float]

    @property
    def shared(self) -> list[int]:
        """The steps at which both have a value."""
        return sorted(self.then.keys() & self.now.keys())

    @property
    def parted(self) -> list[int]:
        """The steps at which the two values are not the same bits; NaN is NaN."""
        return [step for step in self.shared if not _same(self.then[step], self.now[step])]

    def text(self) -> str:
        """In one line."""
        count, parted = len(self.shared), self.parted
        name = plain(self.name)
        if not count:
            return f"{name}: no step at which both have a value"
        values = counted(count, "value", "values")
        missed = len(self.then) - count
        more = f"; {missed} more were recorded, at steps that this run did not report" if missed else ""
        if not parted:
            return f"{name}: {values}, equal to the last bit{more}"
        gaps = [abs(self.then[step] - self.now[step]) for step in parted]
        widest = max((gap for gap in gaps if not math.isnan(gap)), default=math.nan)
        first = parted[0]
        where = f"they part at step {first} ({self.then[first]!r} recorded, {self.now[first]!r} now)"
        by = f" and differ by up to {number(widest)}" if math.isfinite(widest) else ""
        return f"{name}: {values}, {count - len(parted)} of them equal; {where}{by}{more}"


def repeats(then: Iterable[Event], now: Iterable[Event]) -> list[Repeat]:
    """Every series of two histories of a trial, `reach` among them, by name."""
    before, after = _series(then), _series(now)
    return [Repeat(name=name, then=before[name], now=after.get(name, {})) for name in sorted(before)]


def is_equal(then: Trial, now: Trial, found: Sequence[Repeat]) -> bool:
    """Whether the trial came out as recorded: its end, and every value of its metric, to the last bit.

    Of a trial that did not run to its end, as far as it came: who is asked to stop may take another step.
    """
    metric = [repeat for repeat in found if repeat.name == then.facts.metric]
    if then.state is not now.state or not metric or not metric[0].shared or metric[0].parted:
        return False
    return then.state is not State.COMPLETE or metric[0].then.keys() == metric[0].now.keys()


def repeat_text(then: Trial, now: Trial, found: Sequence[Repeat]) -> str:
    """What became of the trial the second time."""
    lines = [f"recorded: {end_line(then)}", f"now:      {end_line(now)}", *(repeat.text() for repeat in found)]
    parted = [repeat for repeat in found if repeat.parted]
    if not any(repeat.shared for repeat in found):
        verdict = "Nothing can be compared: the two have no value at the same step."
    elif is_equal(then, now, found) and not parted:
        verdict = "The values are equal to the recorded ones, to the last bit."
    elif is_equal(then, now, found):
        verdict = f"{plain(then.facts.metric)} is equal to the last bit; {_names(parted)} not."
    elif parted:
        verdict = f"The values are not equal to the recorded ones: {_names(parted)} not the same."
    else:
        verdict = "The trial did not end as recorded; where both have a value, they are equal."
    return "\n".join([*lines, "", verdict]) + "\n"


def _names(parted: Sequence[Repeat]) -> str:
    return f"{', '.join(plain(repeat.name) for repeat in parted)} {'is' if len(parted) == 1 else 'are'}"


def _series(events: Iterable[Event]) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {}
    for event in events:
        match event:
            case Metrics():
                for name, value in event.values.items():
                    found.setdefault(name, {})[event.step] = value
            case Observation():
                found.setdefault("reach", {})[event.step] = event.reach
    return found


def _same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))
