"""The tools that act. Each needs a reason, is on the record with the name of the agent, and keeps to the budget."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeAlias

from pydantic import Field

from sweeper.agent import answers
from sweeper.agent.author import author, reason
from sweeper.agent.budget import Budget, planned_of, repairs_of, spec_of
from sweeper.agent.look import File, Look, Number, Overrides, Profile, Run
from sweeper.agent.text import quoted, shown
from sweeper.config import SweepSpec
from sweeper.errors import UsageError
from sweeper.record.storage.journal import read_journal
from sweeper.record.storage.layout import SweepDir
from sweeper.record.storage.lease import is_held
from sweeper.results.asked import given
from sweeper.service import commands, machine, start
from sweeper.service.answers.machine import Sent
from sweeper.service.open_run import OpenRun

RECORDED_S, LOOK_EVERY_S = 30.0, 0.02
"""How long a sweep that has started may take until that is on its record; and how often it is looked at."""
_Send: TypeAlias = Callable[[SweepDir], Sent]
Because: TypeAlias = Annotated[str, Field(description="reason for the record, in one sentence", min_length=1)]
Numbers: TypeAlias = Annotated[list[int], Field(description="numbers of trials; empty: the whole sweep")]


@dataclass(frozen=True, slots=True)
class Act:
    """The tools that act, beside those that look."""

    look: Look

    def run(
        self,
        file: File,
        because: Because,
        overrides: Overrides = [],  # noqa: B006 - never changed
        profile: Profile = None,
        workers: Annotated[int | None, Field(description="concurrent trials; null: as many as fit", ge=1)] = None,
    ) -> answers.Done:
        """Start the sweep of a file, or resume it; it outlives this server. Call check and plan before."""
        source, by, why = self.look.source(file, overrides, profile), author(), reason(because)
        if self.look.service.single:
            raise UsageError(f"{source.runs}: expected a folder of runs, got one run; a person can name the folder")
        with self._one_at_a_time():
            spec = self._loaded(source)
            hours = self._allowed(spec)
            if hours is not None:  # the last override counts
                source = replace(source, overrides=(*source.overrides, f"budget.gpu_hours={hours!r}"))
            before = _starts(SweepDir(source.runs / spec.name))
            started = start.run(source, workers=workers, by=by, because=why)
            run = SweepDir(source.runs / started.name)
            _until_recorded(run, before + 1)
            self._verify(run, spec, hours)
            return answers.Done(
                run=shown(started.name),
                command="run",
                by=shown(by, 200),
                because=why,
                running=is_held(run.lease),
                allowance=self._allowance(),
                next="wait(run, event) for `flag` or `end`; state(run)",
            )

    def stop(self, run: Run, because: Because, numbers: Numbers = []) -> answers.Done:  # noqa: B006 - never changed
        """Stop trials for good; without numbers, interrupt the whole sweep, which `run` can resume."""
        return self._sent(run, lambda it: commands.stop(it, numbers, by=author(), because=reason(because)))

    def pause(self, run: Run, because: Because, numbers: Numbers = []) -> answers.Done:  # noqa: B006 - never changed
        """Pause trials at a checkpoint; without numbers, the whole sweep."""
        return self._sent(run, lambda it: commands.pause(it, numbers, by=author(), because=reason(because)))

    def resume(self, run: Run, because: Because, numbers: Numbers = []) -> answers.Done:  # noqa: B006 - never changed
        """Resume paused trials; without numbers, the paused sweep."""
        return self._sent(run, lambda it: commands.resume(it, numbers, by=author(), because=reason(because)), uses=True)

    def revive(self, run: Run, number: Number, because: Because) -> answers.Done:
        """Continue a trial that was stopped early from its checkpoint; no rule stops it again."""
        return self._sent(run, lambda it: commands.revive(it, number, by=author(), because=reason(because)), uses=True)

    def exempt(self, run: Run, number: Number, because: Because) -> answers.Done:
        """Let no rule stop a trial; if it was stopped, it continues."""
        return self._sent(run, lambda it: commands.exempt(it, number, by=author(), because=reason(because)), uses=True)

    def add(
        self,
        run: Run,
        params: Annotated[
            dict[str, Any],
            Field(description='a value for each parameter that varies: {"lr": 1e-4}', min_length=1),
        ],
        because: Because,
    ) -> answers.Done:
        """Add a configuration to a sweep, running or not."""
        by, why = author(), reason(because)
        for name in params:
            if name.startswith("-"):
                raise UsageError(f"params: expected names of parameters, got {shown(name)}")
        with self._one_at_a_time():
            with self.look.lock:
                opened = self.look.opened(run)
                known = _numbers_with(opened, params)
                spec = spec_of(opened.directory)
                if known:
                    has = f"trial {known[0]} has this configuration already"
                    raise UsageError(f"{shown(run)}: {has}; why(run, {known[0]}) explains it")
                self._budget.require_trials(
                    len(spec.seeds) * (1 + repairs_of(spec)), f"{shown(run)}: this configuration"
                )
                self._budget.require_hours(f"{shown(run)}: no configuration can be added")
            sent = commands.add(opened.directory, params, by=by, because=why)
            return self._done(run, sent)

    def derive(
        self,
        run: Run,
        number: Number,
        changes: Annotated[
            dict[str, Any],
            Field(description='the parameters that differ, with their new values: {"lr": 1e-4}', min_length=1),
        ],
        because: Because,
        at: Annotated[
            int | None, Field(description="step to continue from; -1: the start; null: the newest checkpoint", ge=-1)
        ] = None,
    ) -> answers.Done:
        """Continue a trial from a checkpoint with changed parameters, as a new trial; also one that failed."""
        by, why = author(), reason(because)
        with self._one_at_a_time():
            with self.look.lock:
                directory = self.look.opened(run).directory
                self._budget.require_trials(1 + repairs_of(spec_of(directory)), f"{shown(run)}: this derived trial")
                self._budget.require_hours(f"{shown(run)}: no trial can be derived")
            return self._done(run, commands.derive(directory, number, changes, at=at, by=by, because=why))

    @property
    def _budget(self) -> Budget:
        return self.look.budget

    def _loaded(self, source: machine.SweepFile) -> SweepSpec:
        from sweeper.executors.gpus.devices import cuda_devices

        return machine.loaded(source, cuda_devices(os.environ), say=lambda _: None, inspect=False)

    def _allowed(self, spec: SweepSpec) -> float | None:
        """Return the GPU hours that a sweep may use in all, of those that agents may use; None without a limit.

        Raises:
            UsageError: the sweep would need more than is left.
        """
        with self.look.lock:
            self._budget.require_start(spec.name, spec)
            allowed = self._budget.hours_for(spec.name)
        own = spec.budget.gpu_hours
        return allowed if allowed is None or own is None else min(own, allowed)

    def _verify(self, run: SweepDir, spec: SweepSpec, hours: float | None) -> None:
        """Interrupt a sweep that is larger than what was allowed, because its file was changed meanwhile."""
        if self._budget.limits.trials is None and hours is None:
            return
        recorded = spec_of(run)
        more = (planned_of(recorded) or 0) > (planned_of(spec) or 0) or planned_of(recorded) is None
        limit = recorded.budget.gpu_hours
        if (self._budget.limits.trials is not None and more) or (
            hours is not None and (limit is None or limit > hours)
        ):
            commands.stop(run, by=author(), because="its file was changed after its budget was checked")
            raise UsageError(f"{run.path}: the sweep file was changed while it was started; the sweep is interrupted")

    def _sent(self, run: str, send: _Send, *, uses: bool = False) -> answers.Done:
        """Send a command to a run; with `uses`, it may use GPUs."""
        with self._one_at_a_time():
            with self.look.lock:
                directory = self.look.opened(run).directory
                if uses:
                    self._budget.require_hours(f"{shown(run)}: nothing can be continued")
            return self._done(run, send(directory))

    def _done(self, run: str, sent: Sent) -> answers.Done:
        with self.look.lock:
            self.look.opened(run).look_at(sent.numbers)
        numbers = list(sent.numbers[:50])
        told = "the sweep does it next; state(run) or wait(run, event) shows what becomes of it"
        return answers.Done(
            run=shown(run),
            command=sent.command,
            trials=numbers or None,
            by=shown(sent.by, 200),
            because=sent.because,
            running=sent.running,
            warnings=quoted(sent.warnings, 5) or None,
            allowance=self._allowance(),
            next=told if sent.running else "no process runs this sweep: run(file) does it before anything else",
        )

    def _allowance(self) -> answers.Allowance | None:
        with self.look.lock:
            return self._budget.allowance()

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        """Hold the folder of runs, so that no other server of agents spends the same budget meanwhile."""
        folder = self.look.service.folder
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _starts(run: SweepDir) -> int:
    """Return how often the sweep of a run was started by command, according to its record."""
    return sum(one.do == "run" for one in given(read_journal(run.log)))


def _until_recorded(run: SweepDir, starts: int) -> None:
    """Wait until the start of a sweep is on the record, from which the next budget is counted."""
    end = time.monotonic() + RECORDED_S
    while time.monotonic() < end and is_held(run.lease) and not (run.spec.exists() and _starts(run) >= starts):
        time.sleep(LOOK_EVERY_S)


def _numbers_with(run: OpenRun, params: dict[str, Any]) -> list[int]:
    """Return the trials that have these values already."""
    from sweeper.config import identity

    wanted = {name: identity(value) for name, value in params.items()}
    return [
        trial.number
        for trial in run.view.trials
        if set(trial.facts.shown) <= set(params)
        and all(
            name in trial.facts.params and identity(trial.facts.params[name]) == key for name, key in wanted.items()
        )
    ]


ACTS = ("run", "stop", "pause", "resume", "revive", "exempt", "add", "derive")
"""The names of the tools that act."""
