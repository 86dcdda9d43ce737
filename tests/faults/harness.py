"""One fault at one random moment of a small sweep, and what has to hold afterwards.

`trial_of(fault, seed)` starts a sweep in real processes, waits for a moment that the seed chooses, injects the fault,
calls `sweeper run` again until the sweep has ended, and checks:

1. The table of `sweeper status --json` is that of an undisturbed sweep, and no trial's TensorBoard points are missing.
2. Every complete line of the record at the time of the fault still stands where it stood.
3. No trial had two workers at once: each holds a lock for its lifetime and says where it does not get it, and the steps
   of two processes of a trial never alternate.
4. No process of the sweep is left: none names its folder in the environment, or has it as its working directory.
5. No lease is held, and one more `sweeper run` launches nothing and ends with 0.
6. No process printed a traceback.

A moment is a length of the journals in lines, and a short delay: so moments are spread over what happens, on slow
machines and on fast ones. Length 0 lies before the first line, and the greatest behind the last.
"""

from __future__ import annotations

import contextlib
import functools
import os
import random
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sweeper.record.events import Started
from sweeper.record.storage.claim import owner_of
from sweeper.record.storage.journal import read_journal
from sweeper.record.storage.layout import AttemptDir
from sweeper.record.storage.lease import is_held
from sweeper.record.trial import State
from tests.faults.sweeps import LAUNCHES, PLAIN, Kind, Site

PATIENCE_S = 240.0
"""For anything to happen that has to; generous, since nothing here measures speed, and machines do other things too."""
CALLS = 4


