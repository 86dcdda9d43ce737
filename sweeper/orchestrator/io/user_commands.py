"""Read the commands that users send to a running sweep, from other terminals or by keys of the live table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweeper.orchestrator.trials import Trials
from sweeper.record.decision import PERSON, Decision
from sweeper.record.storage import inbox
from sweeper.record.storage.layout import SweepDir
from sweeper.record.storage.lease import holder_of
from sweeper.record.trial import TrialRecord

STOP, PAUSE, RESUME, REVIVE = "stop", "pause", "resume", "revive"


@dataclass(slots=True, kw_only=True)
class UserCommands:
    """The commands that were waiting. If there are several for one trial, or for the sweep, the last one counts.

    Attributes:
        by_trial: the command for each trial, by number.
        sweep: the word of the command for the whole sweep; empty if there is none.
        added: parameters of configurations to add.
        preferred: lists of trial numbers to launch first.
        files: the files to remove once all commands are carried out.
    """

    by_trial: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    sweep: str = ""
    added: list[Mapping[str, object]] = field(default_factory=list)
    preferred: list[Sequence[int]] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)

    @classmethod
    def receive(cls, run: SweepDir, trials: Trials, say: Callable[[str], None]) -> UserCommands:
        """Read the commands in the inbox of a run that this process orchestrates."""
        commands = cls()
        for path, command in inbox.received(run):
            commands.files.append(path)
            match command:
                case {"do": "stop" | "pause" | "resume" as word, "to": str(holder)}:
                    # A command to an orchestrator that has ended is not meant for its successor.
                    commands.sweep = word if holder == holder_of(run.lease) else commands.sweep
                case {"do": "stop" | "pause" | "resume" | "revive", "number": int(number)} if number in trials:
                    commands.by_trial[number] = command
                case {"do": "first", "numbers": list(numbers)} if _are_all(numbers, trials):
                    commands.preferred.append(numbers)
                case {"do": "add", "params": dict(params)}:
                    commands.added.append(params)
                case _:
                    say(f"Ignored unrecognised command file: {path.name}")
        return commands

    def trials_to(self, word: str) -> list[int]:
        """Return the numbers of the trials that have this word as their command."""
        return [number for number, command in self.by_trial.items() if command["do"] == word]

    def stops(self, trials: Trials) -> dict[int, Decision]:
        """Return the users' decisions to stop trials, by trial number."""
        return {number: _decision(self.by_trial[number], trials[number]) for number in self.trials_to(STOP)}

    def remove_files(self) -> None:
        """Remove the files of the commands, which were carried out."""
        for path in self.files:
            path.unlink(missing_ok=True)


def _decision(command: Mapping[str, Any], trial: TrialRecord) -> Decision:
    evidence = {"by": str(command.get("by", "?"))} | ({} if trial.value is None else {"value": trial.value})
    reason = str(command.get("because") or "it was asked for")
    return Decision(rule=PERSON, step=trial.progress.step, reason=reason, evidence=evidence)


def _are_all(numbers: Sequence[object], trials: Trials) -> bool:
    return all(isinstance(number, int) and number in trials for number in numbers)
