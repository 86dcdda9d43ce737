"""The faults that are tried, by the rows of the fault matrix."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sweeper.record.lease import is_held
from sweeper.worker.shim import descendants
from tests.faults.harness import DAEMONS, LOADERS, PATIENCE_S, PRUNED, RANKS, TORCH, Fault, Scene, unheard

INTERRUPTED = (0, 130)
"""Exit codes of a call that was interrupted: it may have been through already."""
BUSY = 2


def _kill(pid: int | None) -> None:
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def nothing(_: Scene) -> None:
    """What grandchildren do when their worker ends by itself."""


# ---- rows 1 and 2: SIGKILL ----------------------------------------------------------------------------------------


def kill_orchestrator(scene: Scene) -> None:
    scene.orchestrator.kill()
    scene.orchestrator.wait()


def kill_orchestrator_and_wait_for_the_workers(scene: Scene) -> None:
    kill_orchestrator(scene)
    deadline = time.monotonic() + PATIENCE_S
    while any(is_held(attempt.lease) for attempt in scene.site.attempts()) and time.monotonic() < deadline:
        time.sleep(0.02)


def kill_worker(scene: Scene) -> None:
    shim = scene.shim()
    _kill(next(iter(descendants(shim)), None) if shim else None)


def kill_shim(scene: Scene) -> None:
    _kill(scene.shim())


def kill_session_of_ranks(scene: Scene) -> None:
    """As soon as there are ranks; before, there is nothing in a session of its own."""
    shim = scene.shim()
    while shim is not None and (pids := descendants(shim)) and not _ranks(pids):
        time.sleep(0.02)
    time.sleep(scene.random.uniform(0, 0.3))
    if shim is not None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shim, signal.SIGKILL)


def kill_orchestrator_and_shim(scene: Scene) -> None:
    shim = scene.shim()
    kill_orchestrator(scene)
    _kill(shim)


def kill_session(scene: Scene) -> None:
    if (shim := scene.shim()) is not None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shim, signal.SIGKILL)


def kill_everything_but_the_views(scene: Scene) -> None:
    shims = scene.site.shims()
    kill_orchestrator(scene)
    for shim in shims:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shim, signal.SIGKILL)


def kill_rank(scene: Scene) -> None:
    shim = scene.shim()
    ranks = _ranks(descendants(shim)) if shim else []
    if ranks:
        _kill(scene.random.choice(ranks))


def _ranks(pids: Sequence[int]) -> list[int]:
    """Those that torchrun started: `python -u train.py`."""
    return [pid for pid in pids if b"-u\0train.py" in _command(pid)]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


# ---- row 3: signals -----------------------------------------------------------------------------------------------


def signals(number: signal.Signals, times: int) -> Callable[[Scene], None]:
    def inject(scene: Scene) -> None:
        for _ in range(times):
            scene.orchestrator.send_signal(number)
            time.sleep(scene.random.uniform(0, 0.3))
        code = scene.end_of_first_call()
        if unheard(scene, number):
            scene.site.outputs[0].unlink()  # while Python still imports, a Ctrl-C is a traceback of its own
        elif code not in INTERRUPTED:
            scene.problems.append(f"the interrupted call: expected one of {INTERRUPTED}, got {code}")
        if left := [pid for pid, command in scene.site.processes().items() if "sweeper.views" not in command]:
            scene.problems.append(f"the interrupted call left {left}")

    return inject


# ---- row 13: two orchestrators ------------------------------------------------------------------------------------


def start_another(scene: Scene) -> None:
    second = scene.site.start()
    said = scene.site.outputs[-1]
    code = second.wait(PATIENCE_S)
    if scene.orchestrator.poll() is None:
        _expect_busy(scene, code, said.read_text(), scene.orchestrator.pid)


def start_several_at_once(scene: Scene) -> None:
    first = scene.site.outputs[-1]
    others = {scene.site.start(): scene.site.outputs[-1] for _ in range(3)}
    processes = {scene.orchestrator: first, **others}
    codes = {process: process.wait(PATIENCE_S) for process in processes}
    winners = [process for process, code in codes.items() if code == 0]
    if len(winners) != 1:
        scene.problems.append(f"started at once: expected one to win, got the exit codes {sorted(codes.values())}")
        return
    scene.orchestrator = winners[0]
    for process, said in processes.items():
        if process is not winners[0]:
            _expect_busy(scene, codes[process], said.read_text(), winners[0].pid)


def _expect_busy(scene: Scene, code: int, said: str, holder: int) -> None:
    words = f"is being run by pid {holder} on {socket.gethostname()}."
    if code != BUSY or words not in said:
        scene.problems.append(f"the second: expected {BUSY} and {words!r}, got {code} and {said!r}")


# ---- row 15: views ------------------------------------------------------------------------------------------------


def kill_views(scene: Scene) -> None:
    while (views := scene.site.views()) is None and scene.orchestrator.poll() is None:
        time.sleep(0.01)
    _kill(views)


def kill_views_whenever_seen(scene: Scene) -> None:
    while scene.orchestrator.poll() is None:
        _kill(scene.site.views())
        time.sleep(0.02)


def take_the_port(scene: Scene) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        if not scene.site.run.spec.exists():
            return
        board = scene.site.start("tensorboard", str(scene.site.run.path), "--port", str(port))
        code, said = board.wait(PATIENCE_S), scene.site.outputs[-1].read_text()
    if code != 2 or f"port {port}" not in said or "--port" not in said:
        scene.problems.append(f"a port that is taken: expected 2 and a sentence, got {code} and {said!r}")


# ---- row 16: the terminal -----------------------------------------------------------------------------------------


def hang_up(scene: Scene) -> None:
    scene.orchestrator.send_signal(signal.SIGHUP)


def close_the_other_end(scene: Scene) -> None:
    os.close(scene.pipe)


FAULTS: Sequence[Fault] = (
    Fault(
        name="orchestrator-killed",
        row=1,
        title="SIGKILL of the orchestrator; the next call at once: workers are taken over",
        inject=kill_orchestrator,
        survived=False,
        taken_over=True,
    ),
    Fault(
        name="orchestrator-killed-workers-end",
        row=1,
        title="SIGKILL of the orchestrator; the next call once its workers ended, as the record says",
        inject=kill_orchestrator_and_wait_for_the_workers,
        survived=False,
    ),
    Fault(
        name="orchestrator-killed-torch",
        row=1,
        title="SIGKILL of the orchestrator, checkpoints by torch",
        inject=kill_orchestrator,
        kind=TORCH,
        survived=False,
        taken_over=True,
        slow=True,
    ),
    Fault(name="worker-killed", row=2, title="SIGKILL of a worker", inject=kill_worker),
    Fault(
        name="worker-killed-torch",
        row=2,
        title="SIGKILL of a worker, checkpoints by torch",
        inject=kill_worker,
        kind=TORCH,
        slow=True,
    ),
    Fault(name="shim-killed", row=2, title="SIGKILL of a shim: its worker is left alone", inject=kill_shim),
    Fault(
        name="session-killed",
        row=2,
        title="SIGKILL of a shim and its worker (their whole session)",
        inject=kill_session,
    ),
    Fault(
        name="orchestrator-and-shim-killed",
        row=2,
        title="SIGKILL of the orchestrator and a shim: the next call finds a worker that nobody leads",
        inject=kill_orchestrator_and_shim,
        survived=False,
    ),
    Fault(
        name="everything-killed",
        row=2,
        title="SIGKILL of the orchestrator, all shims and all workers",
        inject=kill_everything_but_the_views,
        survived=False,
    ),
    Fault(
        name="torchrun-agent-killed",
        row=2,
        title="SIGKILL of a torchrun agent, two ranks",
        inject=kill_worker,
        kind=RANKS,
        slow=True,
    ),
    Fault(
        name="torchrun-session-killed",
        row=2,
        title="SIGKILL of shim and torchrun agent: the ranks sit in sessions of their own",
        inject=kill_session_of_ranks,
        kind=RANKS,
        slow=True,
    ),
    Fault(
        name="torchrun-rank-killed",
        row=2,
        title="SIGKILL of one of two ranks",
        inject=kill_rank,
        kind=RANKS,
        survived=False,
        slow=True,
    ),
    *(
        Fault(
            name=f"{number.name.lower()}-{word}",
            row=3,
            title=f"{number.name} to the orchestrator, {word}",
            inject=signals(number, times),
            survived=False,
        )
        for number in (signal.SIGINT, signal.SIGTERM)
        for times, word in ((1, "once"), (2, "twice"))
    ),
    Fault(
        name="daemons-left",
        row=6,
        title="workers end, and leave daemons and children behind",
        inject=nothing,
        kind=DAEMONS,
        at_once=True,
    ),
    Fault(
        name="daemons-worker-killed",
        row=6,
        title="SIGKILL of a worker that has daemons and children",
        inject=kill_worker,
        kind=DAEMONS,
    ),
    Fault(
        name="daemons-shim-killed", row=6, title="SIGKILL of the shim of such a worker", inject=kill_shim, kind=DAEMONS
    ),
    Fault(
        name="daemons-session-killed",
        row=6,
        title="SIGKILL of the session of such a worker",
        inject=kill_session,
        kind=DAEMONS,
    ),
    Fault(
        name="daemons-interrupted",
        row=6,
        title="SIGINT to the orchestrator of such workers",
        inject=signals(signal.SIGINT, 1),
        kind=DAEMONS,
        survived=False,
    ),
    Fault(
        name="daemons-pruned",
        row=6,
        title="such a worker is pruned, and the orchestrator killed",
        inject=kill_orchestrator,
        kind=PRUNED,
        survived=False,
        taken_over=True,
    ),
    Fault(
        name="loader-worker-killed",
        row=6,
        title="SIGKILL of a worker with a torch DataLoader of two processes",
        inject=kill_worker,
        kind=LOADERS,
        slow=True,
    ),
    Fault(
        name="loader-interrupted",
        row=6,
        title="SIGINT to the orchestrator of such workers",
        inject=signals(signal.SIGINT, 1),
        kind=LOADERS,
        survived=False,
        slow=True,
    ),
    Fault(
        name="second-orchestrator", row=13, title="a second `sweeper run` while one is at work", inject=start_another
    ),
    Fault(
        name="four-at-once",
        row=13,
        title="four `sweeper run` at the same instant",
        inject=start_several_at_once,
        at_once=True,
    ),
    Fault(name="views-killed", row=15, title="SIGKILL of the views process", inject=kill_views),
    Fault(
        name="views-killed-always",
        row=15,
        title="SIGKILL of the views process, whenever there is one",
        inject=kill_views_whenever_seen,
        drawn=False,
    ),
    Fault(
        name="port-taken", row=15, title="`sweeper tensorboard --port` with a port that is taken", inject=take_the_port
    ),
    Fault(name="hang-up", row=16, title="SIGHUP to the orchestrator", inject=hang_up),
    Fault(
        name="pipe-closed",
        row=16,
        title="the reader of the output ends (a pipe into `head`)",
        inject=close_the_other_end,
        stdout="pipe",
    ),
    Fault(name="terminal-gone", row=16, title="the terminal is closed", inject=close_the_other_end, stdout="terminal"),
)

BY_NAME = {fault.name: fault for fault in FAULTS}

MOMENTS = 5
"""Of each row, in the ordinary tests; `make faults` tries more."""


def moments(row: int, *, slow: bool = False) -> list[tuple[Fault, int]]:
    """The faults of a row in turn, each at moments of its own; of those that take long one moment each."""
    faults = [fault for fault in FAULTS if fault.row == row and fault.slow is slow]
    return [(faults[i % len(faults)], i) for i in range(len(faults) if slow else max(MOMENTS, len(faults)))]


def name_of(value: object) -> str:
    """A fault's name, for the name of a test."""
    return value.name if isinstance(value, Fault) else str(value)
