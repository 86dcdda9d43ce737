"""The Slurm executor: a job an attempt, and the job is the shim.

1. *The name of the job is the handle.* It follows from the attempt's directory, so it is known before sbatch is called,
   and `Launched` on the record says it: whoever takes over finds the job by its name, whenever his predecessor died.
2. *An attempt runs once, whatever Slurm does.* The shim claims it (O_EXCL on the shared disk). A job that is submitted
   twice, restarted by a controller, or requeued by an operator, finds the claim made and ends; sweeper asks for no
   requeue, and launches a new attempt itself.
3. *An attempt that nobody claimed is ended by claiming it*, for nobody: a job that comes later ends at once.
4. *A job is alive while squeue shows it.* Where squeue fails, it is as it was. No lock is asked: that of another host
   may not be seen on a shared disk.
5. A time limit and a preemption come as SIGTERM, as a stop does: the worker saves a checkpoint and ends.
"""

from __future__ import annotations

import hashlib
import math
import os
import shlex
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sweeper.config import Resources, Slurm
from sweeper.errors import UsageError
from sweeper.executors.executor import HasFileno, Slot
from sweeper.executors.slots.division import threads_of
from sweeper.executors.slurm.queue import (
    PENDING,
    Job,
    Queue,
    Refused,
    acceptable,
    escaped,
    missing,
    submission_environment,
)
from sweeper.record.storage.claim import stake
from sweeper.record.storage.layout import AttemptDir, TrialDir

SUBMITTED = "SUBMITTED"
"""State of a job that squeue was not asked about since it was submitted."""
PARALLELISM = 8
"""Jobs in the queue at a time, where nobody says how many."""
GRACE_S = 120
"""So long before its time limit a job is asked to stop; Slurm may ask a minute earlier (sbatch(1), --signal)."""
SETTLES_S = 5.0
"""How long what another host wrote may take to be seen here."""
KILLED_WITHIN_S = 10.0
"""A shim that was told to kill and did not end by then is ended by Slurm."""
AGAIN_AFTER_S = 10.0
"""Pause before a job that could not be submitted is submitted again."""


@dataclass(slots=True)
class Asked:
    """A signal that a job is to get; `at` is when it was first sent, in monotonic seconds."""

    signal: str
    at: float
    sent: bool = False
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class Unsubmitted:
    """What could not be submitted, why, and when."""

    script: str
    slot: Slot
    why: str
    at: float


