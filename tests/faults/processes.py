"""Rows 1 to 7 and 13 of the fault matrix: what happens to processes, or is done by them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from sweeper.record.attempt import Attempt
from sweeper.record.causes import Cause
from sweeper.record.events import Abandoned, KillSent, SweepEnded
from sweeper.record.storage.journal import read_journal
from sweeper.record.storage.layout import AttemptDir
from sweeper.record.storage.lease import is_held
from sweeper.record.trial import State, TrialRecord
from sweeper.results.receipt import receipt
from sweeper.worker.process.shim import descendants
from tests.faults.harness import PATIENCE_S, Fault, Scene, unheard
from tests.faults.sweeps import (
    DAEMONS,
    DEAF,
    LOADERS,
    LOUD,
    MANY,
    PRUNED,
    RANKS,
    TORCH,
    WATCHED,
    Site,
)

HERE = Path(__file__).parent

INTERRUPTED = (0, 130)
"""Exit codes of a call that was interrupted: it may have been through already."""
BUSY = 2


def kill(pid: int | None) -> None:
    """SIGKILL, where there is anybody."""
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
    kill(next(iter(descendants(shim)), None) if shim else None)


def kill_shim(scene: Scene) -> None:
    kill(scene.shim())


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
    kill(shim)


def kill_session(scene: Scene) -> None:
    if (shim := scene.shim()) is not None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shim, signal.SIGKILL)


def kill_everything(scene: Scene) -> None:
    """As when the power goes, but for the views: also a worker that was just launched and has claimed nothing yet."""
    kill_orchestrator(scene)
    while left := [pid for pid, command in scene.site.processes().items() if "sweeper.views" not in command]:
        for pid in left:
            kill(pid)
        time.sleep(0.01)


def kill_rank(scene: Scene) -> None:
    shim = scene.shim()
    ranks = _ranks(descendants(shim)) if shim else []
    if ranks:
        kill(scene.random.choice(ranks))


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
        elif code == -number and any(isinstance(event, SweepEnded) for event in read_journal(scene.site.run.log)):
            pass  # all was done and written down, and no process listened any more
        elif code not in INTERRUPTED:
            scene.problems.append(f"the interrupted call: expected one of {INTERRUPTED}, got {code}")
        if left := [pid for pid, command in scene.site.processes().items() if "sweeper.views" not in command]:
            scene.problems.append(f"the interrupted call left {left}")

    return inject


# ---- rows 4 and 5: processes that do not move or do not listen ------------------------------------------------------

HASTE = ("stacks_s=0.5", "grace_s=0.5", "kill_s=1")


def halt_worker(scene: Scene) -> None:
    """SIGSTOP: it makes no step any more, and no handler of its own runs."""
    found = scene.worker()
    if found is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(found[0], signal.SIGSTOP)
        scene.end_of_first_call()
        _expect_hung(scene, found[1])


def hang_worker(scene: Scene) -> None:
    """Its next step never comes, and its stacks say where it is."""
    _order(scene, "hang")
    scene.end_of_first_call()
    for trial, attempt in _obedient(scene):
        _expect_hung(scene, attempt)
        said = attempt.output.read_text(errors="replace")
        held = "most recent call first" in said and "stuck_collective" in said
        scene.expect(held, f"{trial.facts.number:04d}: expected the stacks of stuck_collective, got {said[-500:]!r}")


def _expect_hung(scene: Scene, attempt: AttemptDir) -> None:
    trial, recorded = _trial_of(scene, attempt), _recorded(scene, attempt)
    cause = recorded.cause
    given_up = [e for e in read_journal(trial.directory.control) if isinstance(e, Abandoned | KillSent)]
    done = recorded.outcome == "completed"  # it was halted behind its last word
    held = done or (cause == Cause.HUNG and [type(e) for e in given_up[:2]] == [Abandoned, KillSent])
    scene.expect(held, f"{attempt.path}: expected hung, got {cause!r} after {given_up}")


def keep_from_dying(scene: Scene) -> None:
    """As in an uninterruptible sleep: neither a stop nor a kill reaches it, until no process looks at it any more."""
    found = scene.worker()
    if found is None:
        return
    pid, attempt = found
    name = attempt.path.parent.parent.name
    (scene.site.folder / "unkillable").write_text(name)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    slot = _recorded(scene, attempt).slot
    if "hang_after_s" not in scene.site.kind.file:
        scene.orchestrator.send_signal(signal.SIGINT)
    code = scene.end_of_first_call()
    said = scene.site.outputs[0].read_text(errors="replace")
    lives = is_held(attempt.lease)
    scene.expect(code is not None, "the call waits for a worker that cannot be killed")
    for words in (f"Trial {name} did not exit after SIGKILL", f"launched on slot {slot}"):
        scene.expect(words in said or not lives, f"expected {words!r}, got {said[-500:]!r}")
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
    (scene.site.folder / "unkillable").unlink()


# ---- row 7: causes ------------------------------------------------------------------------------------------------


def ordered(order: str, *causes: str, to: str = "order") -> Callable[[Scene], None]:
    """A worker comes to its end by itself, and the record says by what; nothing is retried but what is to be."""

    def inject(scene: Scene) -> None:
        _order(scene, order, to)
        scene.expect_end(0, 1)
        for trial, attempt in _obedient(scene):
            cause, number = _recorded(scene, attempt).cause, f"{trial.facts.number:04d}"
            if to != "order" and trial.outcome == "completed":
                continue  # the first rank was through already, and what it says counts
            scene.expect(cause in causes, f"{number}: expected one of {causes}, got {cause!r}")
            if trial.facts.retry.covers(cause) or not cause:
                scene.expect(trial.state is State.COMPLETE, f"{number}: expected COMPLETE, got {trial.state}")
            if cause == Cause.CUDA_OOM:
                told = "peak device memory 3072 MiB"
                scene.expect(told in receipt(trial), f"{number}: expected {told!r}, got {receipt(trial)}")

    return inject


def kill_for_want_of_memory(scene: Scene) -> None:
    """SIGKILL of a worker; the kernel's count of such kills has risen by then."""
    found = scene.worker()
    if found is None:
        return
    pid, attempt = found
    with (scene.site.folder / "oom_kills").open("a") as counter:
        counter.write(".")
    kill(pid)
    scene.expect_end(0, 1)
    trial = _trial_of(scene, attempt)
    ended, cause = _recorded(scene, attempt).exit, _recorded(scene, attempt).cause
    through = trial.outcome == "completed" or (ended is not None and ended.signal is None)
    scene.expect(cause == Cause.OOM or through, f"{attempt.path}: expected oom, got {cause!r}")


