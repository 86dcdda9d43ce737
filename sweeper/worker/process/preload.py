"""The preloaded start: `python -m sweeper.worker.process.preload FD COMMAND...`, one server process on each node.

A training script spends seconds on `import torch` before its first line; a fork of a process that has imported it takes
milliseconds. So the orchestrator starts this server once, and asks it for each attempt over the socket FD: it forks a
shim, and the shim forks the worker, which runs the script as `python SCRIPT` would. The server itself never computes:
it imports under one thread, and serves only if it still has one, and no CUDA context, afterwards. Neither survives a
fork. It ends when the orchestrator closes the socket.

What is imported is what the script itself imports, of installed packages alone: the script and the modules beside it
are read anew by each worker, so that an edit counts from the next trial on. Where the file of an installed module was
changed meanwhile, it forks no more and says so: the orchestrator starts another server.
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

from sweeper.record.storage.layout import TrialDir
from sweeper.worker.process import shim
from sweeper.worker.process.program import HERE, Program
from sweeper.worker.process.sources import all_imports, is_installed

PR_SET_NAME = 15
LARGEST = 1 << 20
REAP_EVERY_S = 1.0
LOOK_EVERY_S = 5.0
"""How long an edit of an installed module may go unseen; a look at 3,000 files takes some milliseconds."""
THREADS = "OMP_NUM_THREADS"


def preload(names: Sequence[str]) -> str:
    """Import installed modules; returns why nobody may fork from this process now, empty where one may."""
    for name in names:
        module, _, attribute = name.partition(":")
        if not is_installed(module):
            continue
        try:
            loaded = importlib.import_module(module)
            # Only naming it makes a lazy package import what is behind it; a module in a package is named likewise.
            if (
                attribute
                and attribute != "*"
                and getattr(loaded, attribute, None) is None
                and hasattr(loaded, "__path__")
            ):
                importlib.import_module(f"{module}.{attribute}")
        except Exception:  # noqa: BLE001, S112 - the script may well do without; if not, it will say so itself
            continue
        if reason := unfit():
            return f"importing {module} {reason}"
    return ""


def unfit() -> str:
    """What this process has that a fork would not have or could not use; empty where there is nothing."""
    if (threads := threads_of_this_process()) > 1:
        started = "a thread" if threads == 2 else f"{threads - 1} threads"  # noqa: PLR2004 - one beside this
        return f"started {started}, which a fork would not have"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return "initialized CUDA, which a fork could not use"
    # Counting devices is enough for that, long before torch calls CUDA initialized.
    if devices := sorted({name for name in open_files() if name.startswith("/dev/nvidia")}):
        return f"opened {devices[0]}, and CUDA could not be used in a fork"
    return ""


def threads_of_this_process() -> int:
    """Those of libraries too, which `threading` does not know."""
    return len(list(Path("/proc/self/task").iterdir()))


def open_files() -> list[str]:
    """The names of what this process has open."""
    names = []
    for fd in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # that of the listing itself
            names.append(str(fd.readlink()))
    return names


class Files:
    """The files of all modules that are imported, as they are now."""

    def __init__(self) -> None:
        named = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
        self._seen = {file: _stamp(file) for file in named if isinstance(file, str) and file.startswith(os.sep)}
        self._looked = time.monotonic()

    def changed(self) -> str:
        """One that is no longer as it was, looked for every few seconds; empty where there is none."""
        if time.monotonic() - self._looked < LOOK_EVERY_S:
            return ""
        found = next((file for file, stamp in self._seen.items() if _stamp(file) != stamp), "")
        self._looked = time.monotonic()
        return found


def _stamp(file: str) -> tuple[int, int, int]:
    try:
        stat = os.stat(file)  # noqa: PTH116 - of thousands of files, in the way of a start
    except OSError:
        return 0, 0, 0
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


# ---- the server ------------------------------------------------------------------------------------------------------


def main() -> int:
    """Serve until the orchestrator closes the socket; in a forked child, be what it was forked for."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    del sys.path[0]  # the folder that this server was started in says nothing about a script
    before = dict(os.environ)
    program = Program.of(json.loads(sys.argv[2]))
    sources = [] if program is None else program.sources
    reason = preload(all_imports(sources)) if sources else "its command runs no Python program by this interpreter"
    channel.send(json.dumps({"reason": reason}).encode())
    if reason:
        return 1
    prepared = Prepared(_thread_pools(), before, dict(os.environ))
    gc.collect()
    gc.freeze()  # the collector is not to write to, and so copy, what all children share
    request = serve(channel, Files())
    if request is not None:
        attempt(*request, prepared)
    os._exit(0)  # nothing to tidy up, and the orchestrator waits


