"""The shim: `python -m sweeper.worker.process.shim TRIAL ATTEMPT COMMAND...`, the parent of one attempt's worker.

Only a parent can wait for a process, and the orchestrator may die before its workers. Therefore the shim claims the
attempt, starts the worker, and records its exit code and the cause as far as a parent can see it. It reacts to signals:
SIGTERM, SIGINT and SIGHUP are passed to the worker as SIGTERM, SIGQUIT kills all descendants (a second SIGTERM could
merge with the first), and SIGUSR1, which asks for stack traces, is passed to descendants that handle it.

The shim is started with these signals blocked (`record.signals`). So a signal that arrives before its handlers are
installed is answered then, and does not end the shim without a record. The worker starts with none of them blocked.

The shim leads a session of its own and is a sub-reaper (prctl(2), PR_SET_CHILD_SUBREAPER), so that every process that
the worker leaves behind becomes its child. If the shim has a keeper (`record.storage.claim`) and the keeper is gone, it
kills the worker, because no other process could.
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
from sweeper.record.facts import Facts
from sweeper.record.signals import ANSWERED, DUMP, KILL, STOPS
from sweeper.record.storage import confined
from sweeper.record.storage.claim import catches, claim, keeper_of
from sweeper.record.storage.codec import decode_file
from sweeper.record.storage.layout import ATTEMPT, TRIAL_DIR, AttemptDir, TrialDir
from sweeper.record.values.command_line import MOMENTARY, why_not_started
from sweeper.worker.process.command import filled
from sweeper.worker.process.injection import injected
from sweeper.worker.process.output import OutputLimit
from sweeper.worker.standalone import write_exit

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
NOT_FOUND = 127
CGROUPS = Path("/sys/fs/cgroup")
LEFTOVERS_S = 10.0
START_PAUSES_S = (1, 2, 4, 8, 15, 30, 30, 30, 30, 30, 30, 30)


class Shim:
    """Supervise the worker of one attempt. `keeper` is the pidfd of the shim's keeper, if it has one."""

    def __init__(self, keeper: int | None = None) -> None:
        self._worker = 0
        self._keeper = keeper
        self._requested: set[int] = set()
        # A signal just before a blocking waitpid(2) would not be noticed until the worker ends. Therefore `wait` blocks
        # on a descriptor that every signal makes readable, including SIGCHLD.
        self._wake, self._awake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._awake, warn_on_full_buffer=False)
        self._handled = [number for number in STOPS if number == signal.SIGTERM or not _is_ignored(number)]
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(KILL, self._on_signal)
        signal.signal(DUMP, lambda *_: ask_for_stacks())
        for number in self._handled:
            signal.signal(number, self._on_signal)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ANSWERED)

    def leave(self) -> None:
        """Stop being the shim, in a fork of it: restore the signal handlers of a new Python, and unblock signals."""
        for number in (*self._handled, KILL, DUMP, signal.SIGCHLD):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        for fd in (self._wake, self._awake, *self._keepers()):
            os.close(fd)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ANSWERED)

    @property
    def killed(self) -> bool:
        """Whether the shim was asked to kill the worker."""
        return KILL in self._requested

    @property
    def requested(self) -> int:
        """The signal that ends the worker at the request that has come so far; 0 if there is none."""
        return signal.SIGKILL if self.killed else signal.SIGTERM if self._requested else 0

    def pause(self, seconds: float) -> None:
        """Wait, or until a signal arrives."""
        select.select([self._wake, *self._keepers()], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake, 1024)

    def wait(self, worker: int, check: Callable[[], float | None] = lambda: None) -> int:
        """Reap children until the worker has ended, and return its wait status.

        Args:
            worker: the pid of the worker.
            check: called now and then; returns the seconds until it is to be called again, or None.
        """
        self._worker = worker
        self._forward()  # signals that came before the worker was started
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == worker:
                return status
            if not pid:
                if self._keeper in select.select([self._wake, *self._keepers()], [], [], check())[0]:
                    self._keeper = None
                    self._on_signal(KILL, None)
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake, 1024)

    def _keepers(self) -> list[int]:
        return [] if self._keeper is None else [self._keeper]

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._requested.add(number)
        if self._worker:
            self._forward()

    def _forward(self) -> None:
        """Pass a stop to the worker; on a kill, end all descendants."""
        if KILL in self._requested:
            kill_descendants()
        elif self._requested:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._worker, signal.SIGTERM)


def _is_ignored(number: int) -> bool:
    """Return whether a signal is ignored here: then the worker is to ignore it too, as under nohup(1)."""
    return signal.getsignal(number) is signal.SIG_IGN


def spawn(command: Sequence[str], environment: Mapping[str, str], lease_fd: int) -> int:
    """Start a command, and return its pid.

    Args:
        command: the command and its arguments.
        environment: the environment of the worker.
        lease_fd: the descriptor of the attempt's lease, which the worker inherits.

    Raises:
        OSError: the command cannot be started.
    """
    # On a node of Slurm, no other process would end a worker without its shim, and Slurm itself may have lost track
    # of it (proctrack/linuxproc). Therefore the kernel sends it SIGTERM.
    libc, placed = ctypes.CDLL(None), "SLURM_JOB_ID" in environment
    worker = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        env=environment,
        pass_fds=[lease_fd],
        preexec_fn=(lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)) if placed else None,  # noqa: PLW1509 - no threads
    )
    worker.returncode = 0  # `Shim.wait` reaps it, so Popen must not
    return worker.pid


