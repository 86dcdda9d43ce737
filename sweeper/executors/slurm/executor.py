"""The Slurm executor: each attempt is one job, which runs the shim.

1. *The name of a job identifies it.* The name follows from the attempt's directory, so it is known before sbatch is
   called, and `Launched` is on the record. A new orchestrator finds the job by its name, whenever the last one died.
2. *An attempt runs once, whatever Slurm does.* The shim claims it (O_EXCL on the shared disk). A job that is submitted
   twice, restarted by a controller or requeued by an operator finds the attempt claimed, and ends. sweeper never
   requests a requeue; it launches a new attempt instead.
3. *An attempt that no shim has claimed is ended by claiming it* without an owner: a job that starts later ends at once.
4. *A job is alive while squeue lists it.* If squeue fails, its last known state counts. Locks are not checked, because
   a lock of another host may not be visible on a shared disk.
5. A time limit or a preemption arrives as SIGTERM, like a stop: the worker saves a checkpoint and ends.
"""

from __future__ import annotations

import hashlib
import math
import os
import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sweeper.config import Resources, Slurm
from sweeper.errors import UsageError
from sweeper.executors.executor import Blocker, HasFileno, Slot
from sweeper.executors.python import run_shim
from sweeper.executors.slots.division import threads_of
from sweeper.executors.slurm.queue import (
    PENDING,
    Job,
    JobQueue,
    SlurmCommandFailed,
    check_options,
    escaped,
    missing_commands,
    submission_environment,
)
from sweeper.record.storage import confined
from sweeper.record.storage.claim import make_claim
from sweeper.record.storage.layout import AttemptDir, TrialDir

SUBMITTED = "SUBMITTED"
"""The state of a job for which squeue was not called since it was submitted."""
DEFAULT_JOBS = 8
"""The maximum number of jobs in the queue, unless the user gives one."""
GRACE_S = 120
"""A job is asked to stop this long before its time limit; Slurm may do so a minute earlier (sbatch(1), --signal)."""
SETTLE_S = 5.0
"""How long it may take until a file that another host wrote is visible here."""
KILL_TIMEOUT_S = 10.0
"""If the shim was asked to kill its attempt and did not end within this time, Slurm ends the job."""
RESUBMIT_AFTER_S = 10.0
"""Pause before a job that could not be submitted is submitted again."""


@dataclass(slots=True)
class SignalRequest:
    """A signal that a job should get.

    Attributes:
        signal: Its name without "SIG".
        at: When it was requested, in monotonic seconds.
        sent: Whether scancel sent it.
        cancelled: Whether the job was cancelled.
    """

    signal: str
    at: float
    sent: bool = False
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class FailedSubmission:
    """A job that could not be submitted: the reason, and when that was, in monotonic seconds."""

    script: str
    slot: Slot
    reason: str
    at: float


