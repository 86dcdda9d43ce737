"""The views process: follows every trial of a sweep and projects it into TensorBoard. One a sweep, one thread.

It ends when its standard input does, or at SIGTERM, after projecting all that the record holds by then: whoever
started it, dead or done, has nothing more to say. Ctrl-C belongs to the orchestrator and is ignored here.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sweeper.errors import RecordError, RunBusy
from sweeper.record.ended import read_states
from sweeper.record.storage.layout import SweepDir, TrialDir, read_json
from sweeper.record.storage.lease import acquire, holder_of
from sweeper.record.trial import Trial
from sweeper.results.wording import plain
from sweeper.views.figures.trial_figures import MOST_LAYERS, Figures
from sweeper.views.tensorboard.selection import MOST_RUNS, left_out
from sweeper.views.tensorboard.trial_run import SweepTexts, TrialRun

FIGURES_EVERY = 30
FEWEST_LAYERS = 2  # the first and the last
POLL_S = 1.0
PATIENCE_S = 10.0
LOWEST_PRIORITY = 19


@dataclass(slots=True, kw_only=True)
class Projector:
    """Projects all trials of a sweep; a trial that cannot be is said once, and tried again at the next pass."""

    run: SweepDir
    figures_every: int
    figures: Figures
    say: Callable[[str], None]
    most_runs: int = MOST_RUNS
    _runs: dict[int, TrialRun] = field(default_factory=dict)
    _asleep: dict[int, tuple[str, int]] = field(default_factory=dict)
    _known: dict[int, Trial] | None = None
    _dropped: set[int] = field(default_factory=set)
    _said: set[str] = field(default_factory=set)

    def project(self) -> None:
        """One pass over all trials; those that sleep cost a look at the length of a file."""
        texts, entries = _texts_of(self.run), self.run.entries()
        if not self.run.tensorboard.exists():
            self._asleep.clear()
        if len(entries) > self.most_runs:
            self._leave_out(len(entries))
        for trial in entries:
            if not self._sleeps(trial.number) and (trial.number in self._runs or trial.control.exists()):
                self._project(trial, texts)

    def _project(self, trial: TrialDir, texts: SweepTexts) -> None:
        number = trial.number
        try:
            projected = self._runs.get(number) or self._opened(trial)
            projected.project(texts)
        except Exception as error:  # noqa: BLE001 - one broken trial must not cost the others their pictures
            self._runs.pop(number, None)  # what it holds may be half done; the position on disk is not
            self._say_once(f"trial {trial.path.name} is not shown: {plain(error) or type(error).__name__}")
            return
        if self._known is not None:
            self._known[number] = projected.trial
        if projected.done:
            self._put_to_sleep(trial)

    def _opened(self, trial: TrialDir) -> TrialRun:
        run = TrialRun(self.run, trial, figures=self.figures, every_steps=self.figures_every)
        self._runs[trial.number] = run
        return run

    def _leave_out(self, count: int) -> None:
        """Of a sweep with more trials than are shown: take away the runs of those that are not."""
        if self._known is None:
            self._known = {trial.facts.number: trial for trial in read_states(self.run)[0]}
        hidden = left_out(self._known.values(), self.most_runs)
        for number in hidden - self._dropped:
            trial = self._known[number]
            self._put_to_sleep(trial.directory)
            shutil.rmtree(self.run.tensorboard / trial.facts.label, ignore_errors=True)
        for number in self._dropped - hidden:
            self._asleep.pop(number, None)
        self._dropped = hidden
        if hidden:
            self._say_once(
                f"of {count} trials at most {self.most_runs} are shown: those that run, the best, and those that ended "
                "last; figures.most_runs says how many"
            )

    def _put_to_sleep(self, trial: TrialDir) -> None:
        self._runs.pop(trial.number, None)
        control = str(trial.control)
        self._asleep[trial.number] = control, _size(control)

    def _sleeps(self, number: int) -> bool:
        """Whether the trial has ended, or is left out; it wakes when its control file grows."""
        if number not in self._asleep:
            return False
        control, size = self._asleep[number]
        if _size(control) != size:
            del self._asleep[number]
            self._dropped.discard(number)
            return False
        return True

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self.say(text)


def project(
    run: SweepDir,
    figures_every: int = FIGURES_EVERY,
    max_layers: int = MOST_LAYERS,
    *,
    most_runs: int = MOST_RUNS,
    patience_s: float = PATIENCE_S,
) -> None:
    """Project what the record holds now; the pictures every so many steps, of so many layers, and so many runs.

    Raises:
        RunBusy: another views process held the sweep for longer than `patience_s`.
    """
    with _held(run, patience_s):
        _projector(run, figures_every, max_layers, most_runs).project()


def follow(  # noqa: PLR0913 - what is drawn, and until when
    run: SweepDir,
    figures_every: int,
    max_layers: int,
    *,
    most_runs: int = MOST_RUNS,
    stop: Callable[[float], bool],
    patience_s: float = PATIENCE_S,
) -> None:
    """Project what is appended until `stop`, which waits up to the given seconds, says so; then all there is.

    Raises:
        RunBusy: another views process held the sweep for longer than `patience_s`.
    """
    with _held(run, patience_s):
        projector = _projector(run, figures_every, max_layers, most_runs)
        while True:
            begin = time.monotonic()
            projector.project()
            # At most half of the time is spent, however many trials there are.
            if stop(max(POLL_S, time.monotonic() - begin)):
                break
        projector.project()


def main(arguments: list[str] | None = None) -> int:
    """Run the views process; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m sweeper.views", description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="directory of the sweep")
    parser.add_argument(
        "--figures-every", type=int, default=FIGURES_EVERY, metavar="STEPS", help="default: %(default)s"
    )
    parser.add_argument(
        "--max-layers", type=int, default=MOST_LAYERS, metavar="COUNT", help="in a picture; default: %(default)s"
    )
    parser.add_argument("--most-runs", type=int, default=MOST_RUNS, metavar="COUNT", help="default: %(default)s")
    parser.add_argument("--once", action="store_true", help="project what is there, then exit")
    given = parser.parse_args(arguments)
    if given.figures_every < 1:
        parser.error("--figures-every: expected at least 1")
    if given.max_layers < FEWEST_LAYERS:
        parser.error(f"--max-layers: expected at least {FEWEST_LAYERS}")
    if given.most_runs < 1:
        parser.error("--most-runs: expected at least 1")
    run = SweepDir(given.run)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(LOWEST_PRIORITY)
    try:
        if given.once:
            project(run, given.figures_every, given.max_layers, most_runs=given.most_runs)
        else:
            with _stop_by_stdin_or_sigterm() as stop:
                follow(run, given.figures_every, given.max_layers, most_runs=given.most_runs, stop=stop)
    except (RunBusy, RecordError, OSError) as error:
        _say(str(error))
        return 2
    return 0


