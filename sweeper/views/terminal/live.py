"""The display of a running sweep: a table that is redrawn on a terminal, or progress lines without a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console, Group, RenderableType
from rich.control import Control
from rich.live import Live
from rich.segment import Segment, Segments
from rich.text import Text

from sweeper.record.storage.inbox import Command
from sweeper.record.trial import State, TrialRecord
from sweeper.results.columns import shorten
from sweeper.results.front import front_of, has_front
from sweeper.results.receipt import end_line
from sweeper.results.snapshot import Display, SweepView, params_of
from sweeper.results.wording import counted, duration, number, plain
from sweeper.views.terminal.console import make_console
from sweeper.views.terminal.detached import is_behind
from sweeper.views.terminal.keyboard import Keyboard
from sweeper.views.terminal.screen import Screen, detail_of
from sweeper.views.terminal.sparklines import SparklineCache, can_draw
from sweeper.views.terminal.table import rows_of, status_table, step_text

PROGRESS_EVERY_S = 30.0


Send = Callable[[Command], None]

BEGIN, END = "\x1b[?2026h", "\x1b[?2026l"
"""Sent before and after a frame; terminals that support synchronized output then show the whole frame at once."""


def show(
    stream: TextIO | None = None, *, keys: TextIO | None = None, send: Send | None = None
) -> LiveTable | PlainLines:
    """Return the display that fits the stream: a live table for a terminal, else plain lines.

    Args:
        stream: where to write (default: standard output).
        keys: where to read keys, if it is a terminal.
        send: called with each command that the keys give.
    """
    stream = sys.stdout if stream is None else stream
    console = make_console(file=stream, markup=False, emoji=False)
    # Not console.is_terminal: that is true with FORCE_COLOR, which CI sets without a terminal.
    if not stream.isatty() or console.is_dumb_terminal:
        return PlainLines(stream)
    table = LiveTable(console)
    if keys is not None and send is not None and keys.isatty():
        table.take_keys(keys.fileno(), send)
    return table


class LiveTable(Display):
    """The table of trials, redrawn in place when it changes, without a thread. With keys, it also shows one trial."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = _AtomicLive(console)
        self._curves = SparklineCache()
        self._lines: list[list[Segment]] = []
        self._sweep: SweepView | None = None
        self._screen = Screen()
        self._keyboard: Keyboard | None = None
        self._send: Send = lambda _: None

    def take_keys(self, fd: int, send: Send) -> None:
        """Read keys from a terminal while the display is active, and call `send` with the commands that they give."""
        self._keyboard, self._send = Keyboard(fd, on_suspend=self._leave, on_resume=self._come_back), send

    def filenos(self) -> Sequence[int]:
        """Return the descriptors that become readable when a key is pressed."""
        return () if self._keyboard is None else self._keyboard.filenos()

    def pressed(self) -> bool:
        """Read the pressed keys. Return whether the display has to be redrawn."""
        if self._keyboard is None:
            return False
        keys = self._keyboard.pressed()
        for key in keys:
            if self._sweep is None:
                break
            self._screen, command = self._screen.pressed(key, self._sweep, self._console.height - 2)
            if command is not None:
                self._send(command)
        return bool(keys) or not self._lines

    def update(self, sweep: SweepView) -> None:
        """Redraw the display if it changed, unless the terminal has not accepted the last frame yet."""
        self._sweep = sweep
        if is_behind(self._console.file):
            return
        lines = self._console.render_lines(self._picture(sweep), pad=False)
        if lines != self._lines:
            self._lines = lines
            self._live.update(Segments([s for line in lines for s in (*line, Segment.line())][:-1]), refresh=True)

    def _picture(self, sweep: SweepView) -> RenderableType:
        width, height = self._console.size
        if self._keyboard is None:
            return self._table(sweep, width, height - 1)
        keys = Text(shorten(self._screen.help, width), style="bold" if self._screen.ending else "dim")
        detail = detail_of(self._screen, sweep, width=width, height=height - 2)
        return Group(self._table(sweep, width, height - 2) if detail is None else detail, keys)

    def _table(self, sweep: SweepView, width: int, height: int) -> RenderableType:
        chosen = self._screen.chosen
        drawn = self._curves.of(rows_of(sweep, height, chosen)) if can_draw(self._console.encoding) else {}
        return status_table(sweep, width=width, height=height, curves=drawn, chosen=chosen)

    def _leave(self) -> None:
        self._live.stop()
        self._console.file.flush()

    def _come_back(self) -> None:
        self._live.stop()
        self._live, self._lines = _AtomicLive(self._console), []
        self._live.start()

    def __enter__(self) -> Self:
        self._live.start()
        if self._keyboard is not None:
            self._keyboard.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._keyboard is not None:
            self._keyboard.__exit__(kind, error, trace)
            self._keyboard, self._screen = None, Screen()
            if self._sweep is not None:
                self.update(self._sweep)  # leave the table on the terminal, without the line of keys
        self._live.stop()


class _AtomicLive(Live):
    """A live display that writes each frame at once."""

    def __init__(self, console: Console) -> None:
        super().__init__(console=console, auto_refresh=False, vertical_overflow="crop")

    def refresh(self) -> None:
        """Draw a frame between the two marks, in one write."""
        with self.console:
            self.console.control(_mark(BEGIN))
            super().refresh()
            self.console.control(_mark(END))


