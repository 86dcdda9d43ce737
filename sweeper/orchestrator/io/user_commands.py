"""Read the commands that users send to a running sweep, from other terminals or by keys of the live table."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sweeper.errors import RecordError
from sweeper.orchestrator.trials import Trials
from sweeper.record.decision import PERSON, Decision
from sweeper.record.events import CommandGiven
from sweeper.record.storage import confined
from sweeper.record.storage.inbox import (
    AddConfiguration,
    Command,
    ForSweep,
    ForTrial,
    LaunchFirst,
    SweepCommand,
    TrialCommand,
    received,
)
from sweeper.record.storage.layout import SweepDir
from sweeper.record.storage.lease import holder_of
from sweeper.record.trial import TrialRecord


@dataclass(slots=True, kw_only=True)
class UserCommands:
    """The commands that were waiting. If there are several for one trial, or for the sweep, the last one counts.

    Attributes:
        by_trial: the command for each trial, by number.
        stops: the users' decisions to stop trials, by number.
        sweep: the command for the whole sweep; None if there is none.
        added: parameters of configurations to add.
        preferred: lists of trial numbers to launch first.
        given: all of them as events for the record, by the names of their files.
        files: the files to remove once all commands are carried out.
    """

    by_trial: dict[int, TrialCommand] = field(default_factory=dict)
    stops: dict[int, Decision] = field(default_factory=dict)
    sweep: SweepCommand | None = None
    added: list[Mapping[str, object]] = field(default_factory=list)
    preferred: list[Sequence[int]] = field(default_factory=list)
    given: dict[str, CommandGiven] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)

    @classmethod
    def receive(cls, run: SweepDir, trials: Trials, say: Callable[[str], None]) -> UserCommands:
        """Read the commands in the inbox of a run that this process orchestrates.

        Args:
            run: the run.
            trials: its trials.
            say: prints a message; what cannot be removed from the inbox is reported in each call.
        """
        commands = cls()
        try:
            waiting = list(received(run))
        except RecordError as error:
            say(f"Commands from other terminals cannot be read: {error}")
            return commands
        for path, command in waiting:
            commands.files.append(path)
            match command:
                case ForSweep(to=holder) if holder != holder_of(run.lease):
                    continue  # a command to an orchestrator that has ended is not meant for its successor
                case ForSweep(do=do):
                    commands.sweep = do
                case ForTrial(number=number) if number in trials:
                    commands._add(command, trials[number])
                case LaunchFirst(numbers=numbers) if all(number in trials for number in numbers):
                    commands.preferred.append(numbers)
                case AddConfiguration(params=params):
                    commands.added.append(params)
                case _:
                    say(f"Ignored unrecognised command file: {path.name}")
                    continue
            commands.given[path.name] = _as_event(command)
        return commands

    def remove_files(self) -> None:
        """Remove the files of the commands, which were carried out. A directory is no command, and stays."""
        for path in self.files:
            with contextlib.suppress(IsADirectoryError, PermissionError):  # unlink of a directory: EISDIR or EPERM
                confined.remove(path, root=path.parents[1])

    def _add(self, command: ForTrial, trial: TrialRecord) -> None:
        self.by_trial[command.number] = command.do
        self.stops.pop(command.number, None)
        if command.do is TrialCommand.STOP:
            self.stops[command.number] = _decision(command, trial)


def _as_event(command: Command) -> CommandGiven:
    """Return a command as an event for `log.jsonl`."""
    given = CommandGiven(do=str(command.do), by=command.by, because=command.because)
    match command:
        case ForTrial(number=number):
            return replace(given, trials=(number,))
        case LaunchFirst(numbers=numbers):
            return replace(given, trials=numbers)
        case AddConfiguration(params=params):
            return replace(given, params=params)
    return given


def _decision(command: ForTrial, trial: TrialRecord) -> Decision:
    value = {} if trial.value is None else {"value": trial.value}
    reason = command.because or "it was asked for"
    return Decision(rule=PERSON, step=trial.step, reason=reason, evidence={"by": command.by or "?", **value})