def _projector(run: SweepDir, figures_every: int, max_layers: int, most_runs: int) -> Projector:
    figures = Figures(max_layers)
    return Projector(run=run, figures_every=figures_every, figures=figures, most_runs=most_runs, say=_say)


def _say(text: str) -> None:
    sys.stderr.write(f"sweeper views: {text}\n")
    sys.stderr.flush()


@contextlib.contextmanager
def _held(run: SweepDir, patience_s: float) -> Iterator[None]:
    """The views lease, waited for while another process drains."""
    if not run.path.is_dir():
        raise RecordError(f"{run.path}: expected the directory of a sweep, got none")
    until = time.monotonic() + patience_s
    while (lease := acquire(run.views_lease, holder=f"pid {os.getpid()}")) is None:
        if time.monotonic() >= until:
            holder = plain(holder_of(run.views_lease)) or "somebody"
            raise RunBusy(
                f"{run.path}: another views process ({holder}) draws this sweep; waited {patience_s:g} s for it"
            )
        time.sleep(0.1)
    try:
        yield
    finally:
        lease.release()


@contextlib.contextmanager
def _stop_by_stdin_or_sigterm() -> Iterator[Callable[[float], bool]]:
    """A wait that returns True, at once, when standard input ends or SIGTERM comes."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    previous = signal.signal(signal.SIGTERM, lambda *_: os.write(write_end, b"."))
    stdin = sys.stdin.fileno() if sys.stdin is not None else -1

    def stop(wait_s: float) -> bool:
        until = time.monotonic() + wait_s
        while (left := until - time.monotonic()) > 0:
            ready, _, _ = select.select([fd for fd in (read_end, stdin) if fd >= 0], [], [], left)
            if read_end in ready or (stdin in ready and not os.read(stdin, 4096)):
                return True
        return stdin < 0

    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, previous)
        os.close(read_end)
        os.close(write_end)


def _texts_of(run: SweepDir) -> SweepTexts:
    """The sweep file, and the provenance where the resolved sweep has it."""
    try:
        yaml = run.sweep_yaml.read_text(errors="replace")
    except OSError:
        yaml = ""
    try:
        provenance = read_json(run.spec).get("provenance")
    except RecordError:
        provenance = None
    return SweepTexts(sweep_yaml=yaml, provenance=provenance if isinstance(provenance, dict) else {})


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116 - thousands of them; a Path takes longer than the call
    except OSError:
        return 0