# ---- faults and moments -------------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class Scene:
    """A sweep at the moment of the fault.

    Attributes:
        pipe: the other end of what the first call prints into, where that is a pipe or a terminal.
        problems: what the fault itself finds wrong.
        excused: files and directories of the record that the fault takes away or alters.
        renumbered: a trial was taken away, so that its configuration is run under another number.
        afterwards: more to check once all is over.
        tries: how often something was tried in this one sweep.
    """

    site: Site
    orchestrator: subprocess.Popen[bytes]
    random: random.Random
    pipe: int = -1
    problems: list[str] = field(default_factory=list)
    excused: list[Path] = field(default_factory=list)
    renumbered: bool = False
    afterwards: list[Callable[[], Iterator[str]]] = field(default_factory=list)
    tries: int = 1

    def shim(self) -> int | None:
        """The shim of a running worker, as soon as there is one; None where the sweep ends before."""
        while not (shims := self.site.shims()):
            if self.orchestrator.poll() is not None:
                return None
            time.sleep(0.01)
        return self.random.choice(shims)

    def worker(self) -> tuple[int, AttemptDir] | None:
        """A running worker that has opened its trial, as soon as there is one; None where the sweep ends before."""
        while self.orchestrator.poll() is None:
            opened = [
                (event.pid, attempt)
                for _, attempt in self.site.running()
                for event in read_journal(attempt.events)[:1]
                if isinstance(event, Started)
            ]
            if opened:
                return self.random.choice(opened)
            time.sleep(0.01)
        return None

    def end_of_first_call(self) -> int | None:
        """The exit code of the call that was disturbed; None, and a problem, where it does not end."""
        try:
            return self.orchestrator.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            return None

    def expect(self, held: object, problem: str) -> None:
        """Keep a problem where something did not hold."""
        if not held:
            self.problems.append(problem)

    def expect_end(self, *codes: int) -> None:
        """That the disturbed call ends, with one of these exit codes."""
        code = self.end_of_first_call()
        got = "no end" if code is None else f"{code}: {self.site.outputs[0].read_text(errors='replace')[-500:]}"
        self.expect(code in codes, f"the disturbed call: expected one of {codes}, got {got}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that goes wrong.

    Attributes:
        row: of the fault matrix.
        survived: the first call goes on to the end by itself, with code 0.
        drawn: where it does, it leaves TensorBoard complete.
        taken_over: attempts that run when the fault is over are not superseded.
        stdout: where the first call prints: to a file, a pipe or a terminal; `Scene.pipe` is the other end.
        at_once: the moment is the very beginning.
        faked: what of the first call is faked, as arguments of `tests.faults.faked`.
        around: what has to be there as long as the sweep is: a small disk, a clock.
        slow: a single run takes long (it imports torch), so fewer are made.
        exhaustive: what it tries, it tries everywhere; one run does.
    """

    name: str
    row: int
    title: str
    inject: Callable[[Scene], None]
    kind: Kind = PLAIN
    survived: bool = True
    drawn: bool = True
    taken_over: bool = False
    stdout: str = "file"
    at_once: bool = False
    faked: Sequence[str] = ()
    around: Callable[[Site], AbstractContextManager[None]] | None = None
    slow: bool = False
    exhaustive: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one fault at one moment; `problems` is empty where everything held.

    `tries` is how often something was tried in it, `forked` how many of its workers were forked, and `kept` where it
    all lies still, if anything did not hold.
    """

    fault: str
    seed: int
    launch: str
    moment: str
    problems: tuple[str, ...]
    seconds: float
    tries: int = 1
    forked: int = 0
    commit: str = ""
    kept: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Undisturbed:
    """A sweep to which nothing happened. `numbered`: its trials have the numbers that they have in it."""

    table: list[dict[str, Any]]
    points: dict[str, dict[int, float]]
    lines: int
    numbered: bool = True

    def of_configurations(self) -> Undisturbed:
        """The same, whatever the numbers of its trials."""
        return replace(self, numbered=False)

    def differs_from(self, table: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The trials of a table that are others than here; all of them where their number is."""
        ours, theirs = ([self._told(trial) for trial in rows] for rows in (self.table, table))
        by_params = [sorted(rows, key=str) for rows in (ours, theirs)] if not self.numbered else [ours, theirs]
        if by_params[0] == by_params[1]:
            return []
        return [trial for trial in theirs if trial not in ours] or theirs

    def _told(self, trial: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in trial.items() if self.numbered or key != "number"}

    def misses_in(self, points: dict[str, dict[int, float]]) -> bool:
        """Whether a curve is another than here, or is not there."""
        if self.numbered:
            return points != self.points
        curves = [(name.partition("_")[2], curve) for name, curve in points.items()]
        return any((name.partition("_")[2], curve) not in curves for name, curve in self.points.items())


def trial_of(fault: Fault, seed: int) -> Outcome:
    """The outcome of a fault at the moment that the seed chooses. Leaves neither files nor processes."""
    began = time.monotonic()
    reference = undisturbed(fault.kind)
    chosen = random.Random(f"{fault.name} {seed}")
    length = 0 if fault.at_once else chosen.randint(0, reference.lines)
    delay_s = 0.0 if fault.at_once else chosen.uniform(0, 0.8 if length in (0, reference.lines) else 0.06)
    folder, launch = Path(tempfile.mkdtemp(prefix=f"fault-{fault.name}-{seed}-")), LAUNCHES[seed % 2]
    site = Site(fault.kind, folder, launch)
    with fault.around(site) if fault.around else contextlib.nullcontext():
        try:
            scene = _scene(fault, site, chosen)
            _wait_for(scene, length)
            time.sleep(delay_s)
            problems = _disturbed(fault, scene, reference)
        finally:
            site.clear()
        forked = site.forked()
        if problems and fault.around:
            shutil.copytree(site.folder / "runs", site.folder / "kept", dirs_exist_ok=True)
    if not problems:
        shutil.rmtree(folder)
    return Outcome(
        fault=fault.name,
        seed=seed,
        launch=launch,
        moment=f"{delay_s:.3f} s after line {length} of {reference.lines}",
        problems=tuple(problems),
        seconds=round(time.monotonic() - began, 1),
        tries=scene.tries,
        forked=forked,
        kept=str(folder) if problems else "",
    )


def undisturbed(kind: Kind) -> Undisturbed:
    """The sweep to which nothing happened; run once a process."""
    with _once:
        return _undisturbed(kind)


_once = threading.Lock()


@functools.cache
def _undisturbed(kind: Kind) -> Undisturbed:
    with tempfile.TemporaryDirectory(prefix=f"undisturbed-{kind.name}-") as folder:
        site = Site(kind, Path(folder))
        try:
            code = site.start().wait(PATIENCE_S)
            assert (code, site.processes()) == (0, {}), site.said()
            return Undisturbed(table=site.table(), points=site.points(), lines=site.lines())
        finally:
            site.clear()


def _scene(fault: Fault, site: Site, chosen: random.Random) -> Scene:
    if fault.faked:
        call = [*fault.faked, "run", "sweep.yaml", "--workers", "2"]
        return Scene(site=site, orchestrator=site.start(*call, program="tests.faults.faked"), random=chosen)
    if fault.stdout == "file":
        return Scene(site=site, orchestrator=site.start(), random=chosen)
    if fault.stdout == "pipe":
        read_end, write_end = os.pipe()
        errors = chosen.choice([write_end, None])  # `2>&1 | head`, or `| head`
        streams: dict[str, Any] = {"stdout": write_end, **({"stderr": write_end} if errors is not None else {})}
        if errors is None:
            with (site.folder / "errors.txt").open("wb") as kept:
                process = site.start(**streams, stderr=kept)
            site.outputs.append(site.folder / "errors.txt")
        else:
            process = site.start(**streams)
        os.close(write_end)
        return Scene(site=site, orchestrator=process, random=chosen, pipe=read_end)
    master, slave = os.openpty()
    process = site.start(stdin=slave, stdout=slave, stderr=slave, start_new_session=True, preexec_fn=_own_terminal)
    os.close(slave)
    return Scene(site=site, orchestrator=process, random=chosen, pipe=master)


def _own_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _wait_for(scene: Scene, length: int) -> None:
    """Until the journals are so long, or the sweep has ended; reads what is printed into a pipe or a terminal."""
    if scene.pipe >= 0:
        os.set_blocking(scene.pipe, False)
    deadline = time.monotonic() + PATIENCE_S
    while scene.orchestrator.poll() is None and scene.site.lines() < length and time.monotonic() < deadline:
        if scene.pipe >= 0:
            with contextlib.suppress(OSError):
                os.read(scene.pipe, 65_536)
        time.sleep(0.01)


def _disturbed(fault: Fault, scene: Scene, reference: Undisturbed) -> list[str]:
    """Inject the fault, go on to the end, and say what does not hold."""
    site = scene.site
    before = site.record()
    fault.inject(scene)
    before = {path: data for path, data in before.items() if not _is_within(path, scene.excused)}
    running = {a.path: t.newest.number for t in site.trials() for a in t.directory.attempts() if _runs(a)}
    complete = {t.directory.path: t.newest.number for t in site.trials() if t.state is State.COMPLETE}
    problems = scene.problems
    if fault.survived and not unheard(scene, signal.SIGHUP):
        if (code := scene.end_of_first_call()) != 0:
            problems.append(f"the disturbed call: expected 0, got {'no end' if code is None else code}")
        elif fault.drawn and site.points() != reference.points:
            problems.append("the disturbed call: left TensorBoard incomplete")
    problems += _to_the_end(scene, len(reference.table))
    problems += [
        f"{path.parent.parent.name}: attempt {path.name} ran on, and another was launched"
        for path in running
        if fault.taken_over and _attempt(site, path.parent.parent) != int(path.name)
    ]
    problems += [
        f"{path.name}: was complete, and was launched again"
        for path, attempt in complete.items()
        if _attempt(site, path) != attempt and not _is_within(path, scene.excused)
    ]
    problems += [problem for check in scene.afterwards for problem in check()]
    expected = reference.of_configurations() if scene.renumbered else reference
    return problems + [problem for check in CHECKS for problem in check(scene.site, expected, before)]


def _is_within(path: Path, places: Sequence[Path]) -> bool:
    return any(path.is_relative_to(place) for place in places)


def _runs(attempt: AttemptDir) -> bool:
    return is_held(attempt.lease) and bool(owner_of(attempt))


def _attempt(site: Site, trial: Path) -> int:
    found = site.trial(int(trial.name))
    return found.newest.number if found is not None else 0


def unheard(scene: Scene, number: signal.Signals) -> bool:
    """Whether a signal came before Python had put a handler in place; nothing was started by then."""
    return not scene.site.launches() and scene.end_of_first_call() == -number


def _to_the_end(scene: Scene, trials: int) -> Iterator[str]:
    """`sweeper run` until all is done: a few calls, each of which ends."""
    site = scene.site
    if scene.end_of_first_call() is None:
        yield f"the disturbed call does not end: {_stacks(scene.orchestrator.pid)}"
        return
    for _ in range(CALLS):
        states = [trial.state for trial in site.trials()]
        if len(states) == trials and set(states) <= {State.COMPLETE, State.PRUNED}:
            break
        process = site.start()
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            yield "a further call does not end"
            return
    launched = site.launches()
    code = site.start().wait(PATIENCE_S)
    if code != 0:
        yield f"one more call: expected 0, got {code}"
    if site.launches() != launched:
        yield "one more call launched something"


def _stacks(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/wchan").read_text() or "it waits"
    return "it is gone"


# ---- what has to hold ---------------------------------------------------------------------------------------------

Check = Callable[[Site, Undisturbed, Mapping[Path, bytes]], Iterator[str]]


def all_is_as_undisturbed(site: Site, reference: Undisturbed, _: Mapping[Path, bytes]) -> Iterator[str]:
    table, points = site.table(), site.points()
    if wrong := reference.differs_from(table):
        yield f"the table: expected {len(reference.table)} trials as undisturbed, got {len(table)}, other: {wrong}"
    if reference.misses_in(points):
        curves = {name: len(curve) for name, curve in points.items() if curve != reference.points.get(name)}
        yield f"TensorBoard: expected all points, got of those that differ {curves}, of {sorted(points)}"


def no_complete_line_is_lost(site: Site, _: Undisturbed, before: Mapping[Path, bytes]) -> Iterator[str]:
    after = site.record()
    for path, data in before.items():
        if not after.get(path, b"").startswith(data):
            yield f"{path.relative_to(site.folder)}: lines that stood there are gone"


def no_trial_had_two_workers(site: Site, _: Undisturbed, __: Mapping[Path, bytes]) -> Iterator[str]:
    for path in site.traces():
        lines = [line.split() for line in path.read_text().splitlines()]
        if any(what == "overlap" for _pid, _time, what in lines):
            yield f"{path.name}: a worker found another one at work"
        pids = [pid for pid, _time, _what in lines]
        changes = [pid for i, pid in enumerate(pids) if i == 0 or pids[i - 1] != pid]
        if len(changes) != len(set(changes)):
            yield f"{path.name}: steps of two workers alternate"


def no_process_is_left(site: Site, _: Undisturbed, __: Mapping[Path, bytes]) -> Iterator[str]:
    deadline = time.monotonic() + 5  # a killed process is not gone at once
    while (left := site.processes()) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid, command in left.items():
        yield f"process {pid} is left: {command}"


def no_lease_is_held(site: Site, _: Undisturbed, __: Mapping[Path, bytes]) -> Iterator[str]:
    for path in [site.run.lease, site.run.views_lease, *(attempt.lease for attempt in site.attempts())]:
        if is_held(path):
            yield f"{path.relative_to(site.folder)} is held"


def no_process_printed_a_traceback(site: Site, _: Undisturbed, __: Mapping[Path, bytes]) -> Iterator[str]:
    if "Traceback" in (said := site.said()):
        yield f"a traceback: {said[said.index('Traceback') :][-1500:]}"


CHECKS: Sequence[Check] = (
    all_is_as_undisturbed,
    no_complete_line_is_lost,
    no_trial_had_two_workers,
    no_process_is_left,
    no_lease_is_held,
    no_process_printed_a_traceback,
)