class InWorker(BaseException):
    """Raised in a fork of the shim that becomes the worker of a command, to leave the shim's stack frames."""

    def __init__(self, command: Sequence[str]) -> None:
        super().__init__()
        self.command = command


Start = Callable[[Sequence[str], Mapping[str, str], int], int]
"""Starts the worker, given the command, the environment and the lease's descriptor, and returns its pid."""


def main() -> int:
    """Run the attempt that the command line names, and return the exit code."""
    return run_attempt(TrialDir(Path(sys.argv[1])), int(sys.argv[2]), sys.argv[3:], start=spawn)


def run_attempt(trial: TrialDir, number: int, command: Sequence[str], *, start: Start) -> int:
    """Run one attempt from its claim to its recorded end.

    Args:
        trial: the directory of the trial.
        number: the number of the attempt.
        command: the command of the worker.
        start: starts the worker: `spawn`, or the fork of a preloaded process.

    Returns:
        The exit code of the shim: 0 if the end of the attempt was recorded.
    """
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
    output = OutputLimit(attempt, 0.0)
    try:
        facts = Facts.read(trial) if trial.facts.exists() else None
        if facts is not None:
            output = OutputLimit(attempt, facts.output_limit_mb)
            environment = injected(environment) if facts.watch else environment
        words = filled(command, trial, number, environment)
        worker = _started(shim, start, words, environment, lease.fd)
    except InWorker:
        shim.leave()
        raise
    except (UsageError, RecordError) as error:
        print(error, file=sys.stderr)
        code = NOT_FOUND
    except OSError as error:
        print(f"{command[0]}: cannot be started: {why_not_started(command, error)}", file=sys.stderr)
        if error.errno in MOMENTARY:
            return os.EX_TEMPFAIL  # without an end on the record the attempt is lost, and so the trial is retried
        code = NOT_FOUND
    else:  # a worker that was to end before it started is not started
        code = os.waitstatus_to_exitcode(shim.wait(worker, output.check)) if worker else -shim.requested
    _reap_leftovers()
    output.check()
    how = {"code": code if code >= 0 else None, "signal": -code if code < 0 else None}
    oom = not shim.killed and oom_kills() > killed_before
    ranks = None if shim.killed or code == 0 else _out_of_device_memory(attempt)
    cause, peak = (ranks.cause, ranks.peak_device_mb) if ranks else (cause_of_exit(**how, oom=oom), None)
    try:
        write_exit(attempt, **how, cause=cause, peak_device_mb=peak, asked=shim.requested == signal.SIGTERM)
    except Unwritable as error:
        print(error, file=sys.stderr)
        return os.EX_IOERR
    return 0


def _started(shim: Shim, start: Start, command: Sequence[str], environment: Mapping[str, str], lease_fd: int) -> int:
    """Start the worker, and return its pid; 0 if the shim was asked to end it before.

    What fails for the moment is tried again, for some minutes.
    """
    for pause in (*START_PAUSES_S, None):
        if shim.requested:
            return 0
        try:
            return start(command, environment, lease_fd)
        except OSError as error:
            if error.errno not in MOMENTARY or pause is None:
                raise
            why = f"cannot be started for the moment: {error.strerror}"
            print(f"{command[0]}: {why}; it is tried again in {pause:g} s", file=sys.stderr, flush=True)
        shim.pause(pause)
    raise AssertionError  # the last round returns or raises


def _out_of_device_memory(attempt: AttemptDir) -> Finished | None:
    """Return the last event of a rank, other than the first, that ran out of device memory; None if there is none."""
    for path in attempt.last_words:
        with contextlib.suppress(OSError, ValueError):
            event = decode_file(confined.read_bytes(path))
            if isinstance(event, Finished) and event.cause == Cause.CUDA_OOM:
                return event
    return None


def ask_for_stacks() -> None:
    """Send SIGUSR1 to descendants that handle it, such as workers with an open trial. It would end any others."""
    for pid in descendants(os.getpid()):
        if catches(pid, DUMP):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, DUMP)


def oom_kills() -> int:
    """Return the kernel's count of out-of-memory kills in the own cgroup, or on the machine; 0 if it is unknown.

    The count includes unrelated processes. An increase is evidence only together with a SIGKILL that sweeper did not
    send.
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
    """Return the files that may have the count of the own cgroup, for version 2 and 1 of cgroups(7).

    In a container, the path in /proc may exist only outside of it, and the own cgroup is the root of the mount.
    """
    paths = {controllers: path.lstrip("/") for _, controllers, path in (s.split(":", 2) for s in own.splitlines())}
    return [
        *(CGROUPS / mount / path / "memory.events" for mount in ("", "unified") for path in (paths.get("", ""), "")),
        *(CGROUPS / "memory" / path / "memory.oom_control" for path in (paths.get("memory", ""), "")),
    ]


def kill_descendants() -> None:
    """Send SIGKILL to every descendant of this process."""
    for pid in descendants(os.getpid()):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def descendants(pid: int) -> list[int]:
    """Return the pids of all descendants of a process, parents first (proc(5): task/*/children)."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, task.read_text().split()):
                found += [child, *descendants(child)]
    return found


def _reap_leftovers() -> None:
    """Kill and reap processes that the worker left behind, for a limited time: one may be in uninterruptible sleep."""
    deadline = time.monotonic() + LEFTOVERS_S
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < deadline:
            kill_descendants()
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.01)


if __name__ == "__main__":
    sys.exit(main())
