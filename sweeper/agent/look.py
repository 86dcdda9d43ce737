"""The tools that only look: each asks the service, and cuts its answer."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from sweeper.agent import answers, short
from sweeper.agent.budget import Budget
from sweeper.agent.short import Part
from sweeper.agent.text import quoted, shown
from sweeper.errors import UsageError
from sweeper.service import machine
from sweeper.service.open_run import OpenRun
from sweeper.service.service import Service
from sweeper.service.table import MOST_ROWS, TrialQuery
from sweeper.service.waiting import wait as wait_for

Run: TypeAlias = Annotated[str, Field(description="name of a run, as `runs` lists it")]
Number: TypeAlias = Annotated[int, Field(description="number of a trial", ge=0)]
File: TypeAlias = Annotated[str, Field(description="path of a sweep file below the server's directory")]
Overrides: TypeAlias = Annotated[
    list[str], Field(description="overrides of the file: `lr=1e-4`, `parameters.lr.values=[1e-5,3e-5]`, `run_cap=8`")
]
Profile: TypeAlias = Annotated[str | None, Field(description="profile of the file; null: the first that fits")]
TrialState: TypeAlias = Literal["WAITING", "RUNNING", "PAUSED", "COMPLETE", "PRUNED", "FAIL"]

MOST_CURVES, MOST_POINTS = 8, 30
PATIENCE_S, MOST_PATIENCE_S = 45.0, 600.0
"""How long `wait` waits by default: less than the time after which usual clients give up; and at most."""


class _Ended(Exception):
    """The wait was cancelled."""


@dataclass(slots=True)
class Look:
    """The tools that only look.

    Attributes:
        service: the runs.
        budget: what agents may cause.
        directory: the folder below which sweep files lie.
        can_act: whether the server has the tools that act too.
        lock: held while the service is asked.
    """

    service: Service
    budget: Budget
    directory: Path
    can_act: bool
    lock: threading.Lock = field(default_factory=threading.Lock)
    closing: threading.Event = field(default_factory=threading.Event)

    def runs(self) -> answers.Runs:
        """List all runs with state, counts and best value."""
        with self.lock:
            return short.runs_of(self.service.runs(), self._allowance(), can_act=self.can_act)

    def state(self, run: Run) -> answers.State:
        """Show how a sweep stands: counts, best trials, trials that need attention, running ones, budget, commands."""
        with self.lock:
            opened = self.service.run(run)
            found, running = opened.sweep(), opened.trials(TrialQuery(states=("RUNNING",), limit=MOST_ROWS))
            best = opened.trials(TrialQuery(limit=short.BEST))
            failed = opened.trials(TrialQuery(states=("FAIL",), sort="number", descending=True, limit=short.ATTENTION))
            ill = [row for row in running.rows if row.flagged or not row.healthy]
            well = [row for row in running.rows if not (row.flagged or not row.healthy)]
            parts = {
                "best": Part([row for row in best.rows if row.value is not None], 0),
                "attention": Part([*ill, *failed.rows], len(ill) + failed.matched),
                "running": Part(well, len(well) + running.matched - len(running.rows)),
            }
            return short.state_of(found, parts, self._allowance(), can_act=self.can_act)

    def trials(  # noqa: PLR0913, PLR0917 - a tool's arguments have names
        self,
        run: Run,
        sort: Annotated[
            str,
            Field(
                description="place (the ranking), number, state, value, step, seconds, health, param:NAME, metric:NAME"
            ),
        ] = "place",
        descending: bool = False,  # noqa: FBT001, FBT002 - a tool's arguments have names
        states: Annotated[list[TrialState], Field(description="only these states; empty: all")] = [],  # noqa: B006 - never changed
        flagged: Annotated[bool | None, Field(description="only trials that a rule flagged, or only others")] = None,
        text: Annotated[str, Field(description="only trials with this in their number or parameters: `lr=0.1`")] = "",
        offset: Annotated[int, Field(ge=0)] = 0,
        limit: Annotated[int, Field(ge=1, le=short.ROWS)] = 20,
    ) -> answers.Trials:
        """List the trials of a run as a table: paged, filtered and sorted; by default, the best first."""
        query = TrialQuery(
            sort=sort,
            descending=descending,
            states=states,
            flagged=flagged,
            text=text,
            offset=offset,
            limit=min(limit, short.ROWS),
        )
        with self.lock:
            return short.trials_of(run, self.service.run(run).trials(query))

    def why(self, run: Run, number: Number) -> answers.Why:
        """Say how a trial stands or ended, and why: the decision, its health, advice, and commands for it."""
        with self.lock:
            return short.why_of(self.service.run(run).trial(number), can_act=self.can_act)

    def output(self, run: Run, number: Number) -> answers.Output:
        """Show the last lines that a trial printed; use it after `why`."""
        with self.lock:
            return short.output_of(run, self.service.run(run).output(number, most=16_384))

    def curves(
        self,
        run: Run,
        numbers: Annotated[list[int], Field(description="numbers of trials", min_length=1, max_length=MOST_CURVES)],
        metrics: Annotated[
            list[str], Field(description="names of metrics; empty: the sweep's metric", max_length=MOST_CURVES)
        ] = [],  # noqa: B006 - never changed
        by: Literal["step", "time"] = "step",
        points: Annotated[int, Field(description="points of a curve", ge=4, le=MOST_POINTS)] = 12,
    ) -> answers.Curves:
        """Show metrics over steps or seconds, thinned to a few points that keep the extremes."""
        with self.lock:
            opened = self.service.run(run)
            return short.curves_of(run, opened.curves(numbers, metrics, by=by, points=points))

    def compare(self, run: Run, first: Number, second: Number) -> answers.Comparison:
        """Compare two trials of a run: parameters that differ, last values of all metrics, and which is better."""
        with self.lock:
            return short.comparison_of(self.service.run(run).compare(first, second))

    def check(self, file: File, overrides: Overrides = [], profile: Profile = None) -> answers.Check:  # noqa: B006 - never changed
        """Check a sweep file and list every mistake in it; nothing is started."""
        found = machine.check(self.source(file, overrides, profile))
        lines = [mistake.text for mistake in found.mistakes] + [*found.warnings, *found.notes]
        to_do = "plan(file) estimates time and disk" if found.valid else "correct the mistakes, then check(file) again"
        return answers.Check(
            valid=found.valid,
            name=shown(found.name) or None,
            profile=shown(found.profile) if found.profile else None,
            size=shown(found.size, 200) or None,
            trials=found.trials,
            quoted=quoted(lines, 12) or None,
            next=to_do,
        )

    def plan(self, file: File, overrides: Overrides = [], profile: Profile = None) -> answers.Plan:  # noqa: B006 - never changed
        """Estimate what a sweep file would run: trials, slots, time and disk; nothing is started."""
        found = machine.plan(self.source(file, overrides, profile))
        lines = (*found.warnings, *found.notes, *found.summary)
        return answers.Plan(
            name=shown(found.name),
            trials=found.trials,
            concurrent=found.concurrent,
            slots=shown(found.slots, 200),
            time=shown(found.time, 200),
            disk=shown(found.disk, 200),
            quoted=quoted(lines, 12) or None,
            next="run(file, because) starts it" if self.can_act else "a person can start it with `sweeper run FILE`",
        )

    def doctor(self) -> answers.Doctor:
        """Check this machine: Python, libraries, GPUs, disk; what is in order is only counted."""
        found = machine.doctor(self.service.folder)
        lines = [f"{one.level}: {one.subject}: {one.text} {one.advice}" for one in found.findings if one.level != "ok"]
        in_order = sum(one.level == "ok" for one in found.findings)
        return answers.Doctor(ready=found.ready, in_order=in_order, findings=quoted(lines, 12, 300))

    def wait(
        self,
        run: Run,
        event: Annotated[str, Field(description="`end`, `flag`, `trial:7` (it ends) or `step:7:500`")] = "end",
        timeout: Annotated[float, Field(description="maximum seconds", ge=0, le=MOST_PATIENCE_S)] = PATIENCE_S,
    ) -> answers.Waited:
        """Wait for the end of a sweep, a flag, the end of a trial, or a step of one; cheaper than asking often."""
        with self.lock:
            directory = self.service.run(run).directory
        found = wait_for(directory, event, timeout=timeout, sleep=self._sleep)
        again = "wait(run, event) again, or state(run)" if found.outcome == "timeout" else "state(run)"
        if event == "flag" and found.outcome == "timeout":
            again = "state(run), because a flag between two waits is not reported; then wait(run, event) again"
        return answers.Waited(
            happened=found.happened,
            outcome=found.outcome,
            seconds=round(found.seconds, 1),
            quoted=shown(found.text, 300),
            next=again,
        )

    def source(self, file: str, overrides: Sequence[str], profile: str | None) -> machine.SweepFile:
        """Return a sweep file below the directory of the server.

        Raises:
            UsageError: the file lies elsewhere, or an override is an option of the command line.
        """
        if any("\0" in word for word in (file, *overrides, profile or "")):
            raise UsageError("expected a file, overrides and a profile without NUL characters")
        root, path = self.directory.resolve(), (self.directory / file).resolve()
        if not path.is_relative_to(root):
            raise UsageError(
                f"{shown(file)}: expected a sweep file below {root}; a person can name another --directory"
            )
        for word in (*overrides, *([profile] if profile else [])):
            if word.startswith("-"):
                raise UsageError(f"overrides: expected KEY=VALUE, as in lr=1e-4, got {shown(word)}")
        return machine.SweepFile(
            file=path.relative_to(root), overrides=tuple(overrides), profile=profile, runs=self.service.folder
        )

    def opened(self, run: str) -> OpenRun:
        """Return a run; the caller holds the lock."""
        return self.service.run(run)

    def _allowance(self) -> answers.Allowance | None:
        return self.budget.allowance() if self.can_act else None

    def _sleep(self, seconds: float) -> None:
        if self.closing.wait(seconds):
            raise _Ended


LOOKS = ("runs", "state", "trials", "why", "output", "curves", "compare", "check", "plan", "doctor", "wait")
"""The names of the tools, in the order in which they are listed."""