@contextlib.contextmanager
def faked_counter(site: Site) -> Iterator[None]:
    """The kernel's count is a file; see `tests/faults/oom`."""
    site.environment["PYTHONPATH"] = os.pathsep.join([str(HERE / "oom"), str(HERE.parents[1])])
    yield


def spoil_a_slot(scene: Scene) -> None:
    """A worker that is launched on one of the two slots from now on dies there at once."""
    slot = scene.random.choice(["cpu 0", "cpu 1"])
    (scene.site.folder / "bad-slot").write_text(slot)
    scene.expect_end(0, 1)
    said = scene.site.outputs[0].read_text(errors="replace")
    ends = sorted(
        (attempt.exit.time, trial.facts.number, attempt.cause)
        for trial in scene.site.trials()
        for attempt in trial.attempts
        if attempt.slot == slot and attempt.exit
    )
    died = [number for _, number, cause in ends if cause == Cause.KILLED]
    told = f"No more attempts are launched on slot {slot}" in said
    scene.expect(told or len(died) < 3 or len(set(died[-3:])) < 2, f"{died} died on {slot}, which is used on")
    scene.expect(len(died) <= 4, f"the slot {slot} burned {len(died)} attempts")
    (scene.site.folder / "bad-slot").unlink()


def _order(scene: Scene, order: str, to: str = "order") -> None:
    """Have the next worker that makes a step do something, once."""
    aside = scene.site.folder / "order.new"
    aside.write_text(order)
    aside.rename(scene.site.folder / to)


def _obedient(scene: Scene) -> Iterator[tuple[TrialRecord, AttemptDir]]:
    """The trial with the worker that took the order, and the attempt that did: the one that did not end well."""
    for path in [scene.site.folder / "order", *scene.site.folder.glob("order-to-*")]:
        path.unlink(missing_ok=True)  # to no worker any more
    for path in scene.site.folder.glob("order-of-*"):
        trial = scene.site.trial(int(path.name.removeprefix("order-of-")))
        if trial is not None:
            taken = path.stat().st_ctime
            began = [attempt.number for attempt in trial.attempts if attempt.launch_time <= taken]
            yield trial, trial.directory.attempt(max(began, default=1))


def _trial_of(scene: Scene, attempt: AttemptDir) -> TrialRecord:
    found = scene.site.trial(int(attempt.path.parent.parent.name))
    assert found is not None, attempt.path
    return found


def _recorded(scene: Scene, attempt: AttemptDir) -> Attempt:
    found = _trial_of(scene, attempt).attempt(attempt.number)
    assert found is not None, attempt.path
    return found


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