def serve(channel: socket.socket, files: Files) -> tuple[Mapping[str, Any], int] | None:
    """Answer each request with a pidfd of the shim forked for it; None once the other side is gone.

    In the child it returns what was asked for, and the descriptor of the output.
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
        pid = os.fork()
        if pid == 0:
            channel.close()
            return request, fds[0]
        os.close(fds[0])
        pidfd = os.pidfd_open(pid)  # reaped only above, so the pid is its own
        socket.send_fds(channel, [json.dumps({"pid": pid}).encode()], [pidfd])
        os.close(pidfd)


# ---- the children ----------------------------------------------------------------------------------------------------


class ThreadPools(Protocol):
    """A `threadpoolctl.ThreadpoolController`."""

    def limit(self, *, limits: int) -> object:
        """Give every BLAS and OpenMP that is loaded so many threads."""


def _thread_pools() -> ThreadPools | None:
    """Those of the BLAS and OpenMP libraries that are loaded, which have read their environment already."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    return cast("ThreadPools", ThreadpoolController())


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the server knows of its imports: pools of threads, and its environment before and after them."""

    pools: ThreadPools | None
    before: Mapping[str, str]
    after: Mapping[str, str]

    def environment(self, given: Mapping[str, str]) -> dict[str, str]:
        """What a worker has that imports the same in an environment: what imports set in it is set."""
        set_ = {name: value for name, value in self.after.items() if self.before.get(name) != value}
        return {**given, **{name: value for name, value in set_.items() if given.get(name) == self.before.get(name)}}


def attempt(request: Mapping[str, Any], output: int, prepared: Prepared) -> NoReturn:
    """Be the shim of an attempt, whose worker is a fork of this process; in that fork, be the worker."""
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
        os._exit(code)  # what the imported packages do at exit is the worker's affair
    except shim.InWorker as in_worker:
        command = in_worker.command
    be_worker(command, prepared.pools)


def fork(command: Sequence[str], environment: Mapping[str, str], lease_fd: int) -> int:
    """A `shim.Start`: the pid of a worker that is a fork of this shim; raises `shim.InWorker` in it."""
    # What comes between the fork and the shim's leaving would be taken by its handler, in the worker, and lost.
    signal.pthread_sigmask(signal.SIG_BLOCK, shim.SIGNALS)
    pid = os.fork()
    if pid == 0:
        os.set_inheritable(lease_fd, True)  # noqa: FBT003 - it takes no name; inheritable as after an exec
        os.environ.update(environment)
        raise shim.InWorker(command)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, shim.SIGNALS)
    return pid


def be_worker(command: Sequence[str], pools: ThreadPools | None) -> NoReturn:
    """Run the command's program, and end this process as it would have ended."""
    program = Program.of(command)
    if program is None:  # the server asked this already
        raise ValueError(command)
    ctypes.CDLL(None).prctl(PR_SET_NAME, Path(program.target).name.encode()[:15], 0, 0, 0)
    _start_over(pools)
    try:
        program.run()
    except SystemExit as asked:
        _leave(asked.code)
    except BaseException as error:  # noqa: BLE001 - whatever ends the script is shown as Python would
        error = error.with_traceback(_below_here(error.__traceback__))
        sys.excepthook(type(error), error, error.__traceback__)
        if isinstance(error, KeyboardInterrupt):
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        _leave(1)
    _leave(0)


def _leave(code: object) -> NoReturn:
    """What Python does at exit, but for taking apart all that was imported, which takes it most of a second.

    Threads are waited for, exit handlers called, and what the script made is let go of, so that its files are written:
    what the server had made is frozen, so that only the script's own garbage is looked for.
    """
    if not isinstance(code, int | None):
        sys.stderr.write(f"{code}\n")
    threading._shutdown()  # type: ignore[attr-defined]  # as multiprocessing ends its forks  # noqa: SLF001
    atexit._run_exitfuncs()  # noqa: SLF001
    # Files first: of those that only a cycle of references keeps, the buffer may be closed before the text is in it.
    files = [one for one in gc.get_objects() if issubclass(type(one), io.IOBase)]
    for file in (*files, sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            file.flush()
    sys.modules["__main__"].__dict__.clear()
    del files, file
    gc.collect()
    os._exit(code & 0xFF if isinstance(code, int) else 0 if code is None else 1)


def _open_streams() -> None:
    """Standard output and error anew, unbuffered: those of the server may hold what is not theirs."""
    for name, fd, errors in (("stdout", 1, "strict"), ("stderr", 2, "backslashreplace")):
        raw = io.FileIO(fd, "wb", closefd=False)
        stream = io.TextIOWrapper(raw, encoding=getattr(sys, name).encoding, errors=errors, write_through=True)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _start_over(pools: ThreadPools | None) -> None:
    """What a new process has to itself: its threads, and random numbers where a new process draws its own.

    torch's are those of the CPU; CUDA's generators start alike in every process.
    """
    random.seed()
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed()
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.default_generator.seed()
    asked = os.environ.get(THREADS, "")
    threads = int(asked) if asked.isdecimal() and int(asked) else len(os.sched_getaffinity(0))
    if threads > 1:  # what the server has
        if torch is not None:
            torch.set_num_threads(threads)
        if pools is not None:
            pools.limit(limits=threads)


def _below_here(trace: TracebackType | None) -> TracebackType | None:
    """The traceback without the frames that run a program."""
    while trace is not None and trace.tb_frame.f_code.co_filename in {__file__, HERE}:
        trace = trace.tb_next
    return trace


if __name__ == "__main__":
    sys.exit(main())