class SlurmExecutor:
    """Runs attempts as Slurm jobs, on nodes that have the sweep's directory and this Python under the same paths."""

    def __init__(self, slots: Sequence[Slot], options: Sequence[str], queue: JobQueue | None = None) -> None:
        """Use the given slots.

        Args:
            slots: One slot for each job that may be in the queue at a time.
            options: Options of sbatch for every job.
            queue: Slurm's queue; by default a new object.
        """
        self._slots = tuple(slots)
        self._options = tuple(options)
        self._avoided: set[str] = set()
        self._queue = queue or JobQueue()
        self._began = time.monotonic()
        self._submitted: dict[str, tuple[float, str]] = {}
        self._unsubmitted: dict[str, FailedSubmission] = {}
        self._signals: dict[str, SignalRequest] = {}
        self._fenced: set[str] = set()
        self._claimed: dict[str, float] = {}
        self._gone: dict[str, float] = {}

    def slots(self) -> Sequence[Slot]:
        """Return one slot for each job that may be in the queue at a time."""
        return self._slots

    def reserve(self, trial: TrialDir, attempt: int, slot: Slot) -> bool:  # noqa: ARG002 - not shared
        """Return True: Slurm allocates the resources of a job when it starts it."""
        return True

    def launch(self, trial: TrialDir, attempt: int, command: Sequence[str], slot: Slot) -> None:
        """Submit the job of an attempt. If Slurm does not accept it now, it is submitted again until it does."""
        directory = trial.attempt(attempt)
        confined.make_folder(directory.path)
        self._submit(directory, f"#!/bin/sh\nexec {shlex.join(run_shim(trial.path, attempt, command))}\n", slot)

    def stop(self, attempt: AttemptDir) -> None:
        """Send SIGTERM to the shim, which passes it to the worker; cancel a job that has not started."""
        self._request_signal(attempt, "TERM")

    def kill(self, attempt: AttemptDir) -> None:
        """Send SIGQUIT to the shim, which kills the attempt; cancel a job that has not started.

        Slurm ends what is left after `KILL_TIMEOUT_S`.
        """
        self._request_signal(attempt, "QUIT")

    def dump(self, attempt: AttemptDir) -> None:
        """Send SIGUSR1 to the shim. It handles that signal before it claims the attempt."""
        if attempt.claim.exists() and (job := self._job(job_name(attempt))) is not None:
            self._signal(job.id, "USR1")

    def faults(self) -> Mapping[str, str]:
        """Return nothing: Slurm decides which nodes can be used."""
        return {}

    def avoid(self, node: str) -> bool:
        """Exclude a node from all later jobs; return False if Slurm has no other node for them."""
        try:
            check_options([*self._options, _excluding({*self._avoided, node})])
        except SlurmCommandFailed:
            return False
        self._avoided.add(node)
        return True

    def is_alive(self, attempt: AttemptDir) -> bool:
        """Return whether the attempt's job is, or may be, in the queue, and its end is not on the record."""
        self._poll()
        name = job_name(attempt)
        if attempt.exit.exists() or name in self._fenced or not attempt.path.is_dir():
            return False
        if name in self._unsubmitted:
            self._submit_again(attempt)
            return True
        job = self._job(name)
        if job is None and self._queue.as_of <= self._submitted.get(name, (self._began, ""))[0]:
            return True  # squeue was not called since
        if job is not None and not self._was_requeued(attempt, job):
            return True
        if job is not None:
            self._cancel(job.id)  # the attempt was claimed before, so the job would end at once
        elif make_claim(attempt, {}):
            return False
        return self._may_end_appear(attempt, name)

    def device_peak_mb(self, attempt: AttemptDir) -> float | None:  # noqa: ARG002 - the same for all
        """Return None: device memory is not measured in Slurm jobs."""
        return None

    def ends(self) -> Sequence[HasFileno]:
        """Return nothing: ends are found with squeue and in the record."""
        return ()

    def troubles(self) -> Sequence[str]:
        """Return why the state of the queue is not known, and why jobs are not accepted."""
        self._poll()
        rejected = {
            f"Slurm rejected a job, which will be submitted again: {failed.reason}": None
            for failed in self._unsubmitted.values()
        }
        return [text for text in (self._queue.trouble, *rejected) if text]

    def waits_for(self) -> Sequence[Blocker]:
        """Return nothing: every job is submitted at once, and waits in Slurm's queue."""
        return ()

    def close(self) -> None:
        """Stop waiting for squeue. Jobs continue."""
        self._queue.close()

    # ---- jobs -----------------------------------------------------------------------------------------------------

    def _submit(self, attempt: AttemptDir, script: str, slot: Slot) -> None:
        name = job_name(attempt)
        options = [
            *self._options,
            *([_excluding(self._avoided)] if self._avoided else []),
            *(f"--job-name={name}", "--no-requeue", "--open-mode=append", "--export=ALL"),
            *(f"--output={escaped(attempt.output.absolute())}", f"--signal=B:TERM@{GRACE_S}"),
        ]
        environment = {**submission_environment(os.environ), "PYTHONUNBUFFERED": "1", **slot.environment}
        try:
            if self._queue.trouble:  # sbatch would block until its timeout
                raise SlurmCommandFailed(self._queue.trouble)  # noqa: TRY301 - handled like a failure of sbatch
            job = self._queue.submit(script, options, environment)
        except SlurmCommandFailed as error:
            self._unsubmitted[name] = FailedSubmission(script, slot, str(error), time.monotonic())
        else:
            self._unsubmitted.pop(name, None)
            self._submitted[name] = time.monotonic(), job

    def _submit_again(self, attempt: AttemptDir) -> None:
        """Submit a job again when it is time. It does no harm if Slurm has the first one: the attempt runs once."""
        last = self._unsubmitted[job_name(attempt)]
        if time.monotonic() - last.at > RESUBMIT_AFTER_S and not self._queue.trouble:
            self._submit(attempt, last.script, last.slot)

    def _job(self, name: str) -> Job | None:
        """Return the job of this name; None if it is not known to be in the queue."""
        job = self._queue.jobs.get(name)
        at, number = self._submitted.get(name, (-math.inf, ""))
        return Job(number, SUBMITTED) if job is None and at >= self._queue.as_of else job

    def _was_requeued(self, attempt: AttemptDir, job: Job) -> bool:
        """Return whether a job is pending although its attempt was claimed before squeue was called."""
        if job.state != PENDING or not attempt.claim.exists():
            return False
        return self._claimed.setdefault(job_name(attempt), time.monotonic()) < self._queue.as_of

    def _may_end_appear(self, attempt: AttemptDir, name: str) -> bool:
        """Return whether an end that another host has recorded may still become visible here."""
        since = self._gone.setdefault(name, time.monotonic())
        list(attempt.path.iterdir())  # opening a directory rereads it, also on NFS (nfs(5), close-to-open)
        return not attempt.exit.exists() and time.monotonic() - since < SETTLE_S

    def _request_signal(self, attempt: AttemptDir, signal: str) -> None:
        name = job_name(attempt)
        if attempt.path.is_dir() and make_claim(attempt, {}):
            self._fenced.add(name)
            self._unsubmitted.pop(name, None)
        self._signals[name] = SignalRequest(signal, time.monotonic())
        self._deliver(name)

    def _poll(self) -> None:
        """Read what squeue printed, and deliver signals again that could not be sent to jobs that are still there."""
        if not self._queue.poll():
            return
        for name in list(self._signals):
            if name in self._queue.jobs or self._submitted.get(name, (-math.inf, ""))[0] >= self._queue.as_of:
                self._deliver(name)
            else:
                del self._signals[name]

    def _deliver(self, name: str) -> None:
        """Send the signal that a job should get, once; cancel a job that has not started, or that did not obey."""
        request, job = self._signals[name], self._job(name)
        if job is None or request.cancelled:
            return
        timed_out = request.signal == "QUIT" and time.monotonic() - request.at > KILL_TIMEOUT_S
        if name in self._fenced or timed_out:
            request.cancelled = self._cancel(job.id)
        elif not request.sent:
            request.sent = self._signal(job.id, request.signal)

    def _signal(self, job: str, signal: str) -> bool:
        try:
            self._queue.signal(job, signal)
        except SlurmCommandFailed:
            return False
        return True

    def _cancel(self, job: str) -> bool:
        try:
            self._queue.cancel(job)
        except SlurmCommandFailed:
            return False
        return True