FAULTS: Sequence[Fault] = (
    Fault(
        name="orchestrator-killed",
        row=1,
        title="SIGKILL of the orchestrator; the next call follows at once and takes its workers over",
        inject=kill_orchestrator,
        survived=False,
        taken_over=True,
    ),
    Fault(
        name="orchestrator-killed-workers-end",
        row=1,
        title="SIGKILL of the orchestrator; the next call follows once the workers have ended",
        inject=kill_orchestrator_and_wait_for_the_workers,
        survived=False,
    ),
    Fault(
        name="orchestrator-killed-torch",
        row=1,
        title="SIGKILL of the orchestrator, with checkpoints by torch",
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
        title="SIGKILL of a worker, with checkpoints by torch",
        inject=kill_worker,
        kind=TORCH,
        slow=True,
    ),
    Fault(name="shim-killed", row=2, title="SIGKILL of a shim: its worker is left without one", inject=kill_shim),
    Fault(
        name="session-killed",
        row=2,
        title="SIGKILL of a shim and its worker (their whole session)",
        inject=kill_session,
    ),
    Fault(
        name="orchestrator-and-shim-killed",
        row=2,
        title="SIGKILL of the orchestrator and a shim: the next call finds a worker without a shim",
        inject=kill_orchestrator_and_shim,
        survived=False,
    ),
    Fault(
        name="everything-killed",
        row=2,
        title="SIGKILL of the orchestrator, all shims and all workers",
        inject=kill_everything,
        survived=False,
    ),
    Fault(
        name="torchrun-agent-killed",
        row=2,
        title="SIGKILL of a torchrun agent with two ranks",
        inject=kill_worker,
        kind=RANKS,
        slow=True,
    ),
    Fault(
        name="torchrun-session-killed",
        row=2,
        title="SIGKILL of shim and torchrun agent: the ranks have their own sessions",
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
        title="workers end and leave daemons and children behind",
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
        title="such a worker is pruned, and the orchestrator is killed",
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
    Fault(name="second-orchestrator", row=13, title="a second `sweeper run` while one runs", inject=start_another),
    Fault(
        name="four-at-once",
        row=13,
        title="four `sweeper run` at the same instant",
        inject=start_several_at_once,
        at_once=True,
    ),
    Fault(
        name="worker-halted",
        row=4,
        title="SIGSTOP of a worker: no step for `hang_after_s`, so it is killed and retried as `hung`",
        inject=halt_worker,
        kind=WATCHED,
        faked=HASTE,
    ),
    Fault(
        name="worker-hung",
        row=4,
        title="a worker waits endlessly in a step: its stacks are written, then it is killed and retried",
        inject=hang_worker,
        kind=WATCHED,
        faked=HASTE,
    ),
    Fault(
        name="deaf-interrupted",
        row=5,
        title="SIGINT to the orchestrator of workers that ignore SIGTERM",
        inject=signals(signal.SIGINT, 1),
        kind=DEAF,
        faked=HASTE,
        survived=False,
    ),
    Fault(
        name="undying-interrupted",
        row=5,
        title="SIGINT while a worker cannot be killed (simulated): the orchestrator ends, the slot is quarantined",
        inject=keep_from_dying,
        kind=DEAF,
        faked=("unkillable", *HASTE),
        survived=False,
    ),
    Fault(
        name="undying-hung",
        row=5,
        title="a worker that hangs cannot be killed (simulated): the slot is quarantined, other trials continue",
        inject=keep_from_dying,
        kind=WATCHED,
        faked=("unkillable", *HASTE),
        survived=False,
    ),
    Fault(
        name="no-memory",
        row=7,
        title="the kernel kills a worker because memory ran out (its counter is simulated): `oom`, not retried",
        inject=kill_for_want_of_memory,
        kind=LOUD,
        around=faked_counter,
        survived=False,
    ),
    Fault(
        name="no-device-memory",
        row=7,
        title="a device has no memory left (torch's exception is simulated): `cuda-oom`, with its peak",
        inject=ordered("no memory", Cause.CUDA_OOM),
        kind=LOUD,
        survived=False,
    ),
    Fault(
        name="no-device-memory-of-a-rank",
        row=7,
        title="the same on the second of two ranks",
        inject=ordered("no memory", Cause.CUDA_OOM, to="order-to-rank-1"),
        kind=RANKS,
        survived=False,
        slow=True,
    ),
    Fault(
        name="script-fails",
        row=7,
        title="the script raises: `error`, not retried",
        inject=ordered("error", Cause.ERROR),
        kind=LOUD,
        survived=False,
    ),
    Fault(
        name="exit-137",
        row=7,
        title="a worker ends with 137, as a shell does after its command was killed: `killed`, retried",
        inject=ordered("exit 137", Cause.KILLED),
        kind=LOUD,
    ),
    Fault(
        name="not-finite",
        row=7,
        title="a metric and a loss are not finite: they are never the best value",
        inject=ordered("not finite", ""),
    ),
    Fault(
        name="slot-spoiled",
        row=7,
        title="every worker on one of the slots dies: the slot is quarantined",
        inject=spoil_a_slot,
        kind=MANY,
        faked=("named-slots",),
        survived=False,
    ),
)
