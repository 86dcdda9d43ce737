"""The queries about one run. It stays open: each query reads only what was appended since the last one."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweeper.errors import UsageError
from sweeper.record.storage.layout import SweepDir, TrialDir, read_json
from sweeper.record.trial import State, TrialRecord
from sweeper.results.front import front_of, has_front, named_members, trial_ranks
from sweeper.results.per_trial import Columns
from sweeper.results.ranking import outcome_text, significance_text
from sweeper.results.rested import Rested
from sweeper.results.snapshot import SweepView
from sweeper.results.status import SweepReader
from sweeper.service import budget, comparison, curves, depth, front, lineage, output, receipts, slots, totals
from sweeper.service.answers.encoding import keys_of
from sweeper.service.answers.lineage import Checkpoints, Lineage
from sweeper.service.answers.series import Curves, Depth, Front, Importance, Output, SlotTimeline
from sweeper.service.answers.sweep import RunRow, Sweep, Wait
from sweeper.service.answers.trial import Receipt, Status, Trial, TrialComparison, TrialPage
from sweeper.service.given import commands_of
from sweeper.service.histories import Histories
from sweeper.service.table import Table, TrialQuery
from sweeper.service.trials import best_of, finite, row_of, status_of

FRESH_S = 0.2
"""Seconds for which what was read counts as current: a page asks several things at once."""


@dataclass(slots=True)
class OpenRun:
    """A run that is looked at again and again. It is not safe for several threads at once.

    Attributes:
        directory: the directory of the run.
    """

    directory: SweepDir
    _reader: SweepReader = field(init=False)
    _view: SweepView | None = None
    _read_at: float = 0.0
    _revision: int = 0
    _seen: object = None
    _table: Table = field(init=False)
    _histories: Histories = field(default_factory=Histories)
    _significance: Rested[str] = field(default_factory=Rested)

    def __post_init__(self) -> None:
        self._reader = SweepReader(self.directory)
        self._table = Table(self._reader.columns)

    # ---- the sweep

    def refresh(self) -> int:
        """Read what was appended; return the revision, which grows whenever something has changed.

        Raises:
            RecordError: the run cannot be read.
        """
        self._view = self._reader.read()
        self._table.rests = self._view.state in _RUNS
        seen = (self._view.state, len(self._view.log), self._view.waiting, self._view.unreadable)
        is_due = self._table.is_due or self._significance.is_due  # else a sweep that is quiet now would stay behind
        if self._reader.changed or seen != self._seen or is_due:
            self._revision += 1
            self._seen = seen
        self._read_at = time.monotonic()  # the reading itself may take longer than its result is fresh
        return self._revision

    @property
    def view(self) -> SweepView:
        """The sweep as it was read within the last `FRESH_S` seconds."""
        if self._view is None or time.monotonic() - self._read_at > FRESH_S:
            self.refresh()
        assert self._view is not None  # noqa: S101 - it was read above
        return self._view

    @property
    def columns(self) -> Columns:
        """The columns of the trials, as they were read last."""
        return self._reader.columns

    def current(self) -> int:
        """Return the revision of what was read within the last `FRESH_S` seconds."""
        assert self.view is not None  # noqa: S101 - it reads what was appended
        return self._revision

    def sweep(self) -> Sweep:
        """Return the sweep without its trials."""
        return self._sweep(self.view)

    def row(self) -> RunRow:
        """Return the run as a row of a table of runs."""
        view = self.view
        order, _ = self._table.ranking(self._revision)
        goals = view.trials[0].facts.goals if view.trials else ()
        times = [trial.latest for trial in view.trials if math.isfinite(trial.latest)]
        times += [event.time for event in view.log[-1:]]
        return RunRow(
            name=self.directory.path.resolve().name,
            path=str(self.directory.path),
            title=view.title,
            state=view.state,
            trials=len(view.trials),
            counts=totals.counts(self.columns),
            metric=view.metric,
            maximize=bool(goals) and goals[0].maximize,
            best=best_of(order[0]) if order else None,
            started=view.started if view.log else None,
            latest=max(times, default=None),
        )

    def status(self) -> Status:
        """Return the sweep with all of its trials."""
        view = self.view
        ranks = trial_ranks(view.trials)
        trials = [status_of(trial, view.now, ranks.get(trial.number)) for trial in view.trials]
        return Status(**_fields(self._sweep(view)), trials=trials)

    def _sweep(self, view: SweepView) -> Sweep:
        columns, trials = self.columns, view.trials
        goals = trials[0].facts.goals if trials else ()
        order, _ = self._table.ranking(self._revision)
        best, members = order[0] if order else None, front_of(trials, self._table.ranks)
        usage = totals.usage(columns, view, running=view.state in _RUNS)
        wait, counts, health = view.waiting, totals.counts(columns), totals.health(columns)
        return Sweep(
            name=view.name,
            state=view.state,
            unreadable=view.unreadable,
            damage=view.damage,
            unmet=view.unmet,
            front=[trial.number for trial in members],
            waiting=None if wait is None else Wait(since=wait.since, reasons=wait.reasons, sweeps=wait.sweeps),
            path=str(self.directory.path),
            title=view.title,
            metric=view.metric,
            maximize=bool(goals) and goals[0].maximize,
            objectives={goal.name: "maximize" if goal.maximize else "minimize" for goal in goals},
            verdict=outcome_text(view.state.lower(), counts, health, best, named_members(members)),
            significance=self._significance_of(view),
            health=health,
            savings=totals.savings(columns),
            counts=counts,
            total=len(trials),
            best=None if best is None else best_of(best),
            budget=budget.parts_of(view.limits, usage, best),
            unstarted=view.unstarted,
            messages=view.messages,
            slots=view.slots,
            slots_in_use=counts.get(State.RUNNING.value, 0),
            started=view.started,
            now=view.now,
            seconds_left=finite(totals.seconds_left(columns, view)),
            revision=self._revision,
            commands=commands_of(view.log),
        )

    def _significance_of(self, view: SweepView) -> str:
        """Return the sentence on significance; with several seeds or objectives, it may rest."""
        if not has_front(view.trials) and len(totals.seeds(self.columns)) <= 1:
            return totals.significance(self.columns)
        return self._significance.of(self._revision, lambda: significance_text(view), rests=self._table.rests)

    # ---- trials

    def trials(self, query: TrialQuery | None = None) -> TrialPage:
        """Return one page of the table of trials."""
        query, view = query or TrialQuery(), self.view
        found = self._table.matching(query, self._revision)
        _, places = self._table.ranking(self._revision)
        page = found[query.offset : query.offset + query.limit]
        first = view.trials[0].facts if view.trials else None
        return TrialPage(
            total=len(view.trials),
            matched=len(found),
            offset=query.offset,
            sort=query.sort,
            descending=query.descending,
            params=list(dict.fromkeys(name for trial in page for name in trial.facts.shown)),
            metric=view.metric,
            maximize=first is not None and first.maximize,
            several_seeds=len(totals.seeds(self.columns)) > 1,
            revision=self._revision,
            rows=[row_of(trial, view.now, places.get(trial.number)) for trial in page],
        )

    def trial(self, number: int) -> Trial:
        """Return one trial in full.

        Raises:
            UsageError: the run has no such trial.
        """
        record, view = self.record(number), self.view
        _, places = self._table.ranking(self._revision)
        rank = self._table.ranks.get(number)
        return receipts.trial_of(
            self.directory,
            record,
            view,
            row=row_of(record, view.now, places.get(number)),
            status=status_of(record, view.now, rank),
        )

    def lineage(self, number: int) -> Lineage | None:
        """Return from which trial a trial was derived and which were derived from it; None if neither is the case.

        Raises:
            UsageError: the run has no such trial.
        """
        return lineage.lineage_of(self.record(number), self._reader.marked)

    def checkpoints(self, number: int) -> Checkpoints:
        """Return the checkpoints from which a trial can be derived.

        Raises:
            UsageError: the run has no such trial.
            RecordError: the folder of the checkpoints cannot be read.
        """
        return lineage.checkpoints_of(self.view.name, self.record(number))

    def why(self, number: int) -> Receipt:
        """Return the receipt of a trial.

        Raises:
            UsageError: the run has no such trial.
        """
        return receipts.receipt_of(self.directory, self.record(number), self.view)

    def compare(self, first: int, second: int) -> TrialComparison:
        """Return two trials side by side.

        Raises:
            UsageError: the run has no such trial.
        """
        one, other, view = self.record(first), self.record(second), self.view
        _, places = self._table.ranking(self._revision)
        rows = [row_of(trial, view.now, places.get(trial.number)) for trial in (one, other)]
        return comparison.compared(view.name, (one, other), rows)

    # ---- what is drawn

    def curves(
        self, numbers: Sequence[int], metrics: Sequence[str] = (), *, by: str = curves.STEP, points: int = curves.POINTS
    ) -> Curves:
        """Return curves of trials, thinned to `points`.

        Args:
            numbers: the trials.
            metrics: the names of the metrics; by default, the sweep's metric.
            by: `step` or `time`.
            points: maximum number of points of a curve.

        Raises:
            UsageError: the run has no such trial, or an argument is out of its range.
        """
        known = [(self.record(number), self._histories.of(self._directory(number))) for number in numbers]
        wanted = metrics or ([self.view.metric] if self.view.metric else [])
        return curves.curves_of(known, wanted, by=by, points=points, revision=self._revision)

    def depth(self, number: int, *, most: int = depth.PROFILES) -> Depth:
        """Return the depth profile of a trial at no more than `most` observations.

        Raises:
            UsageError: the run has no such trial.
        """
        return depth.depth_of(number, self._histories.of(self._directory(number)), most)

    def front(self) -> Front:
        """Return the trials over each pair of objectives, with the Pareto front; empty with one objective."""
        assert self.view is not None  # noqa: S101 - it reads what was appended
        order, _ = self._table.ranking(self._revision)
        return front.front_chart(order, self._table.ranks, self._revision)

    def slots(self, *, most: int = slots.SPANS) -> SlotTimeline:
        """Return the attempts over time, the newest `most` of them."""
        view = self.view
        return slots.timeline_of(view, self.columns, self._revision, most)

    def output(
        self, number: int, *, attempt: int | None = None, after: int | None = None, most: int = output.BYTES
    ) -> Output:
        """Return the end of what an attempt printed, or what it printed since an offset.

        Args:
            number: the trial.
            attempt: the number of the attempt; by default, the newest.
            after: where to begin; by default, `most` bytes before the end.
            most: maximum number of bytes.

        Raises:
            UsageError: the run has no such trial or attempt.
            RecordError: the output cannot be read.
        """
        return output.output_of(self._directory(number), attempt=attempt, after=after, most=most)

    def importance(self) -> Importance:
        """Return how much each parameter explains of each objective; it takes seconds in a large sweep."""
        from sweeper.service.importance import importance_of

        return importance_of(self.directory)

    # ---- records

    def record(self, number: int) -> TrialRecord:
        """Return the record of a trial.

        Raises:
            UsageError: the run has no such trial, or it cannot be read.
        """
        view = self.view
        found = self._reader.marked.get(number)
        if found is None:
            raise UsageError(self._missing(number, view))
        return found

    def look_at(self, numbers: Sequence[int]) -> None:
        """Read these trials at once, because a command was sent to them."""
        self._reader.trials.look_at(numbers)
        self._read_at = 0.0

    def spec(self) -> Mapping[str, object]:
        """Return the resolved sweep file as JSON; empty if the run is a script that was run by itself."""
        spec = read_json(self.directory.spec).get("spec")
        return spec if isinstance(spec, Mapping) else {}

    def _directory(self, number: int) -> TrialDir:
        return self.record(number).directory

    def _missing(self, number: int, view: SweepView) -> str:
        if number in self._reader.trials.unreadable:
            return self._reader.trials.unreadable[number]
        numbers = [trial.number for trial in view.trials]
        known = f"{min(numbers)} to {max(numbers)}" if numbers else "none yet"
        return f"{self.directory.path}: expected the number of a trial ({known}), got {number}"


_RUNS = ("RUNNING", "PAUSED")


def _fields(answer: Sweep) -> dict[str, Any]:
    """Return the values of an answer, for another one that has them too."""
    return {name: getattr(answer, name) for name, _ in keys_of(type(answer))}
