"""The preload server: `python -m sweeper.worker.process.preload FD COMMAND...`, one process on each node.

A training script spends seconds on `import torch` before its first line, but a fork of a process that has imported it
takes milliseconds. The orchestrator starts this server once, and requests each attempt over the socket FD. The server
forks a shim, and the shim forks the worker, which runs the script as `python SCRIPT` would. The server ends when the
orchestrator closes the socket.

The server only imports. If it has several threads or a CUDA context afterwards, it does not serve, because neither
survives a fork. It imports what the script imports from installed packages. Each worker reads the script and the
modules in its folder again, so an edit is effective from the next trial on. If the file of an installed module changes,
the server reports it and stops forking, and the orchestrator starts another server.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import importlib
import io
import json
import os
import random
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Protocol, cast

from sweeper.record.signals import ANSWERED
from sweeper.record.storage.layout import TrialDir
from sweeper.worker.process import shim
from sweeper.worker.process.injection import inject_here
from sweeper.worker.process.program import HERE, Program
from sweeper.worker.process.sources import all_imports, is_installed

PR_SET_NAME = 15
LARGEST = 1 << 20
REAP_EVERY_S = 1.0
LOOK_EVERY_S = 5.0
"""Interval of checks for changed files of installed modules. A check of 3,000 files takes a few milliseconds."""
THREADS = "OMP_NUM_THREADS"


def preload(names: Sequence[str]) -> str:
    """Import installed modules, and return why this process must not be forked; an empty string if it may be.

    Args:
        names: modules, and `module:name` for names that are imported from them.
    """
    for name in names:
        module, _, attribute = name.partition(":")
        if not is_installed(module):
            continue
        try:
            loaded = importlib.import_module(module)
            # Getting the attribute makes a lazy package import it. The name may also be a submodule.
            if (
                attribute
                and attribute != "*"
                and getattr(loaded, attribute, None) is None
                and hasattr(loaded, "__path__")
            ):
                importlib.import_module(f"{module}.{attribute}")
        except Exception:  # noqa: BLE001, S112 - if the script needs it, the script itself will fail
            continue
        if reason := unfit():
            return f"importing {module} {reason}"
    return ""


def unfit() -> str:
    """Return why a fork of this process would not work: threads or CUDA; an empty string if it would."""
    if (threads := threads_of_this_process()) > 1:
        started = "a thread" if threads == 2 else f"{threads - 1} threads"  # noqa: PLR2004 - one beside this
        return f"started {started}, which a fork would not have"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return "initialized CUDA, which a fork could not use"
    # Even counting devices opens them, long before torch reports CUDA as initialized.
    if devices := sorted({name for name in open_files() if name.startswith("/dev/nvidia")}):
        return f"opened {devices[0]}, and CUDA could not be used in a fork"
    return ""


def threads_of_this_process() -> int:
    """Return the number of threads of this process, including those that `threading` does not know."""
    return len(list(Path("/proc/self/task").iterdir()))


def open_files() -> list[str]:
    """Return the paths of the files that this process has open."""
    names = []
    for fd in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the descriptor of the listing itself is closed by now
            names.append(str(fd.readlink()))
    return names


class Files:
    """The files of all imported modules, with their state at the time of construction."""

    def __init__(self) -> None:
        named = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
        self._seen = {file: _stamp(file) for file in named if isinstance(file, str) and file.startswith(os.sep)}
        self._looked = time.monotonic()

    def changed(self) -> str:
        """Return a file that has changed; an empty string if there is none. The files are checked every few seconds."""
        if time.monotonic() - self._looked < LOOK_EVERY_S:
            return ""
        found = next((file for file, stamp in self._seen.items() if _stamp(file) != stamp), "")
        self._looked = time.monotonic()
        return found


def _stamp(file: str) -> tuple[int, int, int]:
    try:
        stat = os.stat(file)  # noqa: PTH116 - faster for thousands of files, while a trial waits
    except OSError:
        return 0, 0, 0
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


# ---- the server ------------------------------------------------------------------------------------------------------


def main() -> int:
    """Serve until the orchestrator closes the socket. In a forked child, run the attempt."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    if not sys.flags.safe_path:
        del sys.path[0]  # the folder of this server is not that of the script
    before = dict(os.environ)
    program = Program.of(json.loads(sys.argv[2]))
    sources = [] if program is None else program.sources
    reason = preload(all_imports(sources)) if sources else "its command runs no Python program by this interpreter"
    channel.send(json.dumps({"reason": reason}).encode())
    if reason:
        return 1
    prepared = Prepared(_thread_pools(), before, dict(os.environ))
    gc.collect()
    gc.freeze()  # the collector must not write to memory that all children share, which would copy it
    request = serve(channel, Files())
    if request is not None:
        attempt(*request, prepared)
    os._exit(0)  # there is nothing to clean up, and the orchestrator is waiting


def serve(channel: socket.socket, files: Files) -> tuple[Mapping[str, Any], int] | None:
    """Fork a shim for each request, and answer with its pidfd.

    Returns:
        In the server, None once the other side has closed the socket. In a child, the request and the descriptor of the
        output.
    """
    while True:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not select.select([channel], [], [], REAP_EVERY_S)[0]:
            continue
        message, fds, _, _ = socket.recv_fds(channel, LARGEST, 1)
        if not message:
            return None
        request = json.loads(message)
        changed = files.changed()
        if changed or Program.of(request["command"]) is None:
            os.close(fds[0])
            channel.send(json.dumps({"changed": changed}).encode())
            continue
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ANSWERED)  # in the child until it has a shim's handlers
        pid = os.fork()
        if pid == 0:
            channel.close()
            return request, fds[0]
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(fds[0])
        pidfd = os.pidfd_open(pid)  # the child is reaped only above, so the pid cannot be reused yet
        socket.send_fds(channel, [json.dumps({"pid": pid}).encode()], [pidfd])
        os.close(pidfd)


