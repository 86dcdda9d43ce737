"""The interactive part of the live table: what the keys do, and the details of the selected trial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.console import RenderableType
from rich.text import Text

from sweeper.record.storage.inbox import Command, ForTrial, TrialCommand
from sweeper.record.trial import State, TrialRecord
from sweeper.results.columns import shorten
from sweeper.results.receipt import last_lines, receipt
from sweeper.results.snapshot import SweepView
from sweeper.results.wording import fold_line

WHY, OUTPUT = "why", "output"


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """What is shown.

    Args:
        chosen: number of the selected trial; None for none.
        detail: what is shown instead of the table: the selected trial's receipt, its output, or nothing.
        top: the first line of the receipt that is shown.
        ending: whether the user is being asked to confirm the end of the selected trial.
    """

    chosen: int | None = None
    detail: str = ""
    top: int = 0
    ending: bool = False

    def pressed(self, key: str, sweep: SweepView, page: int) -> tuple[Screen, Command | None]:
        """Return the screen after a key, and the command that the key gives.

        Args:
            page: number of lines of a page.
        """
        trial = _of(sweep.trials, self.chosen)
        if self.ending:
            done = replace(self, ending=False)
            return done, ForTrial(
                do=TrialCommand.STOP, number=trial.number
            ) if key == "y" and trial is not None else None
        if key == "escape":
            return (replace(self, detail="", top=0) if self.detail else replace(self, chosen=None)), None
        if key in ("up", "down", "page up", "page down"):
            by = (1 if "down" in key else -1) * (max(1, page - 1) if "page" in key else 1)
            if self.detail == WHY:
                return replace(self, top=max(0, self.top + by)), None
            return replace(self, chosen=_moved(sweep.trials, self.chosen, by)), None
        return (self, None) if trial is None else self._to_trial(key, trial)

    def _to_trial(self, key: str, trial: TrialRecord) -> tuple[Screen, Command | None]:
        number = trial.facts.number
        match key:
            case "enter" | "w":
                return replace(self, detail=WHY, top=0), None
            case "o":
                return replace(self, detail=OUTPUT, top=0), None
            case "x" if not trial.state.ended:
                return replace(self, ending=True), None
            case "p" if not trial.state.ended:
                return self, ForTrial(do=TrialCommand.RESUME if trial.paused else TrialCommand.PAUSE, number=number)
            case "s" if trial.state not in (State.COMPLETE, State.FAIL):
                return self, ForTrial(do=TrialCommand.REVIVE, number=number)
        return self, None

    @property
    def help(self) -> str:
        """Return one line that says what the keys do now."""
        if self.ending:
            return f"stop trial {self.chosen:04d} for good? y: yes, any other key: no"
        if self.chosen is None:
            return "keys: up/down select a trial"
        moves = {"": "up/down", WHY: "up/down scroll", OUTPUT: "up/down other trials"}[self.detail]
        return f"keys: {moves}  enter why  o output  x stop  p pause  s revive  esc back"


def detail_of(screen: Screen, sweep: SweepView, *, width: int, height: int) -> RenderableType | None:
    """Return the details of the selected trial in at most `height` lines; None if the table is to be shown."""
    trial = next((trial for trial in sweep.trials if trial.facts.number == screen.chosen), None)
    if trial is None or not screen.detail:
        return None
    if screen.detail == OUTPUT:
        head = f"trial {trial.facts.number:04d}: {trial.state.value}: {trial.attempt_dir.output}"
        tail = last_lines(trial.attempt_dir.output, height - 2) or ["(it has printed nothing)"]
        return _lines([head, "", *tail], width)
    siblings = [other for other in sweep.trials if other is not trial]
    text = [part for line in receipt(trial, siblings).split("\n") for part in fold_line(line, width).split("\n")]
    top = min(screen.top, max(0, len(text) - height))
    return _lines(text[top : top + height], width)


def _lines(lines: Sequence[str], width: int) -> Text:
    return Text("\n".join(shorten(line, width) for line in lines))


def _of(trials: Sequence[TrialRecord], number: int | None) -> TrialRecord | None:
    return next((trial for trial in trials if trial.facts.number == number), None)


def _moved(trials: Sequence[TrialRecord], chosen: int | None, by: int) -> int | None:
    """Return the number of the trial `by` lines further; without a selection, the first running trial, or else any."""
    if not trials:
        return None
    numbers = [trial.facts.number for trial in trials]
    if chosen not in numbers:
        running = (trial.facts.number for trial in trials if trial.state is State.RUNNING)
        return next(running, numbers[0 if by > 0 else -1])
    return numbers[min(len(numbers) - 1, max(0, numbers.index(chosen) + by))]
