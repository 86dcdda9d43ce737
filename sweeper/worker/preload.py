"""The preloaded start: `python -m sweeper.worker.preload FD COMMAND...`, one process a node that has only imported.

A training script spends seconds on `import torch` before its first line; a fork of a process that has imported it takes
milliseconds. So the orchestrator starts this server once, and asks it for each attempt over the socket FD: it forks a
shim, and the shim forks the worker, which runs the script as `python SCRIPT` would. The server itself never computes:
it imports under one thread, and serves only if it still has one, and no CUDA context, afterwards. Neither survives a
fork. It ends when the orchestrator closes the socket.

What is imported is what the script itself imports, of installed packages alone: the script and the modules beside it
are read anew by each worker, so that an edit counts from the next trial on.
"""

from __future__ import annotations

import ast
import atexit
import builtins
import contextlib
import ctypes
import gc
import importlib
import importlib.util
import io
import json
import os
import random
import select
import signal
import site
import socket
import sys
import sysconfig
import threading
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.abc import InspectLoader
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, cast

from sweeper.record.layout import TrialDir
from sweeper.worker import shim

PR_SET_NAME = 15
LARGEST = 1 << 20
REAP_EVERY_S = 1.0
THREADS = "OMP_NUM_THREADS"
OWN, TRAINERS = "sweeper", "sweeper.trainers"


@dataclass(frozen=True, slots=True)
class Program:
    """A Python program as a command names it: a script's path, or a module, and its arguments."""

    target: str
    arguments: tuple[str, ...]
    is_module: bool = False

    @classmethod
    def of(cls, command: Sequence[str]) -> Program | None:
        """The program that this interpreter would run; None for any other command."""
        if not command or not _is_this_python(command[0]):
            return None
        rest = list(command[1:])
        while rest and rest[0] == "-u":  # output is unbuffered anyway
            rest.pop(0)
        if len(rest) > 1 and rest[0] == "-m":
            return cls(rest[1], tuple(rest[2:]), is_module=True)
        if rest and not rest[0].startswith("-") and rest[0].endswith(".py"):
            return cls(rest[0], tuple(rest[1:]))
        return None

    @property
    def source(self) -> Path | None:
        """The file of the program, where there is one."""
        if not self.is_module:
            return Path(self.target)
        try:
            spec = importlib.util.find_spec(self.target)
        except (ImportError, ValueError):
            return None
        return Path(spec.origin) if spec is not None and spec.origin is not None else None

    def run(self) -> None:
        """Run it in this process as the main program, as Python itself would."""
        # Not by runpy, whose __main__ is gone before threads and exit handlers of the script are done with it.
        main = types.ModuleType("__main__")
        sys.modules["__main__"] = main
        if self.is_module:
            sys.path.insert(0, str(Path.cwd()))
            spec = importlib.util.find_spec(self.target)
            if spec is not None and spec.submodule_search_locations is not None:
                spec = importlib.util.find_spec(f"{self.target}.__main__")
            code = None if spec is None else cast("InspectLoader", spec.loader).get_code(spec.name)
            if spec is None or code is None:
                raise ImportError(f"No module named {self.target}")
            main.__dict__.update(__spec__=spec, __package__=spec.parent, __loader__=spec.loader, __cached__=spec.cached)
            file = str(spec.origin)
        else:
            sys.path.insert(0, str(Path(self.target).absolute().parent))
            code = compile(Path(self.target).read_bytes(), self.target, "exec", dont_inherit=True)
            file = self.target
        sys.argv = [file, *self.arguments]
        main.__dict__.update(__file__=file, __builtins__=builtins)
        exec(code, main.__dict__)  # noqa: S102 - it is what was asked for