# ---- the children ----------------------------------------------------------------------------------------------------


class ThreadPools(Protocol):
    """A `threadpoolctl.ThreadpoolController`."""

    def limit(self, *, limits: int) -> object:
        """Set the number of threads of all loaded BLAS and OpenMP libraries."""


def _thread_pools() -> ThreadPools | None:
    """Return the thread pools of the loaded BLAS and OpenMP libraries, which have already read their environment."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    return cast("ThreadPools", ThreadpoolController())


@dataclass(frozen=True, slots=True)
class Prepared:
    """The effects of the imports: thread pools, and the environment before and after the imports."""

    pools: ThreadPools | None
    before: Mapping[str, str]
    after: Mapping[str, str]

    def environment(self, given: Mapping[str, str]) -> dict[str, str]:
        """Return a worker's environment, with the variables that the imports would have set in it."""
        set_ = {name: value for name, value in self.after.items() if self.before.get(name) != value}
        return {**given, **{name: value for name, value in set_.items() if given.get(name) == self.before.get(name)}}


def attempt(request: Mapping[str, Any], output: int, prepared: Prepared) -> NoReturn:
    """Run as the shim of an attempt, with a fork of this process as its worker; in that fork, run as the worker."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDONLY)
    for target, fd in enumerate((null, output, output)):
        os.dup2(fd, target)
    os.close(output)
    os.close(null)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(prepared.environment(request["environment"]))
    _open_streams()
    try:
        code = shim.run_attempt(TrialDir(Path(request["trial"])), request["attempt"], request["command"], start=fork)
        os._exit(code)  # exit handlers of the imported packages belong to the worker
    except shim.InWorker as in_worker:
        command = in_worker.command
    run_as_worker(command, prepared.pools)


def fork(command: Sequence[str], environment: Mapping[str, str], lease_fd: int) -> int:
    """Start the worker as a fork of this shim, and return its pid (a `shim.Start`). In the fork, raise `InWorker`."""
    # Until the worker has replaced the shim's handlers, they would swallow its signals.
    signal.pthread_sigmask(signal.SIG_BLOCK, ANSWERED)
    try:
        pid = os.fork()
    except OSError:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ANSWERED)
        raise
    if pid == 0:
        os.set_inheritable(lease_fd, True)  # noqa: FBT003 - the argument has no name; inheritable as after an exec
        os.environ.update(environment)
        raise shim.InWorker(command)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ANSWERED)
    return pid


def run_as_worker(command: Sequence[str], pools: ThreadPools | None) -> NoReturn:
    """Run the program of the command, and end this process as Python would."""
    program = Program.of(command)
    if program is None:  # the server has checked this already
        raise ValueError(command)
    ctypes.CDLL(None).prctl(PR_SET_NAME, Path(program.target).name.encode()[:15], 0, 0, 0)
    _start_over(pools)
    inject_here(os.environ)
    try:
        program.run()
    except SystemExit as asked:
        _leave(asked.code)
    except BaseException as error:  # noqa: BLE001 - Python too would print any exception
        error = error.with_traceback(_below_here(error.__traceback__))
        sys.excepthook(type(error), error, error.__traceback__)
        if isinstance(error, KeyboardInterrupt):
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        _leave(1)
    _leave(0)


def _leave(code: object) -> NoReturn:
    """Exit as Python does, but without deleting all imported modules, which takes almost a second.

    Threads are joined, exit handlers are called, and the script's objects are released, so that its files are written.
    The server's objects are frozen, so only the script's own garbage is collected.
    """
    if not isinstance(code, int | None):
        sys.stderr.write(f"{code}\n")
    threading._shutdown()  # type: ignore[attr-defined]  # as multiprocessing ends its forks  # noqa: SLF001
    atexit._run_exitfuncs()  # noqa: SLF001
    # Flush files first: in a cycle of references, a file's buffer may be closed before its text is written.
    files = [one for one in gc.get_objects() if issubclass(type(one), io.IOBase)]
    for file in (*files, sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            file.flush()
    sys.modules["__main__"].__dict__.clear()
    del files, file
    gc.collect()
    os._exit(code & 0xFF if isinstance(code, int) else 0 if code is None else 1)


def _open_streams() -> None:
    """Reopen standard output and error without buffers, since the server's may contain its own text."""
    for name, fd, errors in (("stdout", 1, "strict"), ("stderr", 2, "backslashreplace")):
        raw = io.FileIO(fd, "wb", closefd=False)
        stream = io.TextIOWrapper(raw, encoding=getattr(sys, name).encoding, errors=errors, write_through=True)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _start_over(pools: ThreadPools | None) -> None:
    """Set what a fork shares with the server and a new process does not: random numbers and thread counts.

    For torch, this is the CPU's generator. CUDA's generators have the same initial state in every process.
    """
    random.seed()
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed()
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.default_generator.seed()
    asked = os.environ.get(THREADS, "")
    threads = int(asked) if asked.isdecimal() and int(asked) else len(os.sched_getaffinity(0))
    if threads > 1:  # the server has one
        if torch is not None:
            torch.set_num_threads(threads)
        if pools is not None:
            pools.limit(limits=threads)


def _below_here(trace: TracebackType | None) -> TracebackType | None:
    """Return the traceback without the frames of this server that run the program."""
    while trace is not None and trace.tb_frame.f_code.co_filename in {__file__, HERE}:
        trace = trace.tb_next
    return trace


if __name__ == "__main__":
    sys.exit(main())