def _mark(text: str) -> Control:
    mark = Control()
    mark.segment = Segment(text, None, [])
    return mark


class PlainLines(Display):
    """Prints a line for each change of state and each message, and a progress line at most every half minute.

    Trials that ended in earlier calls are counted in one line.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._seen: dict[int, TrialRecord] = {}
        self._messages: tuple[str, ...] = ()
        self._unmet: set[str] = set()
        self._progress_at: float | None = None

    def update(self, sweep: SweepView) -> None:
        """Print what has changed."""
        is_behind(self._stream)  # also writes buffered output if nothing is new
        news = _newer(self._messages, tuple(sweep.messages))
        if self._progress_at is None and sweep.ended_earlier:
            self._print(_resuming_line(sweep))
        for trial in sweep.trials:
            before = self._seen.get(trial.facts.number)
            if trial is before:  # true for nearly all trials at nearly every update
                continue
            self._seen[trial.facts.number] = trial
            state = State.WAITING if before is None else before.state
            if before is None and trial.state.ended and trial.number in sweep.ended_earlier:
                continue
            if trial.state is not state and not _is_announced(trial, news):
                self._print(_change_line(trial, sweep.now))
        for line in (*news, *(line for line in sweep.unmet if line not in self._unmet)):
            self._print(line)
        self._messages = tuple(sweep.messages)
        self._unmet.update(sweep.unmet)
        if self._progress_at is None or sweep.now - self._progress_at >= PROGRESS_EVERY_S:
            self._progress_at = sweep.now
            self._print(_progress_line(sweep))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.flush()

    def _print(self, line: str) -> None:
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        self._stream.write(plain(line).encode(encoding, "replace").decode(encoding) + "\n")
        self._stream.flush()


def _resuming_line(sweep: SweepView) -> str:
    count = len(sweep.ended_earlier)
    of = counted(count, "trial", "trials") if sweep.total is None else f"{count} of {sweep.total} trials"
    return f"resuming {plain(sweep.title or sweep.name)}: {of} ended before"


_ANNOUNCED_AS = {State.PRUNED: "pruned", State.FAIL: "failed"}


def _is_announced(trial: TrialRecord, messages: Sequence[str]) -> bool:
    """Return whether a message already says how and why the trial ended."""
    word = _ANNOUNCED_AS.get(trial.state)
    return word is not None and any(line.startswith(f"{trial.facts.number:04d} {word}") for line in messages)


def _change_line(trial: TrialRecord, now: float) -> str:
    name = f"{trial.facts.number:04d}"
    if trial.state.ended:
        return f"{name} {end_line(trial)}"
    slot = f" on {launched.slot}" if (launched := trial.newest.launched) else ""
    attempt = f", attempt {trial.newest.number}" if trial.newest.number > 1 else ""
    if trial.state is State.RUNNING:
        seed = f"seed {trial.facts.seed}" if trial.facts.seeds > 1 else ""
        varied = ", ".join(filter(None, [params_of(trial), seed]))
        return f"{name} running{slot}{attempt}{varied and f': {varied}'}"
    if trial.state is State.PAUSED:
        return f"{name} paused at step {step_text(trial)} after {duration(trial.seconds(now))}"
    return f"{name} waiting at step {step_text(trial)} after {duration(trial.seconds(now))}"


_BUSY = frozenset({"stopping", "drawing the last figures"})
"""States of a sweep that explain why it does not end although nothing runs."""


def _progress_line(sweep: SweepView) -> str:
    ended = sum(trial.state.ended for trial in sweep.trials)
    of = f" of {sweep.total}" if sweep.total is not None else ""
    running = [f"{t.facts.number:04d} {step_text(t)}" for t in sweep.trials if t.state is State.RUNNING]
    best = _best(sweep)
    parts = [f"{ended}{of} ended", f"running {', '.join(running)}" if running else "none running"]
    paused = [f"{trial.facts.number:04d}" for trial in sweep.trials if trial.state is State.PAUSED]
    parts += [f"paused {', '.join(paused)}"] if paused else []
    if has_front(sweep.trials):
        parts += [f"{len(front_of(sweep.trials))} on the Pareto front"]
    elif best is not None:
        parts += [f"best {sweep.metric} {number(best)}"]
    parts += [sweep.state] if sweep.state in _BUSY else []
    return f"{plain(sweep.title or sweep.name)}: {'; '.join(parts)}; {duration(sweep.now - sweep.started)} elapsed"


def _best(sweep: SweepView) -> float | None:
    values = [trial.value for trial in sweep.trials if trial.value is not None and trial.is_feasible]
    if not values:
        return None
    return max(values) if sweep.trials[0].facts.maximize else min(values)


def _newer(before: tuple[str, ...], after: tuple[str, ...]) -> tuple[str, ...]:
    """Return the messages of `after` that follow its longest overlap with the end of `before`."""
    for start in range(len(before) + 1):
        overlap = before[start:]
        if after[: len(overlap)] == overlap:
            return after[len(overlap) :]
    return after
