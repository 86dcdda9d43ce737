"""What a running sweep shows: a table that is redrawn on a terminal, lines where there is none."""

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

from sweeper.record.fold import State
from sweeper.record.trial import Trial
from sweeper.results.columns import shorten
from sweeper.results.receipt import end_line
from sweeper.results.snapshot import Show, SweepView, params_of
from sweeper.results.wording import duration, number, plain
from sweeper.views.terminal.detached import is_behind
from sweeper.views.terminal.detail import pane_of
from sweeper.views.terminal.keyboard import Keyboard
from sweeper.views.terminal.screen import Command, Screen
from sweeper.views.terminal.sparklines import Curves, can_draw
from sweeper.views.terminal.table import rows_of, status_table, step_text

PROGRESS_EVERY_S = 30.0


Send = Callable[[Command], None]

BEGIN, END = "\x1b[?2026h", "\x1b[?2026l"
"""Around a frame, so that a terminal that knows these shows all of it at once (synchronized output)."""


def show(
    stream: TextIO | None = None, *, keys: TextIO | None = None, send: Send | None = None
) -> LiveTable | PlainLines:
    """The display that fits the stream (standard output where none is given).

    Args:
        keys: where keys are read, if it is a terminal.
        send: gets what they ask for.
    """
    stream = sys.stdout if stream is None else stream
    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    # Not console.is_terminal: that believes FORCE_COLOR, which CI sets where there is none.
    if not stream.isatty() or console.is_dumb_terminal:
        return PlainLines(stream)
    table = LiveTable(console)
    if keys is not None and send is not None and keys.isatty():
        table.take_keys(keys.fileno(), send)
    return table


class LiveTable(Show):
    """The table, redrawn in place where it changed; no thread of its own. With keys, it shows single trials too."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = _Steady(console)
        self._curves = Curves()
        self._lines: list[list[Segment]] = []
        self._sweep: SweepView | None = None
        self._screen = Screen()
        self._keyboard: Keyboard | None = None
        self._send: Send = lambda _: None

    def take_keys(self, fd: int, send: Send) -> None:
        """Read keys from a terminal while this is entered, and hand on what they ask for."""
        self._keyboard, self._send = Keyboard(fd, stopping=self._leave, going_on=self._come_back), send

    def filenos(self) -> Sequence[int]:
        """What can be slept on until a key is pressed."""
        return () if self._keyboard is None else self._keyboard.filenos()

    def pressed(self) -> bool:
        """Take in the keys that were pressed; whether there is another picture to be shown for it."""
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
        """Redraw what changed, unless the terminal has not taken the last picture yet."""
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
        pane = pane_of(self._screen, sweep, width=width, height=height - 2)
        return Group(self._table(sweep, width, height - 2) if pane is None else pane, keys)

    def _table(self, sweep: SweepView, width: int, height: int) -> RenderableType:
        chosen = self._screen.chosen
        drawn = self._curves.of(rows_of(sweep, height, chosen)) if can_draw(self._console.encoding) else {}
        return status_table(sweep, width=width, height=height, curves=drawn, chosen=chosen)

    def _leave(self) -> None:
        self._live.stop()
        self._console.file.flush()

    def _come_back(self) -> None:
        self._live.stop()
        self._live, self._lines = _Steady(self._console), []
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
                self.update(self._sweep)  # what stays on the terminal is the table, without keys
        self._live.stop()


class _Steady(Live):
    """A live display whose frames come whole."""

    def __init__(self, console: Console) -> None:
        super().__init__(console=console, auto_refresh=False, vertical_overflow="crop")

    def refresh(self) -> None:
        """Draw between the two marks, all of it in one write."""
        with self.console:
            self.console.control(_mark(BEGIN))
            super().refresh()
            self.console.control(_mark(END))


def _mark(text: str) -> Control:
    mark = Control()
    mark.segment = Segment(text, None, [])
    return mark


class PlainLines(Show):
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
    if trial.state is State.PAUSED:
        return f"{name} paused at step {step_text(trial)} after {duration(trial.seconds(now))}"
    return f"{name} waiting at step {step_text(trial)} after {duration(trial.seconds(now))}"


def _progress_line(sweep: SweepView) -> str:
    ended = sum(trial.state.ended for trial in sweep.trials)
    of = f" of {sweep.total}" if sweep.total is not None else ""
    running = [f"{t.facts.number:04d} {step_text(t)}" for t in sweep.trials if t.state is State.RUNNING]
    best = _best(sweep)
    parts = [f"{ended}{of} ended", f"running {', '.join(running)}" if running else "none running"]
    paused = [f"{trial.facts.number:04d}" for trial in sweep.trials if trial.state is State.PAUSED]
    parts += [f"paused {', '.join(paused)}"] if paused else []
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
