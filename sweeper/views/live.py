"""What a running sweep shows: a table that is redrawn on a terminal, lines where there is none."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.live import Live

from sweeper.record.fold import State
from sweeper.record.trial import Trial
from sweeper.views.receipt import end_line
from sweeper.views.snapshot import SweepView
from sweeper.views.table import params_of, status_table, step_text
from sweeper.views.unattended import is_behind
from sweeper.views.wording import duration, number, plain

PROGRESS_EVERY_S = 30.0


def show(stream: TextIO | None = None) -> LiveTable | PlainLines:
    """The display that fits the stream (standard output where none is given)."""
    stream = sys.stdout if stream is None else stream
    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    return LiveTable(console) if console.is_terminal and not console.is_dumb_terminal else PlainLines(stream)


class LiveTable:
    """The table, redrawn in place at every update; no thread of its own."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")

    def update(self, sweep: SweepView) -> None:
        """Redraw, unless the terminal has not taken the last one yet."""
        if is_behind(self._console.file):
            return
        width, height = self._console.size
        self._live.update(status_table(sweep, width=width, height=height - 1), refresh=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()


class PlainLines:
    """A line for each change of state and each message, and one of progress every half minute at most."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._seen: dict[int, Trial] = {}
        self._messages: tuple[str, ...] = ()
        self._unmet: set[str] = set()
        self._progress_at: float | None = None

    def update(self, sweep: SweepView) -> None:
        """Say what has changed."""
        is_behind(self._stream)  # what waits is offered again, also where nothing is new
        news = _newer(self._messages, tuple(sweep.messages))
        for trial in sweep.trials:
            before = self._seen.get(trial.facts.number)
            if trial is before:  # as nearly all of them, at nearly every look
                continue
            self._seen[trial.facts.number] = trial
            if trial.state is not (State.WAITING if before is None else before.state) and not _is_told(trial, news):
                self._say(_change_line(trial, sweep.now))
        for line in (*news, *(line for line in sweep.unmet if line not in self._unmet)):
            self._say(line)
        self._messages = tuple(sweep.messages)
        self._unmet.update(sweep.unmet)
        if self._progress_at is None or sweep.now - self._progress_at >= PROGRESS_EVERY_S:
            self._progress_at = sweep.now
            self._say(_progress_line(sweep))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.flush()

    def _say(self, line: str) -> None:
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        self._stream.write(plain(line).encode(encoding, "replace").decode(encoding) + "\n")
        self._stream.flush()


_TOLD_AS = {State.PRUNED: "pruned", State.FAIL: "failed"}


def _is_told(trial: Trial, messages: Sequence[str]) -> bool:
    """Whether a message says already how the trial ended, and why."""
    word = _TOLD_AS.get(trial.state)
    return word is not None and any(line.startswith(f"{trial.facts.number:04d} {word}") for line in messages)


def _change_line(trial: Trial, now: float) -> str:
    name = f"{trial.facts.number:04d}"
    if trial.state.ended:
        return f"{name} {end_line(trial)}"
    slot = f" on {launched.slot}" if (launched := trial.control.launched.get(trial.control.attempt)) else ""
    attempt = f", attempt {trial.control.attempt}" if trial.control.attempt > 1 else ""
    if trial.state is State.RUNNING:
        seed = f", seed {trial.facts.seed}" if trial.facts.seeds > 1 else ""
        return f"{name} running{slot}{attempt}: {params_of(trial)}{seed}"
    return f"{name} waiting at step {step_text(trial)} after {duration(trial.seconds(now))}"


def _progress_line(sweep: SweepView) -> str:
    ended = sum(trial.state.ended for trial in sweep.trials)
    of = f" of {sweep.total}" if sweep.total is not None else ""
    running = [f"{t.facts.number:04d} {step_text(t)}" for t in sweep.trials if t.state is State.RUNNING]
    best = _best(sweep)
    parts = [f"{ended}{of} ended", f"running {', '.join(running)}" if running else "none running"]
    parts += [f"best {sweep.metric} {number(best)}"] if best is not None else []
    return f"{plain(sweep.name)}: {'; '.join(parts)}; {duration(sweep.now - sweep.started)} gone"


def _best(sweep: SweepView) -> float | None:
    values = [trial.value for trial in sweep.trials if trial.value is not None]
    if not values:
        return None
    return max(values) if sweep.trials[0].facts.maximize else min(values)


def _newer(before: tuple[str, ...], after: tuple[str, ...]) -> tuple[str, ...]:
    """The messages of `after` behind the longest overlap with the end of `before`."""
    for start in range(len(before) + 1):
        overlap = before[start:]
        if after[: len(overlap)] == overlap:
            return after[len(overlap) :]
    return after
