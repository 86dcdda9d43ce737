"""The views process: follow every trial of a sweep and write it to TensorBoard. One process per sweep, one thread.

The process ends at the end of its standard input, which is the end of the orchestrator, or at SIGTERM, after writing
everything that the record has by then; after SIGTERM, its exit code is 143. Ctrl-C is for the orchestrator and is
ignored here. The orchestrator starts the process with both signals blocked, so that neither interrupts its imports with
a traceback.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sweeper.errors import RecordError, RunBusy
from sweeper.record.ended import read_states
from sweeper.record.storage import confined
from sweeper.record.storage.layout import SweepDir, TrialDir, read_json
from sweeper.record.storage.lease import acquire, holder_of
from sweeper.record.trial import TrialRecord
from sweeper.results.wording import plain
from sweeper.views.figures.trial_figures import MOST_LAYERS, TrialFigures
from sweeper.views.tensorboard.selection import MOST_RUNS, hidden_trials
from sweeper.views.tensorboard.trial_run import SweepTexts, TrialRun

FIGURES_EVERY = 30
FEWEST_LAYERS = 2  # the first and the last
POLL_S = 1.0
PATIENCE_S = 10.0
LOWEST_PRIORITY = 19
TERMINATED = 128 + signal.SIGTERM
"""The exit code after SIGTERM."""


@dataclass(slots=True, kw_only=True)
class SweepProjection:
    """Writes all trials of a sweep to TensorBoard; a trial with an error is reported once and retried in each pass."""

    run: SweepDir
    figures_every: int
    figures: TrialFigures
    report: Callable[[str], None]
    most_runs: int = MOST_RUNS
    _runs: dict[int, TrialRun] = field(default_factory=dict)
    _idle: dict[int, tuple[str, int]] = field(default_factory=dict)
    _known: dict[int, TrialRecord] | None = None
    _hidden: set[int] = field(default_factory=set)
    _reported: set[str] = field(default_factory=set)

    def project(self) -> None:
        """Write what is new in all trials. An ended trial costs only one check of the length of a file."""
        texts, entries = _texts_of(self.run), self.run.entries()
        if not self.run.tensorboard.exists():
            self._idle.clear()
        if len(entries) > self.most_runs:
            self._hide_trials(len(entries))
        for trial in entries:
            if not self._is_idle(trial.number) and (trial.number in self._runs or trial.control.exists()):
                self._project(trial, texts)

    def _project(self, trial: TrialDir, texts: SweepTexts) -> None:
        number = trial.number
        try:
            projected = self._runs.get(number) or self._opened(trial)
            projected.project(texts)
        except Exception as error:  # noqa: BLE001 - a broken trial must not stop the views of the others
            self._runs.pop(number, None)  # its state in memory may be inconsistent; the position on disk is not
            self._report_once(f"trial {trial.path.name} is not shown: {plain(error) or type(error).__name__}")
            return
        if self._known is not None:
            self._known[number] = projected.trial
        if projected.done:
            self._set_idle(trial)

    def _opened(self, trial: TrialDir) -> TrialRun:
        run = TrialRun(self.run, trial, figures=self.figures, every_steps=self.figures_every)
        self._runs[trial.number] = run
        return run

    def _hide_trials(self, count: int) -> None:
        """Delete the TensorBoard runs of the trials beyond `most_runs`."""
        if self._known is None:
            self._known = {trial.facts.number: trial for trial in read_states(self.run)[0]}
        hidden = hidden_trials(self._known.values(), self.most_runs)
        for number in hidden - self._hidden:
            trial = self._known[number]
            self._set_idle(trial.directory)
            with contextlib.suppress(OSError):
                confined.remove_folder(self.run.tensorboard / trial.facts.label, root=self.run.path)
        for number in self._hidden - hidden:
            self._idle.pop(number, None)
        self._hidden = hidden
        if hidden:
            self._report_once(
                f"TensorBoard shows at most {self.most_runs} of {count} trials: running trials, the best, and the last "
                "to end. Set figures.most_runs to change the number"
            )

    def _set_idle(self, trial: TrialDir) -> None:
        self._runs.pop(trial.number, None)
        control = str(trial.control)
        self._idle[trial.number] = control, _size(control)

    def _is_idle(self, number: int) -> bool:
        """Return whether the trial has ended or is hidden, and its control file has not grown since."""
        if number not in self._idle:
            return False
        control, size = self._idle[number]
        if _size(control) != size:
            del self._idle[number]
            self._hidden.discard(number)
            return False
        return True

    def _report_once(self, text: str) -> None:
        if text not in self._reported:
            self._reported.add(text)
            self.report(text)


def project(
    run: SweepDir,
    figures_every: int = FIGURES_EVERY,
    max_layers: int = MOST_LAYERS,
    *,
    most_runs: int = MOST_RUNS,
    patience_s: float = PATIENCE_S,
) -> None:
    """Write what the record has now to TensorBoard.

    Args:
        figures_every: steps between pictures.
        max_layers: maximum number of layers in a picture.
        most_runs: maximum number of trials shown.
        patience_s: seconds to wait for another views process of the same sweep.

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
    """Write what is appended to the record until `stop` returns true, then everything that is left.

    Args:
        stop: waits up to the given number of seconds, and returns whether to stop.

    Raises:
        RunBusy: another views process held the sweep for longer than `patience_s`.
    """
    with _held(run, patience_s):
        projector = _projector(run, figures_every, max_layers, most_runs)
        while True:
            begin = time.monotonic()
            projector.project()
            # Use at most half of the time, however many trials there are.
            if stop(max(POLL_S, time.monotonic() - begin)):
                break
        projector.project()