def _excluding(nodes: Iterable[str]) -> str:
    return f"--exclude={','.join(sorted(nodes))}"


def job_name(attempt: AttemptDir) -> str:
    """Return the name of an attempt's job: sweep, trial and attempt for users, and a digest of the trial's path."""
    trial = attempt.path.absolute().parent.parent
    digest = hashlib.sha256(os.fsencode(trial.resolve())).hexdigest()[:10]
    sweep = "".join(c if c.isascii() and (c.isalnum() or c in "._+=-") else "-" for c in trial.parent.parent.name)
    return f"sweeper-{sweep}-{trial.name}.{attempt.number}-{digest}"


def slurm_executor(settings: Slurm, resources: Resources, workers: int | None) -> SlurmExecutor:
    """Return the executor for the jobs of a sweep.

    Args:
        settings: The settings of the executor.
        resources: What a trial needs.
        workers: The maximum number of jobs in the queue; None: `array_parallelism`, or else `DEFAULT_JOBS`.

    Raises:
        UsageError: Slurm's commands are not on this machine, or Slurm rejects jobs with these settings.
    """
    if absent := missing_commands():
        raise UsageError(
            f"executor: slurm: expected Slurm's commands on this machine, got no {absent}; run sweeper on a login node"
        )
    options = options_of(settings, resources)
    try:
        check_options(options)
    except SlurmCommandFailed as error:
        raise UsageError(f"executor: slurm: Slurm rejects jobs with these settings: {error}") from error
    count = workers or settings.array_parallelism or DEFAULT_JOBS
    environment = threads_of(resources.cpus or 1)
    return SlurmExecutor([Slot(name=f"job {i}", environment=environment) for i in range(count)], options)


def options_of(settings: Slurm, resources: Resources) -> list[str]:
    """Return the options of sbatch for every job, from the executor's settings and the resources of a trial."""
    gres = settings.gres or (f"gpu:{math.ceil(resources.gpus)}" if resources.gpus else None)
    given = {
        "partition": settings.partition,
        "account": settings.account,
        "qos": settings.qos,
        "gres": gres,
        "time": settings.time,
        "cpus-per-task": resources.cpus,
    }
    return ["--nodes=1", *(f"--{name}={value}" for name, value in given.items() if value is not None)]
