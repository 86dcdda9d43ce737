"""Compare a recorded trial with its reproduction, value by value; pure functions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sweeper.record.events import Event, Metrics, Observation
from sweeper.record.trial import State, TrialRecord
from sweeper.results.receipt import end_line
from sweeper.results.wording import counted, number, plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """One series of a trial by step, as recorded and as reproduced."""

    name: str
    then: Mapping[int, float]
    now: Mapping[int, float]

    @property
    def shared(self) -> list[int]:
        """Return the steps at which both trials have a value."""
        return sorted(self.then.keys() & self.now.keys())

    @property
    def different(self) -> list[int]:
        """Return the steps at which the two values are not equal to the last bit; NaN equals NaN."""
        return [step for step in self.shared if not _same(self.then[step], self.now[step])]

    def text(self) -> str:
        """Return the comparison in one line."""
        count, different = len(self.shared), self.different
        name = plain(self.name)
        if not count:
            return f"{name}: no step at which both trials have a value"
        values = counted(count, "value", "values")
        missed = len(self.then) - count
        more = f"; {missed} more recorded, at steps that this run did not log" if missed else ""
        if not different:
            return f"{name}: {values}, equal to the last bit{more}"
        gaps = [abs(self.then[step] - self.now[step]) for step in different]
        widest = max((gap for gap in gaps if not math.isnan(gap)), default=math.nan)
        first = different[0]
        where = f"they first differ at step {first} ({self.then[first]!r} recorded, {self.now[first]!r} now)"
        by = f" and by up to {number(widest)}" if math.isfinite(widest) else ""
        return f"{name}: {values}, {count - len(different)} of them equal; {where}{by}{more}"


def repeats(then: Iterable[Event], now: Iterable[Event]) -> list[Repeat]:
    """Pair the series of two histories of a trial, including `reach`; in the order of their names."""
    before, after = _series(then), _series(now)
    return [Repeat(name=name, then=before[name], now=after.get(name, {})) for name in sorted(before)]


def is_equal(then: TrialRecord, now: TrialRecord, found: Sequence[Repeat]) -> bool:
    """Return whether the trial ended as recorded and every value of its metric is equal to the last bit.

    If the trial did not run to completion, only shared steps are compared: a trial that is asked to stop may take
    another step.
    """
    metric = [repeat for repeat in found if repeat.name == then.facts.metric]
    if then.state is not now.state or not metric or not metric[0].shared or metric[0].different:
        return False
    return then.state is not State.COMPLETE or metric[0].then.keys() == metric[0].now.keys()


def repeat_text(then: TrialRecord, now: TrialRecord, found: Sequence[Repeat]) -> str:
    """Return the comparison of a recorded trial with its reproduction: a line per series, and a conclusion."""
    lines = [f"recorded: {end_line(then)}", f"now:      {end_line(now)}", *(repeat.text() for repeat in found)]
    different = [repeat for repeat in found if repeat.different]
    if not any(repeat.shared for repeat in found):
        conclusion = "Nothing can be compared: the two trials have no value at the same step."
    elif is_equal(then, now, found) and not different:
        conclusion = "The values are equal to the recorded ones, to the last bit."
    elif is_equal(then, now, found):
        conclusion = f"{plain(then.facts.metric)} is equal to the last bit; {_names(different)} not."
    elif different:
        conclusion = f"The values are not equal to the recorded ones: {_names(different)} different."
    else:
        conclusion = "The trial did not end as recorded, but all values at shared steps are equal."
    return "\n".join([*lines, "", conclusion]) + "\n"


def _names(different: Sequence[Repeat]) -> str:
    return f"{', '.join(plain(repeat.name) for repeat in different)} {'is' if len(different) == 1 else 'are'}"


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
