"""The shim: `python -m sweeper.worker.process.shim TRIAL ATTEMPT COMMAND...`, the parent of one attempt's worker.

Only a parent can wait for a process, and the orchestrator may die before its workers. So the shim claims the attempt,
starts the worker, hands it a stop (SIGTERM), kills all descendants when told to (SIGQUIT: a second SIGTERM would be
merged with the first), hands SIGUSR1 (dump your stacks) to those that listen, reaps them, and writes how the worker
ended, and why as far as a parent can see. It is the leader of a session of its own, and a sub-reaper (prctl(2),
PR_SET_CHILD_SUBREAPER): what the worker leaves behind, in whatever session, becomes its child. Where it has a keeper
(`record.layout.KEEPER`), nobody else could end it once that is gone: then it kills the worker as if told to.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType

from sweeper.errors import RecordError, SweeperError, Unwritable, UsageError
from sweeper.record.causes import Cause, cause_of_exit
from sweeper.record.events import Finished
from sweeper.record.storage.claim import catches, claim, keeper_of
from sweeper.record.storage.codec import decode
from sweeper.record.storage.layout import ATTEMPT, TRIAL_DIR, AttemptDir, TrialDir
from sweeper.worker.process.command import filled
from sweeper.worker.standalone import write_exit

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
SIGNALS = STOP, KILL, DUMP = signal.SIGTERM, signal.SIGQUIT, signal.SIGUSR1
NOT_FOUND = 127
CGROUPS = Path("/sys/fs/cgroup")
LEFTOVERS_S = 10.0


class Shim:
    """One attempt's worker, from start to end; with the pidfd of its keeper, if it has one."""

    def __init__(self, keeper: int | None = None) -> None:
        self._worker = 0
        self._keeper = keeper
        self._asked: set[int] = set()
        # A signal between a look and a blocking waitpid(2) would not be seen before the worker ends: so the wait is for
        # a descriptor that every signal makes readable, that of a child's end among them.
        self._wake, self._awake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._awake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(STOP, self._on_signal)
        signal.signal(KILL, self._on_signal)
        signal.signal(DUMP, lambda *_: ask_for_stacks())

    def leave(self) -> None:
        """In a fork of the shim: be it no longer. Signals that were held back meanwhile do what they do by default."""
        for number in (*SIGNALS, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        for fd in (self._wake, self._awake, *self._keepers()):
            os.close(fd)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    @property
    def killed(self) -> bool:
        """Whether it was told to kill the worker."""
        return KILL in self._asked

    def wait(self, worker: int) -> int:
        """Reap until the worker has ended; returns its wait status."""
        self._worker = worker
        self._hand_on()  # what was asked while there was no worker yet
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == worker:
                return status
            if not pid:
                if self._keeper in select.select([self._wake, *self._keepers()], [], [])[0]:
                    self._keeper = None
                    self._on_signal(KILL, None)
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake, 1024)

    def _keepers(self) -> list[int]:
        return [] if self._keeper is None else [self._keeper]

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._asked.add(number)
        if self._worker:
            self._hand_on()

    def _hand_on(self) -> None:
        """A stop goes to the worker; a kill ends it and all its descendants."""
        if KILL in self._asked:
            kill_descendants()
        elif STOP in self._asked:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._worker, signal.SIGTERM)


def spawn(command: Sequence[str], environment: Mapping[str, str], lease_fd: int) -> int:
    """Start a command; its pid.

    Raises:
        OSError: it cannot be started.
    """
    # On a node of Slurm nobody is there who would look after a worker that has lost its shim: so it is asked to end by
    # the kernel. Slurm itself may not know it any more (proctrack/linuxproc).
    libc, placed = ctypes.CDLL(None), "SLURM_JOB_ID" in environment
    worker = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        env=environment,
        pass_fds=[lease_fd],
        preexec_fn=(lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)) if placed else None,  # noqa: PLW1509 - no threads
    )
    worker.returncode = 0  # it is reaped by `Shim.wait`, and Popen must not try
    return worker.pid


class InWorker(BaseException):
    """Raised in a fork of the shim that is to be a command's worker, so that it leaves the shim's frames behind."""

    def __init__(self, command: Sequence[str]) -> None:
        super().__init__()
        self.command = command


Start = Callable[[Sequence[str], Mapping[str, str], int], int]
"""Starts the worker of a command, in an environment, with the descriptor of the lease; returns its pid."""