def imported_by(source: Path) -> list[str]:
    """The modules that a Python file imports, anywhere in it; none where it cannot be read."""
    try:
        tree = ast.parse(source.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []
    found: dict[str, None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= dict.fromkeys(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found[node.module] = None
            found |= dict.fromkeys(f"{node.module}:{alias.name}" for alias in node.names)
    return list(found)


def _all_imports(sources: Sequence[Path]) -> list[str]:
    """What files import, what the built-in trainers among that import in their turn, and what `Trial.watch` does."""
    names: dict[str, None] = {}
    waiting = list(sources)
    while waiting:
        for name in imported_by(waiting.pop()):
            if name in names:
                continue
            names[name] = None
            module = name.replace(":", ".")
            if module.startswith(f"{TRAINERS}."):
                with contextlib.suppress(ImportError):
                    spec = importlib.util.find_spec(module)
                    waiting += [] if spec is None or spec.origin is None else [Path(spec.origin)]
    if {OWN, "torch"} <= names.keys():
        names["sweeper.worker.watch"] = None
    return list(names)


def preload(names: Sequence[str]) -> str:
    """Import installed modules; returns why nobody may fork from this process now, empty where one may."""
    for name in names:
        module, _, attribute = name.partition(":")
        if not _is_installed(module):
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
        threads = len(list(Path("/proc/self/task").iterdir()))
        if threads > 1:
            return f"importing {module} started {threads - 1} threads, which a fork would not have"
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():
            return f"importing {module} initialized CUDA, which a fork could not use"
    return ""


def _is_installed(module: str) -> bool:
    """Whether a module comes with Python, with this package, or from where packages are installed."""
    root = module.partition(".")[0]
    if root == OWN or root in sys.stdlib_module_names:
        return True
    try:
        spec = importlib.util.find_spec(root)
    except (ImportError, ValueError):
        return False
    places = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()]
    where = "" if spec is None else spec.origin or next(iter(spec.submodule_search_locations or ()), "")
    return any(where.startswith(f"{place}{os.sep}") for place in places)


def _is_this_python(word: str) -> bool:
    return word == sys.executable or (os.sep in word and os.path.realpath(word) == os.path.realpath(sys.executable))


# ---- the server ------------------------------------------------------------------------------------------------------


def main() -> int:
    """Serve until the orchestrator closes the socket; in a forked child, be what it was forked for."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    del sys.path[0]  # the folder that this server was started in says nothing about a script
    sources = [source for command in sys.argv[2:] if (source := _source(json.loads(command))) is not None]
    reason = preload(_all_imports(sources)) if sources else "its command runs no Python program by this interpreter"
    channel.send(json.dumps({"reason": reason}).encode())
    if reason:
        return 1
    gc.collect()
    gc.freeze()  # the collector is not to write to, and so copy, what all children share
    request = serve(channel)
    if request is not None:
        attempt(*request)
    return 0


def _source(command: Sequence[str]) -> Path | None:
    program = Program.of(command)
    return None if program is None else program.source


def serve(channel: socket.socket) -> tuple[Mapping[str, Any], int] | None:
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
        if Program.of(request["command"]) is None:
            os.close(fds[0])
            channel.send(b"no")
            continue
        pid = os.fork()
        if pid == 0:
            channel.close()
            return request, fds[0]
        os.close(fds[0])
        pidfd = os.pidfd_open(pid)  # reaped only above, so the pid is its own
        socket.send_fds(channel, [str(pid).encode()], [pidfd])
        os.close(pidfd)


# ---- the children ----------------------------------------------------------------------------------------------------


def attempt(request: Mapping[str, Any], output: int) -> NoReturn:
    """Be the shim of an attempt, whose worker is a fork of this process; in that fork, be the worker."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDONLY)
    for target, fd in enumerate((null, output, output)):
        os.dup2(fd, target)
    os.close(output)
    os.close(null)
    os.chdir(request["folder"])
    os.environ.update(request["environment"])
    _open_streams()
    with contextlib.suppress(shim.InWorker):
        code = shim.run_attempt(TrialDir(Path(request["trial"])), request["attempt"], request["command"], start=fork)
        os._exit(code)  # what the imported packages do at exit is the worker's affair
    be_worker(request["command"])


def fork(_command: Sequence[str], environment: Mapping[str, str], lease_fd: int) -> int:
    """A `shim.Start`: the pid of a worker that is a fork of this shim; raises `shim.InWorker` in it."""
    # What comes between the fork and the shim's leaving would be taken by its handler, in the worker, and lost.
    signal.pthread_sigmask(signal.SIG_BLOCK, shim.SIGNALS)
    pid = os.fork()
    if pid == 0:
        os.set_inheritable(lease_fd, True)  # noqa: FBT003 - it takes no name; inheritable as after an exec
        os.environ.update(environment)
        raise shim.InWorker
    signal.pthread_sigmask(signal.SIG_UNBLOCK, shim.SIGNALS)
    return pid


def be_worker(command: Sequence[str]) -> NoReturn:
    """Run the command's program, and end this process as it would have ended."""
    program = Program.of(command)
    if program is None:  # the server asked this already
        raise ValueError(command)
    ctypes.CDLL(None).prctl(PR_SET_NAME, Path(program.target).name.encode()[:15], 0, 0, 0)
    _start_over()
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


def _start_over() -> None:
    """What a new process has to itself: its threads, and random numbers where a new process draws its own."""
    random.seed()
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()
    torch = sys.modules.get("torch")
    if torch is not None and os.environ.get(THREADS, "").isdecimal():
        torch.set_num_threads(int(os.environ[THREADS]))


def _below_here(trace: TracebackType | None) -> TracebackType | None:
    """The traceback without the frames of this file."""
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return trace


if __name__ == "__main__":
    sys.exit(main())
