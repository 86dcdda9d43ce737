"""Slurm's queue, by its own commands: sbatch puts a job in, squeue says what is there, scancel signals and cancels.

Accounting (sacct) is never asked: many clusters have none. Every command is bounded. squeue, which is asked again and
again, is one query for all jobs of the user, at most every `LOOK_EVERY_S`, less often where it is slow, never awaited.
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

LOOK_EVERY_S = 2.0
LEAST_PAUSE = 10.0
"""So many times as long as squeue took, it is left alone."""
ANSWERS_WITHIN_S = 60.0
"""A controller that takes longer is one that does not answer."""

PENDING = "PENDING"
ENDED = frozenset(
    {
        *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"),
        *("REVOKED", "TIMEOUT"),
    }
)
"""States of jobs that squeue still shows for a while and that run no more. All others may be, or come, alive."""


class Refused(SweeperError):
    """A command of Slurm failed, in its own words."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job that has not ended, as squeue showed it last."""

    id: str
    state: str


class Queue:
    """The jobs of this user by their names, as of `as_of` (monotonic seconds); `trouble` says why that is not newer."""

    def __init__(self) -> None:
        self.jobs: Mapping[str, Job] = {}
        self.as_of = -math.inf
        self.trouble = ""
        self._asked: subprocess.Popen[bytes] | None = None
        self._asked_at = -math.inf
        self._next = -math.inf
        self._answer: IO[bytes] | None = None

    def look(self) -> bool:
        """Take in the answer to an earlier question, if there is one, and ask anew when it is time.

        True where an answer was taken in.
        """
        fresh = self._asked is not None and self._take()
        if self._asked is None and time.monotonic() >= self._next:
            self._ask()
        return fresh

    def submit(self, script: str, options: Sequence[str], environment: Mapping[str, str]) -> str:
        """The id of a new job that runs a script.

        Raises:
            Refused: sbatch failed; the job may be in the queue all the same.
        """
        answer = _call(["sbatch", "--parsable", *options], environment=environment, text=script)
        return answer.strip().split(";")[0]

    def signal(self, job: str, name: str) -> None:
        """A signal to the batch process of a job, and to nothing else of it.

        Raises:
            Refused: it runs no such process, or the controller cannot be reached.
        """
        _call(["scancel", "--batch", f"--signal={name}", job])

    def cancel(self, job: str) -> None:
        """Take a job from the queue, or have Slurm end all its processes.

        Raises:
            Refused: there is no such job, or the controller cannot be reached.
        """
        _call(["scancel", job])

    def close(self) -> None:
        """Wait for no answer."""
        if self._asked is not None and self._answer is not None:
            self._asked.kill()
            self._asked.wait()
            self._answer.close()
            self._asked = self._answer = None

    def _ask(self) -> None:
        self._asked_at = time.monotonic()
        self._answer = tempfile.TemporaryFile()  # noqa: SIM115 - kept; a pipe would fill, and nobody waits to empty it
        command = ["squeue", "--noheader", f"--user={os.getuid()}", "--states=all", "--format=%i|%T|%j"]
        try:
            self._asked = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=self._answer,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us
            )
        except OSError as error:
            self._answer.close()
            self.trouble = f"squeue cannot be started: {error.strerror}"
            self._next = self._asked_at + LOOK_EVERY_S

    def _take(self) -> bool:
        assert self._asked is not None and self._answer is not None  # noqa: S101, PT018 - asked is asked into a file
        code, took_s = self._asked.poll(), time.monotonic() - self._asked_at
        if code is None and took_s < ANSWERS_WITHIN_S:
            return False
        if code is None:
            self._asked.kill()
            self._asked.wait()
        with self._answer as answer:
            answer.seek(0)
            text = answer.read().decode(errors="replace")
        self._asked = self._answer = None
        self._next = time.monotonic() + max(LOOK_EVERY_S, LEAST_PAUSE * took_s if code == 0 else 0)
        if code != 0:
            why = text.strip().splitlines()[-1:] or [f"no answer within {ANSWERS_WITHIN_S:g} s"]
            self.trouble = f"squeue fails, so that jobs are taken to be as they were: {why[0]}"
            return False
        self.trouble, self.as_of = "", self._asked_at
        self.jobs = jobs_of(text)
        return True


def jobs_of(text: str) -> dict[str, Job]:
    """The jobs that have not ended in what squeue printed, by name; of several of a name, one that has begun.

    A job may have been submitted twice, where the first answer did not come; the other one ends when it begins.
    """
    jobs: dict[str, Job] = {}
    for line in text.splitlines():
        parts = line.split("|", 2)  # a name may hold anything but a newline
        if len(parts) == 3 and parts[1] not in ENDED:  # noqa: PLR2004 - as many as were asked for
            number, state, name = parts
            if name not in jobs or jobs[name].state == PENDING:
                jobs[name] = Job(number, state)
    return jobs


def missing() -> str:
    """Which of the commands are not on this machine; empty where all are."""
    return ", ".join(name for name in ("sbatch", "squeue", "scancel") if shutil.which(name) is None)


def acceptable(options: Sequence[str]) -> None:
    """See that Slurm takes jobs with these options.

    Raises:
        Refused: it does not, and why.
    """
    _call(["sbatch", "--test-only", *options], text="#!/bin/sh\n")


def submission_environment(own: Mapping[str, str]) -> dict[str, str]:
    """The environment of who submits, without what a job that it may run in itself is told of its own size."""
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
            errors="replace",
            timeout=ANSWERS_WITHIN_S,
            env=dict(environment) if environment is not None else submission_environment(os.environ),
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Refused(f"{command[0]}: no answer within {ANSWERS_WITHIN_S:g} s") from error
    except OSError as error:
        raise Refused(f"{command[0]}: cannot be started: {error.strerror}") from error
    if run.returncode:
        told = [line.removeprefix(f"{command[0]}: ").removeprefix("error: ") for line in run.stderr.split("\n") if line]
        raise Refused(f"{command[0]}: {'; '.join(told) or f'exit code {run.returncode}'}")
    return run.stdout


def escaped(path: Path) -> str:
    """A path as sbatch takes it for output: a percent sign begins a pattern there."""
    return str(path).replace("%", "%%")