def main() -> int:
    """Run the attempt of the command line."""
    return run_attempt(TrialDir(Path(sys.argv[1])), int(sys.argv[2]), sys.argv[3:], start=spawn)


def run_attempt(trial: TrialDir, number: int, command: Sequence[str], *, start: Start) -> int:
    """Run one attempt; the exit code is 0 once its end is on the record."""
    attempt = trial.attempt(number)
    try:
        shim = Shim(keeper_of(os.environ))
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        lease = claim(attempt)
    except SweeperError as error:
        print(error, file=sys.stderr)
        return os.EX_TEMPFAIL
    killed_before = oom_kills()
    environment = {**os.environ, TRIAL_DIR: str(trial.path), ATTEMPT: str(number)}
    try:
        worker = start(filled(command, trial, number, environment), environment, lease.fd)
    except InWorker:
        shim.leave()
        raise
    except (UsageError, RecordError) as error:
        print(error, file=sys.stderr)
        code = NOT_FOUND
    except OSError as error:
        print(f"{command[0]}: cannot be started: {error.strerror}", file=sys.stderr)
        code = NOT_FOUND
    else:
        code = os.waitstatus_to_exitcode(shim.wait(worker))
    _reap_leftovers()
    how = {"code": code if code >= 0 else None, "signal": -code if code < 0 else None}
    oom = not shim.killed and oom_kills() > killed_before
    ranks = None if shim.killed or code == 0 else _out_of_device_memory(attempt)
    cause, peak = (ranks.cause, ranks.peak_device_mb) if ranks else (cause_of_exit(**how, oom=oom), None)
    try:
        write_exit(attempt, **how, cause=cause, peak_device_mb=peak)
    except Unwritable as error:
        print(error, file=sys.stderr)
        return os.EX_IOERR
    return 0


def _out_of_device_memory(attempt: AttemptDir) -> Finished | None:
    """The last word of a rank, other than the first, whose device had no memory left."""
    for path in attempt.last_words:
        with contextlib.suppress(OSError, ValueError):
            said = decode(path.read_bytes())
            if isinstance(said, Finished) and said.cause == Cause.CUDA_OOM:
                return said
    return None


def ask_for_stacks() -> None:
    """SIGUSR1 to the descendants that catch it, as a worker does that opened its trial; it would end the others."""
    for pid in descendants(os.getpid()):
        if catches(pid, DUMP):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, DUMP)


def oom_kills() -> int:
    """How often the kernel has killed for want of memory: in the own cgroup, else on the whole machine; 0 if unknown.

    Others in the cgroup are counted too, so that a risen count speaks only beside a SIGKILL that nobody here sent.
    """
    for path in [*_memory_files(_own_cgroups()), Path("/proc/vmstat")]:
        with contextlib.suppress(OSError, ValueError):
            counts = dict(line.split(maxsplit=1) for line in path.read_text().splitlines() if " " in line)
            if "oom_kill" in counts:
                return int(counts["oom_kill"])
    return 0


def _own_cgroups() -> str:
    try:
        return Path("/proc/self/cgroup").read_text()
    except OSError:
        return ""


def _memory_files(own: str) -> list[Path]:
    """Where the own cgroup may be counted: of cgroups(7) version 2, mounted alone or beside version 1, and of that.

    In a container the path may be one that is only known outside, and its own cgroup the root of what is mounted.
    """
    paths = {controllers: path.lstrip("/") for _, controllers, path in (s.split(":", 2) for s in own.splitlines())}
    return [
        *(CGROUPS / mount / path / "memory.events" for mount in ("", "unified") for path in (paths.get("", ""), "")),
        *(CGROUPS / "memory" / path / "memory.oom_control" for path in (paths.get("memory", ""), "")),
    ]


def kill_descendants() -> None:
    """SIGKILL every descendant of this process."""
    for pid in descendants(os.getpid()):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def descendants(pid: int) -> list[int]:
    """The pids below a process, parents first (proc(5): task/*/children)."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, task.read_text().split()):
                found += [child, *descendants(child)]
    return found


def _reap_leftovers() -> None:
    """Kill and reap what the worker left behind, for a bounded time: one may sit in an uninterruptible sleep."""
    deadline = time.monotonic() + LEFTOVERS_S
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < deadline:
            kill_descendants()
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.01)


if __name__ == "__main__":
    sys.exit(main())
