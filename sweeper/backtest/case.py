"""What became of recorded trials: which learned, which stalled, and since when. Pure.

Where the outcomes are known from elsewhere (`Recording.truth`), they count. Otherwise hindsight decides.

A *learner* ends with at least half of its best sibling's gain over the start, a *stall* with less; siblings are the
trials of the same run, the trial itself among them. Where nobody gained anything all are stalls.

The *start* is what the metric is worth to a model that has learned nothing. A record says that nowhere: by the first
evaluation some trials have learned already. So it is the median of the worst quarter of the first evaluations: of the
trials that had learned least by then. Of up to four trials that is the worst one; a single value that exploded, or fell
below chance by chance, does not move it where there are nine and more. In a classification it comes out as the share of
the largest class wherever a quarter of the trials still guesses at its first evaluation. `--start` gives it where it is
known.
"""

from __future__ import annotations

import bisect
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from sweeper.record.events import Event, Metrics, Observation, Plan
from sweeper.record.progress import Evaluation
from sweeper.record.storage.layout import TrialDir
from sweeper.rules import Objective, health_of
from sweeper.rules.health import Change
from sweeper.rules.needs import KINDS, OBSERVED

LOSS = "loss/train"
SMOOTHED = 5
AT_CHANCE = 10
SCATTERS = 3.0
"""A loss is taken as the median of so many reports, chance from so many at the start, a gain as so many scatters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """The known outcome of a trial.

    Attributes:
        failed: whether the trial failed; None where the outcome is on the border, so the trial is not counted.
        classes: the diagnoses any of which is right; empty where any diagnosis is right.
        task: what was trained. Trials of one task are siblings.
    """

    failed: bool | None
    classes: tuple[str, ...] = ()
    task: str = ""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One recorded trial that ended by itself.

    `evaluations` are those of the objective, at least one; `steps` counts all optimizer steps, `seconds` the wall time
    of all attempts; `ended` is seconds since the epoch. `condemned_by` is the version of the rule that had condemned
    it, where it was let run on all the same. `params` are those of the trial, `directory` is where its record lies, and
    `attempts` has the attempt of each event; TensorBoard logs have none of the three.
    """

    number: int
    label: str
    seed: int | None = None
    events: Sequence[Event]
    evaluations: Sequence[Evaluation]
    steps: int
    seconds: float
    ended: float
    condemned_by: str = ""
    params: Mapping[str, object] = field(default_factory=dict)
    directory: TrialDir | None = None
    attempts: Sequence[int] = ()

    @property
    def last(self) -> float:
        """The last value of the objective."""
        return self.evaluations[-1].value

    @cached_property
    def metrics(self) -> frozenset[str]:
        """The names of all metrics that it reported."""
        return frozenset(name for event in self.events if isinstance(event, Metrics) for name in event.values)

    @cached_property
    def observed(self) -> frozenset[str]:
        """Those of `OBSERVED` that were ever measured."""
        looks = [event for event in self.events if isinstance(event, Observation)]
        return frozenset(name for name in OBSERVED if any(_is_measured(getattr(look, name)) for look in looks))

    @cached_property
    def planned(self) -> int:
        """The planned optimizer steps; the recorded ones where the trial had no plan."""
        plans = [event.total_steps for event in self.events if isinstance(event, Plan) and event.total_steps > 0]
        return plans[-1] if plans else self.steps

    @cached_property
    def looks(self) -> list[int]:
        """The steps at which the watch looked; where there was none, those at which anything was reported."""
        looks = [event.step for event in self.events if isinstance(event, Observation)]
        return sorted(looks or {event.step for event in self.events if isinstance(event, Metrics)})

    def looks_between(self, first: int, last: int) -> int:
        """How many looks come after step `first` and no later than `last`; negative where `last` is the earlier one."""
        return bisect.bisect_right(self.looks, last) - bisect.bisect_right(self.looks, first)


def _is_measured(value: float | Mapping[str, float]) -> bool:
    return bool(value) if isinstance(value, Mapping) else not math.isnan(value)