class SlurmExecutor:
    """Runs attempts as jobs of Slurm, on nodes that see the sweep's directory and this Python under the same paths."""

    def __init__(self, slots: Sequence[Slot], options: Sequence[str], queue: Queue | None = None) -> None:
        """`options` are sbatch's, of every job."""
        self._slots = tuple(slots)
        self._options = tuple(options)
        self._avoided: set[str] = set()
        self._queue = queue or Queue()
        self._began = time.monotonic()
        self._submitted: dict[str, tuple[float, str]] = {}
        self._unsubmitted: dict[str, Unsubmitted] = {}
        self._asked: dict[str, Asked] = {}
        self._fenced: set[str] = set()
        self._claimed: dict[str, float] = {}
        self._gone: dict[str, float] = {}

    def slots(self) -> Sequence[Slot]:
        """Room for jobs: how many are in the queue at a time."""
        return self._slots

    def reserve(self, trial: TrialDir, attempt: int, slot: Slot) -> bool:  # noqa: ARG002 - nobody else has it
        """Ours it is: Slurm knows who else has what lies below it."""
        return True

    def launch(self, trial: TrialDir, attempt: int, command: Sequence[str], slot: Slot) -> None:
        """Submit the job of an attempt; where Slurm does not take it now, it is submitted again until it does."""
        directory = trial.attempt(attempt)
        directory.path.mkdir(parents=True, exist_ok=True)
        shim = [sys.executable, "-m", "sweeper.worker.process.shim", str(trial.path.absolute()), str(attempt), *command]
        self._submit(directory, f"#!/bin/sh\nexec {shlex.join(shim)}\n", slot)

    def stop(self, attempt: AttemptDir) -> None:
        """SIGTERM to the shim, which hands it to the worker; a job that has not begun is taken from the queue."""
        self._ask(attempt, "TERM")

    def kill(self, attempt: AttemptDir) -> None:
        """SIGQUIT to the shim, which kills; later, Slurm ends what is left. A job that has not begun never will."""
        self._ask(attempt, "QUIT")

    def dump(self, attempt: AttemptDir) -> None:
        """SIGUSR1 to the shim, which listens from before its claim on."""
        if attempt.claim.exists() and (job := self._job(job_name(attempt))) is not None:
            self._signal(job.id, "USR1")

    def faults(self) -> Mapping[str, str]:
        """Nothing: which nodes can be used is Slurm's to know."""
        return {}

    def avoid(self, node: str) -> bool:
        """Have no more jobs placed on a node, as long as Slurm has others that would take them."""
        try:
            acceptable([*self._options, _excluding({*self._avoided, node})])
        except Refused:
            return False
        self._avoided.add(node)
        return True

    def is_alive(self, attempt: AttemptDir) -> bool:
        """Whether the attempt's job is in the queue, or may be, and its end is not on the record."""
        self._look()
        name = job_name(attempt)
        if attempt.exit.exists() or name in self._fenced or not attempt.path.is_dir():
            return False
        if name in self._unsubmitted:
            return self._submit_again(attempt)
        job = self._job(name)
        if job is None and self._queue.as_of <= self._submitted.get(name, (self._began, ""))[0]:
            return True  # not asked since
        if job is not None and not self._was_requeued(attempt, job):
            return True
        if job is not None:
            self._cancel(job.id)  # it ran, and would end at once
        elif stake(attempt, {}):
            return False
        return self._settles(attempt, name)

    def device_peak_mb(self, attempt: AttemptDir) -> float | None:  # noqa: ARG002 - it is of none
        """Not measured."""
        return None

    def ends(self) -> Sequence[HasFileno]:
        """Nothing: squeue and the record tell."""
        return ()

    def troubles(self) -> Sequence[str]:
        """Why the queue is not known, and why jobs are not taken."""
        self._look()
        refused = {f"Slurm takes no job, and is asked again: {one.why}": None for one in self._unsubmitted.values()}
        return [text for text in (self._queue.trouble, *refused) if text]

    def close(self) -> None:
        """Wait for no more answers. What runs goes on."""
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
            if self._queue.trouble:  # sbatch would hold everybody up until it gives up
                raise Refused(self._queue.trouble)  # noqa: TRY301 - the same end as where sbatch fails
            job = self._queue.submit(script, options, environment)
        except Refused as refused:
            self._unsubmitted[name] = Unsubmitted(script, slot, str(refused), time.monotonic())
        else:
            self._unsubmitted.pop(name, None)
            self._submitted[name] = time.monotonic(), job

    def _submit_again(self, attempt: AttemptDir) -> bool:
        """True: the attempt may still come alive. Whether it was taken the last time does not matter: it runs once."""
        last = self._unsubmitted[job_name(attempt)]
        if time.monotonic() - last.at > AGAIN_AFTER_S and not self._queue.trouble:
            self._submit(attempt, last.script, last.slot)
        return True

    def _job(self, name: str) -> Job | None:
        """The job of a name, as far as it is known to be in the queue."""
        job = self._queue.jobs.get(name)
        at, number = self._submitted.get(name, (-math.inf, ""))
        return Job(number, SUBMITTED) if job is None and at >= self._queue.as_of else job

    def _was_requeued(self, attempt: AttemptDir, job: Job) -> bool:
        """Whether a job waits though its attempt was begun: claimed before squeue was asked."""
        if job.state != PENDING or not attempt.claim.exists():
            return False
        return self._claimed.setdefault(job_name(attempt), time.monotonic()) < self._queue.as_of

    def _settles(self, attempt: AttemptDir, name: str) -> bool:
        """Whether an end that was written on another host may still come to be seen here."""
        since = self._gone.setdefault(name, time.monotonic())
        list(attempt.path.iterdir())  # a directory that is opened is read anew, also on NFS (nfs(5), close-to-open)
        return not attempt.exit.exists() and time.monotonic() - since < SETTLES_S

    def _ask(self, attempt: AttemptDir, signal: str) -> None:
        name = job_name(attempt)
        if attempt.path.is_dir() and stake(attempt, {}):
            self._fenced.add(name)
            self._unsubmitted.pop(name, None)
        self._asked[name] = Asked(signal, time.monotonic())
        self._send(name)

    def _look(self) -> None:
        """Take in what squeue says; what was asked of jobs that are still there is asked again, where it failed."""
        if not self._queue.look():
            return
        for name in list(self._asked):
            if name in self._queue.jobs or self._submitted.get(name, (-math.inf, ""))[0] >= self._queue.as_of:
                self._send(name)
            else:
                del self._asked[name]

    def _send(self, name: str) -> None:
        """What was asked of a job, unless it was sent; it is cancelled where it has not begun, or did not obey."""
        asked, job = self._asked[name], self._job(name)
        if job is None or asked.cancelled:
            return
        deaf = asked.signal == "QUIT" and time.monotonic() - asked.at > KILLED_WITHIN_S
        if name in self._fenced or deaf:
            asked.cancelled = self._cancel(job.id)
        elif not asked.sent:
            asked.sent = self._signal(job.id, asked.signal)

    def _signal(self, job: str, signal: str) -> bool:
        try:
            self._queue.signal(job, signal)
        except Refused:
            return False
        return True

    def _cancel(self, job: str) -> bool:
        try:
            self._queue.cancel(job)
        except Refused:
            return False
        return True


def _excluding(nodes: Iterable[str]) -> str:
    return f"--exclude={','.join(sorted(nodes))}"


def job_name(attempt: AttemptDir) -> str:
    """The name of an attempt's job: sweep, trial and attempt for people, and a digest of where it lies."""
    trial = attempt.path.absolute().parent.parent
    digest = hashlib.sha256(os.fsencode(trial.resolve())).hexdigest()[:10]
    sweep = "".join(c if c.isascii() and (c.isalnum() or c in "._+=-") else "-" for c in trial.parent.parent.name)
    return f"sweeper-{sweep}-{trial.name}.{attempt.number}-{digest}"


def slurm_executor(settings: Slurm, resources: Resources, workers: int | None) -> SlurmExecutor:
    """An executor for the jobs that a sweep asks for.

    Raises:
        UsageError: Slurm is not here, or would not take such jobs.
    """
    if absent := missing():
        raise UsageError(
            f"executor: slurm: expected the commands of Slurm, got no {absent}; run sweeper on a login node"
        )
    options = options_of(settings, resources)
    try:
        acceptable(options)
    except Refused as refused:
        raise UsageError(f"executor: slurm: expected settings that Slurm takes a job with, got: {refused}") from refused
    count = workers or settings.array_parallelism or PARALLELISM
    environment = threads_of(resources.cpus or 1)
    return SlurmExecutor([Slot(name=f"job {i}", environment=environment) for i in range(count)], options)


def options_of(settings: Slurm, resources: Resources) -> list[str]:
    """What sbatch is told of every job: the settings as they are, and the sweep's resources."""
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