def main(arguments: list[str] | None = None) -> int:
    """Run the views process. Return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m sweeper.views.tensorboard", description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="directory of the sweep")
    parser.add_argument(
        "--figures-every",
        type=int,
        default=FIGURES_EVERY,
        metavar="STEPS",
        help="steps between pictures (default: %(default)s)",
    )
    parser.add_argument(
        "--max-layers",
        type=int,
        default=MOST_LAYERS,
        metavar="COUNT",
        help="maximum number of layers in a picture (default: %(default)s)",
    )
    parser.add_argument(
        "--most-runs",
        type=int,
        default=MOST_RUNS,
        metavar="COUNT",
        help="maximum number of trials shown (default: %(default)s)",
    )
    parser.add_argument("--once", action="store_true", help="write what the record has now, then exit")
    given = parser.parse_args(arguments)
    if given.figures_every < 1:
        parser.error("--figures-every: expected at least 1")
    if given.max_layers < FEWEST_LAYERS:
        parser.error(f"--max-layers: expected at least {FEWEST_LAYERS}")
    if given.most_runs < 1:
        parser.error("--most-runs: expected at least 1")
    run = SweepDir(given.run)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    os.nice(LOWEST_PRIORITY)
    try:
        if given.once:
            project(run, given.figures_every, given.max_layers, most_runs=given.most_runs)
        else:
            with _stop_by_stdin_or_sigterm() as stop:
                follow(run, given.figures_every, given.max_layers, most_runs=given.most_runs, stop=stop)
            return stop.code
    except (RunBusy, RecordError, OSError) as error:
        _report(str(error))
        return 2
    return 0


def _projector(run: SweepDir, figures_every: int, max_layers: int, most_runs: int) -> SweepProjection:
    figures = TrialFigures(max_layers)
    return SweepProjection(run=run, figures_every=figures_every, figures=figures, most_runs=most_runs, report=_report)


def _report(text: str) -> None:
    sys.stderr.write(f"sweeper views: {text}\n")
    sys.stderr.flush()


@contextlib.contextmanager
def _held(run: SweepDir, patience_s: float) -> Iterator[None]:
    """Hold the views lease; wait for it while another process finishes."""
    if not run.path.is_dir():
        raise RecordError(f"{run.path}: expected the directory of a sweep, but it does not exist")
    until = time.monotonic() + patience_s
    while (lease := acquire(run.views_lease, holder=f"pid {os.getpid()}")) is None:
        if time.monotonic() >= until:
            holder = plain(holder_of(run.views_lease)) or "unknown pid"
            raise RunBusy(
                f"{run.path}: another views process ({holder}) is writing the views of this sweep; "
                f"waited {patience_s:g} s for it"
            )
        time.sleep(0.1)
    try:
        yield
    finally:
        lease.release()


class _Stop:
    """Waits up to some seconds; returns True at once if standard input ends, or on SIGTERM.

    Attributes:
        code: the exit code of the process: that of a shell's command after SIGTERM, which may have come before the end
            of the sweep; otherwise 0.
    """

    def __init__(self, terminated: int) -> None:
        self.code = 0
        self._terminated = terminated
        self._stdin = sys.stdin.fileno() if sys.stdin is not None else -1

    def __call__(self, wait_s: float) -> bool:
        until = time.monotonic() + wait_s
        while (left := until - time.monotonic()) > 0:
            ready, _, _ = select.select([fd for fd in (self._terminated, self._stdin) if fd >= 0], [], [], left)
            if self._stdin in ready and not os.read(self._stdin, 4096):
                return True
            if self._terminated in ready:
                self.code = TERMINATED
                return True
        return self._stdin < 0


@contextlib.contextmanager
def _stop_by_stdin_or_sigterm() -> Iterator[_Stop]:
    """Return the function that waits for the end."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    previous = signal.signal(signal.SIGTERM, lambda *_: os.write(write_end, b"."))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    try:
        yield _Stop(read_end)
    finally:
        signal.signal(signal.SIGTERM, previous)
        os.close(read_end)
        os.close(write_end)


def _texts_of(run: SweepDir) -> SweepTexts:
    """Return the sweep file, and the provenance if it was recorded."""
    try:
        yaml = confined.read_bytes(run.sweep_yaml).decode(errors="replace")
    except OSError:
        yaml = ""
    try:
        provenance = read_json(run.spec).get("provenance")
    except RecordError:
        provenance = None
    return SweepTexts(sweep_yaml=yaml, provenance=provenance if isinstance(provenance, dict) else {})


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116 - for thousands of files, making a Path takes longer than the call
    except OSError:
        return 0
