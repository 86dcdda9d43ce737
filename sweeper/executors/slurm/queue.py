"""Slurm's queue, by its commands: sbatch submits a job, squeue lists jobs, scancel signals and cancels them.

Accounting (sacct) is not used, because many clusters have none. Every command has a timeout. squeue is called for all
jobs of the user at once, in the background, every `POLL_EVERY_S` at most and less often if it is slow.
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from sweeper.errors import SweeperError

POLL_EVERY_S = 2.0
PAUSE_FACTOR = 10.0
"""The pause before the next call of squeue is at least this many times the duration of the last one."""
COMMAND_TIMEOUT_S = 60.0
"""A controller that takes longer than this is taken not to respond."""

PENDING = "PENDING"
ENDED = frozenset(
    {
        *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"),
        *("REVOKED", "TIMEOUT"),
    }
)
"""States of jobs that have ended and that squeue still lists for a while. Jobs in all other states may be alive."""


class SlurmCommandFailed(SweeperError):
    """A command of Slurm failed; the message is that of the command."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job that has not ended, as squeue listed it last."""

    id: str
    state: str


class JobQueue:
    """The jobs of this user in Slurm's queue.

    Attributes:
        jobs: The jobs that have not ended, by name.
        as_of: When squeue was called for this list, in monotonic seconds; -inf before the first list.
        trouble: Why the last call of squeue failed, for users; empty if it succeeded.
    """

    def __init__(self) -> None:
        """Start with an empty queue."""
        self.jobs: Mapping[str, Job] = {}
        self.as_of = -math.inf
        self.trouble = ""
        self._squeue: subprocess.Popen[bytes] | None = None
        self._called_at = -math.inf
        self._next_call = -math.inf
        self._output: IO[bytes] | None = None

    def poll(self) -> bool:
        """Read the output of squeue if it has ended, and call it again when it is time.

        Returns:
            Whether `jobs` is new.
        """
        is_new = self._squeue is not None and self._read()
        if self._squeue is None and time.monotonic() >= self._next_call:
            self._call_squeue()
        return is_new

    def submit(self, script: str, options: Sequence[str], environment: Mapping[str, str]) -> str:
        """Submit a job that runs a script.

        Args:
            script: The text of the script.
            options: Options of sbatch.
            environment: The environment of the job.

        Returns:
            The id of the job.

        Raises:
            SlurmCommandFailed: sbatch failed. The job may be in the queue nevertheless.
        """
        printed = _call(["sbatch", "--parsable", *options], environment=environment, text=script)
        return printed.strip().split(";")[0]

    def signal(self, job: str, name: str) -> None:
        """Send a signal to the batch process of a job, not to its other processes.

        Raises:
            SlurmCommandFailed: The job has no such process, or the controller does not respond.
        """
        _call(["scancel", "--batch", f"--signal={name}", job])

    def cancel(self, job: str) -> None:
        """Remove a pending job from the queue, or have Slurm end all processes of a running one.

        Raises:
            SlurmCommandFailed: There is no such job, or the controller does not respond.
        """
        _call(["scancel", job])

    def close(self) -> None:
        """Stop waiting for squeue."""
        if self._squeue is not None and self._output is not None:
            self._squeue.kill()
            self._squeue.wait()
            self._output.close()
            self._squeue = self._output = None

    def _call_squeue(self) -> None:
        self._called_at = time.monotonic()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed later; a pipe would fill up
        command = ["squeue", "--noheader", f"--user={os.getuid()}", "--states=all", "--format=%i|%T|%j"]
        try:
            self._squeue = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that Ctrl-C does not reach it
            )
        except OSError as error:
            self._output.close()
            self.trouble = f"squeue cannot be started: {error.strerror}"
            self._next_call = self._called_at + POLL_EVERY_S

    def _read(self) -> bool:
        assert self._squeue is not None and self._output is not None  # noqa: S101, PT018 - only called while squeue runs
        code, took_s = self._squeue.poll(), time.monotonic() - self._called_at
        if code is None and took_s < COMMAND_TIMEOUT_S:
            return False
        if code is None:
            self._squeue.kill()
            self._squeue.wait()
        with self._output as output:
            output.seek(0)
            text = output.read().decode(errors="replace")
        self._squeue = self._output = None
        self._next_call = time.monotonic() + max(POLL_EVERY_S, PAUSE_FACTOR * took_s if code == 0 else 0)
        if code != 0:
            reason = text.strip().splitlines()[-1:] or [f"no response within {COMMAND_TIMEOUT_S:g} s"]
            self.trouble = f"squeue failed, so the last known states of jobs are used: {reason[0]}"
            return False
        self.trouble, self.as_of = "", self._called_at
        self.jobs = jobs_of(text)
        return True


def jobs_of(text: str) -> dict[str, Job]:
    """Return the jobs that have not ended from the output of squeue, by name.

    A job may have been submitted twice, if the first call of sbatch seemed to fail. Then the one that has started
    counts, and the other one ends as soon as it starts.
    """
    jobs: dict[str, Job] = {}
    for line in text.splitlines():
        parts = line.split("|", 2)  # a name can contain anything but a newline
        if len(parts) == 3 and parts[1] not in ENDED:  # noqa: PLR2004 - the number of fields in the format
            number, state, name = parts
            if name not in jobs or jobs[name].state == PENDING:
                jobs[name] = Job(number, state)
    return jobs


def missing_commands() -> str:
    """Return the names of Slurm's commands that are not on this machine, separated by commas; empty if all are."""
    return ", ".join(name for name in ("sbatch", "squeue", "scancel") if shutil.which(name) is None)


def check_options(options: Sequence[str]) -> None:
    """Check that Slurm accepts jobs with these options of sbatch.

    Raises:
        SlurmCommandFailed: It does not; the message is the reason.
    """
    _call(["sbatch", "--test-only", *options], text="#!/bin/sh\n")


def submission_environment(own: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a new job, without the variables of a job that this process may run in.

    Otherwise sbatch would use the number of tasks and nodes of that job.
    """
    return {
        name: value for name, value in own.items() if not name.startswith("SLURM_") or name.startswith("SLURM_CONF")
    }


def _call(command: Sequence[str], *, environment: Mapping[str, str] | None = None, text: str = "") -> str:
    try:
        run = subprocess.run(
            command,
            input=text,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=COMMAND_TIMEOUT_S,
            env=dict(environment) if environment is not None else submission_environment(os.environ),
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SlurmCommandFailed(f"{command[0]}: no response within {COMMAND_TIMEOUT_S:g} s") from error
    except OSError as error:
        raise SlurmCommandFailed(f"{command[0]}: cannot be started: {error.strerror}") from error
    if run.returncode:
        lines = [
            line.removeprefix(f"{command[0]}: ").removeprefix("error: ") for line in run.stderr.split("\n") if line
        ]
        raise SlurmCommandFailed(f"{command[0]}: {'; '.join(lines) or f'exit code {run.returncode}'}")
    return run.stdout


def escaped(path: Path) -> str:
    """Return a path for sbatch's --output, in which a percent sign starts a pattern."""
    return str(path).replace("%", "%%")
