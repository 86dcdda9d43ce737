"""The outcomes of recorded trials: which ones learned, which ones stalled, and since which step. Pure.

If the outcomes are known (`Recording.truth`), they count. Otherwise a trial is judged by its siblings.

A *learner* ends with at least half of its best sibling's gain over the start, a *stall* with less. Siblings are the
trials of the same run, including the trial itself. If no trial gained anything, all are stalls.

The *start* is the metric of a model that has learned nothing. It is not recorded, because by the first evaluation some
trials have learned already. So it is estimated as the median of the worst quarter of the first evaluations. With up to
four trials this is the worst one; with nine or more, a single value that exploded or is low by chance does not change
it. In a classification it is the share of the largest class if a quarter of the trials still guesses at its first
evaluation. `--start` sets it if it is known.
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
"""A loss is smoothed by the median of `SMOOTHED` reports. The scatter is that of the first `AT_CHANCE` reports, and a
gain has to be larger than `SCATTERS` times the scatter.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """The known outcome of a trial.

    Attributes:
        failed: whether the trial failed; None if the outcome is on the border, so that the trial is not counted.
        classes: the diagnoses that count as right; empty if any diagnosis does.
        task: the name of the task. Trials of one task are siblings.
    """

    failed: bool | None
    classes: tuple[str, ...] = ()
    task: str = ""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One recorded trial that ended by itself.

    Attributes:
        number: the number of the trial.
        label: its parameters as text.
        seed: its seed, if it has one.
        events: its history.
        evaluations: the evaluations of the objective, at least one.
        steps: the number of optimizer steps.
        seconds: the wall time of all attempts.
        ended: the time of its end, in seconds since the epoch.
        flagged_by: the version of the rule that had flagged it, if it continued nevertheless; else empty.
        params: its parameters; empty for TensorBoard logs.
        directory: the directory of its record; None for TensorBoard logs.
        attempts: the attempt of each event; empty for TensorBoard logs.
    """

    number: int
    label: str
    seed: int | None = None
    events: Sequence[Event]
    evaluations: Sequence[Evaluation]
    steps: int
    seconds: float
    ended: float
    flagged_by: str = ""
    params: Mapping[str, object] = field(default_factory=dict)
    directory: TrialDir | None = None
    attempts: Sequence[int] = ()

    @property
    def last(self) -> float:
        """The last value of the objective."""
        return self.evaluations[-1].value

    @cached_property
    def metrics(self) -> frozenset[str]:
        """The names of all reported metrics."""
        return frozenset(name for event in self.events if isinstance(event, Metrics) for name in event.values)

    @cached_property
    def observed(self) -> frozenset[str]:
        """The values of `OBSERVED` that were ever measured."""
        observations = [event for event in self.events if isinstance(event, Observation)]
        return frozenset(name for name in OBSERVED if any(_is_measured(getattr(one, name)) for one in observations))

    @cached_property
    def planned(self) -> int:
        """The number of planned optimizer steps; without a plan, of recorded ones."""
        plans = [event.total_steps for event in self.events if isinstance(event, Plan) and event.total_steps > 0]
        return plans[-1] if plans else self.steps

    @cached_property
    def observed_steps(self) -> list[int]:
        """The steps of the observations; without a watch, of the reports."""
        observed = [event.step for event in self.events if isinstance(event, Observation)]
        return sorted(observed or {event.step for event in self.events if isinstance(event, Metrics)})

    def observations_between(self, first: int, last: int) -> int:
        """Return the number of observations after step `first` up to step `last`; negative if `last` is earlier."""
        return bisect.bisect_right(self.observed_steps, last) - bisect.bisect_right(self.observed_steps, first)


def _is_measured(value: float | Mapping[str, float]) -> bool:
    return bool(value) if isinstance(value, Mapping) else not math.isnan(value)


@dataclass(frozen=True, kw_only=True)
class Recording:
    """The trials of one run, which are judged by their known outcomes or by their siblings.

    Attributes:
        name: the name of the run.
        metric: the objective.
        maximize: whether larger values of it are better.
        objectives: the names of all objectives of the run.
        at_best: whether a trial counts with its best evaluation, and not with its last.
        cases: the trials that ended by themselves.
        left_out: the number of other trials, by the reason why they are left out.
        given_start: the start, if the user gave it.
        truth: the known outcomes by trial number; None if trials are judged by their siblings.
    """

    name: str
    metric: str
    maximize: bool
    objectives: tuple[str, ...] = ()
    at_best: bool = True
    cases: Sequence[Case]
    left_out: Mapping[str, int] = field(default_factory=dict)
    given_start: float | None = None
    truth: Mapping[int, Truth] | None = None

    @property
    def objective(self) -> Objective:
        """The metric in the form that rules expect."""
        return Objective(name=self.metric, maximize=self.maximize)

    @cached_property
    def start(self) -> float:
        """The metric of a model that has learned nothing (see the module); NaN if no first evaluation is finite."""
        if self.given_start is not None:
            return self.given_start
        firsts = [case.evaluations[0].value for case in self.cases]
        worst = sorted((value for value in firsts if math.isfinite(value)), reverse=not self.maximize)
        return statistics.median(worst[: math.ceil(len(worst) / 4)]) if worst else math.nan

    def gain(self, case: Case) -> float:
        """Return how much better than the start a case ends; -inf if its last value is not finite."""
        gain = case.last - self.start if self.maximize else self.start - case.last
        return gain if math.isfinite(gain) else -math.inf

    @cached_property
    def half(self) -> float:
        """Half of the best gain; infinite if no trial gained anything."""
        best = max((self.gain(case) for case in self.cases), default=0.0)
        return best / 2 if best > 0 else math.inf

    def outcome(self, case: Case) -> bool | None:
        """Return whether a case is a learner; None if its known outcome is on the border or missing."""
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
        """The groups of cases that a pruner may compare: all cases, or with known outcomes those of each task."""
        groups: dict[str, list[Case]] = {}
        for case in self.cases:
            known = None if self.truth is None else self.truth.get(case.number)
            groups.setdefault("" if known is None else known.task, []).append(case)
        return list(groups.values())

    @cached_property
    def begun(self) -> Mapping[int, Sequence[Change]]:
        """For each trial number, the first beginning of each diagnosis with its defaults, in the order of steps."""
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
        """Return the value by which a sweep ranks a case, signed so that more is better; -inf if there is none."""
        sign = 1 if self.maximize else -1
        values = [evaluation.value for evaluation in case.evaluations]
        finite = [sign * value for value in (values if self.at_best else values[-1:]) if math.isfinite(value)]
        return max(finite, default=-math.inf)

    @cached_property
    def observed(self) -> frozenset[str]:
        """The values of `OBSERVED` that were measured in any case."""
        return frozenset().union(*(case.observed for case in self.cases))

    @cached_property
    def recorded(self) -> frozenset[str]:
        """All values that rules can read in any case: metrics by name, kinds of metrics, and `observed`."""
        metrics = frozenset().union(*(case.metrics for case in self.cases))
        kinds = {kind for kind, found in KINDS.items() if found(metrics) is not None}
        return metrics | kinds | {"score"} | self.observed

    @cached_property
    def loss(self) -> str:
        """The name of the training loss: `loss/train`, or the first metric with "loss" in its name; empty if none."""
        names = sorted({name for case in self.cases for name in case.metrics})
        return LOSS if LOSS in names else next((name for name in names if "loss" in name.lower()), "")

    @cached_property
    def onsets(self) -> Mapping[int, int]:
        """The onset of each stall, by trial number."""
        return {case.number: self.onset(case) for case in self.stalls}

    def onset(self, case: Case) -> int:
        """Return the last step at which a stall still gained; 0 if it never did.

        This is the last step at which the training loss, smoothed by the median of five reports, improved by more than
        three times the scatter of the first ten. It does not depend on any rule. Without a reported loss, the objective
        is used. With fewer reports, the onset is 0.
        """
        name = self.loss or self.metric
        sign = -1 if name == self.metric and self.maximize else 1
        reports = [(e.step, sign * e.values[name]) for e in case.events if isinstance(e, Metrics) and name in e.values]
        return _onset([(step, value) for step, value in reports if math.isfinite(value)])


def _onset(reports: Sequence[tuple[int, float]]) -> int:
    # The first report is that of the untrained model on one batch, so it is left out of the scatter.
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