@dataclass(frozen=True, kw_only=True)
class Recording:
    """The trials of one run, to be judged by their known outcomes, or among each other.

    `at_best` says whether a trial is worth its best evaluation or its last; `left_out` counts trials by the reason why
    they are no cases; `given_start` is the start where a person knows it. `truth` has the known outcomes by trial
    number; None where trials are judged by their siblings.
    """

    name: str
    metric: str
    maximize: bool
    at_best: bool = True
    cases: Sequence[Case]
    left_out: Mapping[str, int] = field(default_factory=dict)
    given_start: float | None = None
    truth: Mapping[int, Truth] | None = None

    @property
    def objective(self) -> Objective:
        """The metric as the rules read it."""
        return Objective(name=self.metric, maximize=self.maximize)

    @cached_property
    def start(self) -> float:
        """The objective before anything is learned: see the head of this module. NaN where no first value is finite."""
        if self.given_start is not None:
            return self.given_start
        firsts = [case.evaluations[0].value for case in self.cases]
        worst = sorted((value for value in firsts if math.isfinite(value)), reverse=not self.maximize)
        return statistics.median(worst[: math.ceil(len(worst) / 4)]) if worst else math.nan

    def gain(self, case: Case) -> float:
        """How much better than the start a case ends; -inf where its last value is not finite."""
        gain = case.last - self.start if self.maximize else self.start - case.last
        return gain if math.isfinite(gain) else -math.inf

    @cached_property
    def half(self) -> float:
        """Half of the best gain; infinite where there was none."""
        best = max((self.gain(case) for case in self.cases), default=0.0)
        return best / 2 if best > 0 else math.inf

    def outcome(self, case: Case) -> bool | None:
        """Return whether a case is a learner; None where its known outcome is on the border, or it has none."""
        if self.truth is None:
            return self.gain(case) >= self.half
        known = self.truth.get(case.number)
        return None if known is None or known.failed is None else not known.failed

    def is_learner(self, case: Case) -> bool:
        """Return whether a case is a learner."""
        return self.outcome(case) is True

    @cached_property
    def learners(self) -> Sequence[Case]:
        """The cases that learned."""
        return [case for case in self.cases if self.outcome(case) is True]

    @cached_property
    def stalls(self) -> Sequence[Case]:
        """The cases that did not learn."""
        return [case for case in self.cases if self.outcome(case) is False]

    @cached_property
    def siblings(self) -> Sequence[Sequence[Case]]:
        """The cases in groups that a pruner may compare: all of them, or with known outcomes those of one task."""
        groups: dict[str, list[Case]] = {}
        for case in self.cases:
            known = None if self.truth is None else self.truth.get(case.number)
            groups.setdefault("" if known is None else known.task, []).append(case)
        return list(groups.values())

    @cached_property
    def begun(self) -> Mapping[int, Sequence[Change]]:
        """By trial number, the first beginning of each diagnosis with its defaults, in the order of their steps."""
        return {case.number: self._begun(case) for case in self.cases}

    def _begun(self, case: Case) -> Sequence[Change]:
        health = health_of((), self.objective)
        state = health.start()
        for event in case.events:
            state, _ = health.step(state, event)
        first: dict[str, Change] = {}
        for change in state.timeline:
            if change.holds:
                first.setdefault(change.diagnosis, change)
        return list(first.values())

    def worth(self, case: Case) -> float:
        """The value that a sweep ranks a case by, signed so that more is better; -inf where there is none."""
        sign = 1 if self.maximize else -1
        values = [evaluation.value for evaluation in case.evaluations]
        finite = [sign * value for value in (values if self.at_best else values[-1:]) if math.isfinite(value)]
        return max(finite, default=-math.inf)

    @cached_property
    def observed(self) -> frozenset[str]:
        """Those of `OBSERVED` that were measured in any case."""
        return frozenset().union(*(case.observed for case in self.cases))

    @cached_property
    def recorded(self) -> frozenset[str]:
        """What rules may read of any case: metrics by name, the kinds of metrics that there are, and `observed`."""
        metrics = frozenset().union(*(case.metrics for case in self.cases))
        kinds = {kind for kind, found in KINDS.items() if found(metrics) is not None}
        return metrics | kinds | {"score"} | self.observed

    @cached_property
    def loss(self) -> str:
        """The training loss: `loss/train`, or the first metric that calls itself a loss; empty where none does."""
        names = sorted({name for case in self.cases for name in case.metrics})
        return LOSS if LOSS in names else next((name for name in names if "loss" in name.lower()), "")

    @cached_property
    def onsets(self) -> Mapping[int, int]:
        """The onset of each stall, by trial number."""
        return {case.number: self.onset(case) for case in self.stalls}

    def onset(self, case: Case) -> int:
        """Since which step a stall had stalled: the last at which it still gained, 0 where it never did.

        By hindsight and independent of any rule: the last step at which the training loss, as the median of five
        reports, improved by more than three times the scatter of the first ten. Where no loss was reported, the
        objective stands for it. Also 0 where there are fewer reports than that.
        """
        name = self.loss or self.metric
        sign = -1 if name == self.metric and self.maximize else 1
        reports = [(e.step, sign * e.values[name]) for e in case.events if isinstance(e, Metrics) and name in e.values]
        return _onset([(step, value) for step, value in reports if math.isfinite(value)])


def _onset(reports: Sequence[tuple[int, float]]) -> int:
    # The first report is of the untrained model on one batch: no part of the scatter.
    at_chance = [value for _, value in reports[1 : 1 + AT_CHANCE]]
    if len(at_chance) < AT_CHANCE:
        return 0
    scatter = statistics.pstdev(at_chance)
    best, onset = statistics.median(at_chance), 0
    for end in range(SMOOTHED + 1, len(reports) + 1):
        value = statistics.median(value for _, value in reports[end - SMOOTHED : end])
        if value < best - SCATTERS * scatter:
            best, onset = value, reports[end - 1][0]
    return onset
