"""What the keys of the live table do: which trial is chosen, what is shown of it, what is asked for; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sweeper.record.fold import State
from sweeper.record.trial import Trial
from sweeper.results.snapshot import SweepView

WHY, OUTPUT = "why", "output"

Command = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """`chosen` is a trial's number, `pane` what of it stands in place of the table, from line `top` on.

    `ending` says that it is asked whether the chosen trial is to be ended.
    """

    chosen: int | None = None
    pane: str = ""
    top: int = 0
    ending: bool = False

    def pressed(self, key: str, sweep: SweepView, page: int) -> tuple[Screen, Command | None]:
        """The screen after a key, and the command that it gives; `page` is how many lines a page has."""
        trial = _of(sweep.trials, self.chosen)
        if self.ending:
            done = replace(self, ending=False)
            return done, {"do": "stop", "number": self.chosen} if key == "y" and trial is not None else None
        if key == "escape":
            return (replace(self, pane="", top=0) if self.pane else replace(self, chosen=None)), None
        if key in ("up", "down", "page up", "page down"):
            by = (1 if "down" in key else -1) * (max(1, page - 1) if "page" in key else 1)
            if self.pane == WHY:
                return replace(self, top=max(0, self.top + by)), None
            return replace(self, chosen=_moved(sweep.trials, self.chosen, by)), None
        return (self, None) if trial is None else self._to_trial(key, trial)

    def _to_trial(self, key: str, trial: Trial) -> tuple[Screen, Command | None]:
        number = trial.facts.number
        match key:
            case "enter" | "w":
                return replace(self, pane=WHY, top=0), None
            case "o":
                return replace(self, pane=OUTPUT, top=0), None
            case "x" if not trial.state.ended:
                return replace(self, ending=True), None
            case "p" if not trial.state.ended:
                return self, {"do": "resume" if trial.control.held else "pause", "number": number}
            case "s" if trial.state not in (State.COMPLETE, State.FAIL):
                return self, {"do": "revive", "number": number}
        return self, None

    @property
    def help(self) -> str:
        """One line on what the keys do now."""
        if self.ending:
            return f"end trial {self.chosen:04d} for good? y: yes, any other key: no"
        if self.chosen is None:
            return "keys: up/down choose a trial"
        moves = {"": "up/down", WHY: "up/down scroll", OUTPUT: "up/down others"}[self.pane]
        return f"keys: {moves}  enter why  o output  x stop  p pause  s spare  esc back"


def _of(trials: Sequence[Trial], number: int | None) -> Trial | None:
    return next((trial for trial in trials if trial.facts.number == number), None)


def _moved(trials: Sequence[Trial], chosen: int | None, by: int) -> int | None:
    """The number of the trial so many lines further; at first that of the first that runs, or else of any."""
    if not trials:
        return None
    numbers = [trial.facts.number for trial in trials]
    if chosen not in numbers:
        running = (trial.facts.number for trial in trials if trial.state is State.RUNNING)
        return next(running, numbers[0 if by > 0 else -1])
    return numbers[min(len(numbers) - 1, max(0, numbers.index(chosen) + by))]
