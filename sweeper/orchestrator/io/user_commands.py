"""What persons asked for from other terminals, or by a key: the commands of `record.inbox`, understood."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweeper.orchestrator.trials import Trials
from sweeper.record.events import PERSON
from sweeper.record.storage import inbox
from sweeper.record.storage.layout import SweepDir
from sweeper.record.storage.lease import holder_of
from sweeper.record.trial import Trial
from sweeper.rules.decision import Decision

STOP, PAUSE, RESUME, REVIVE = "stop", "pause", "resume", "revive"


@dataclass(slots=True, kw_only=True)
class Orders:
    """The commands that wait. Of several to one trial, or to the sweep, the last counts.

    `words` says by number what is to become of a trial, `reasons` why, where a person ends it; `sweep` is what is to
    become of all; `added` are configurations, `preferred` the numbers that are to be started first. `files` are to be
    removed once all of it is done.
    """

    words: dict[int, str] = field(default_factory=dict)
    reasons: dict[int, Mapping[str, object]] = field(default_factory=dict)
    sweep: str = ""
    added: list[Mapping[str, object]] = field(default_factory=list)
    preferred: list[Sequence[int]] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)

    @classmethod
    def waiting(cls, run: SweepDir, trials: Trials, say: Callable[[str], None]) -> Orders:
        """The commands that were left for the orchestrator of a run, who calls this."""
        orders = cls()
        for path, command in inbox.received(run):
            orders.files.append(path)
            match command:
                case {"do": "stop" | "pause" | "resume" as word, "to": str(holder)}:
                    # One to an orchestrator that is gone is not for the next.
                    orders.sweep = word if holder == holder_of(run.lease) else orders.sweep
                case {"do": "stop" | "pause" | "resume" | "revive" as word, "number": int(number)} if number in trials:
                    orders.words[number] = word
                    orders.reasons[number] = command
                case {"do": "first", "numbers": list(numbers)} if _are_all(numbers, trials):
                    orders.preferred.append(numbers)
                case {"do": "add", "params": dict(params)}:
                    orders.added.append(params)
                case _:
                    say(f"a command that is none was passed over: {path.name}")
        return orders

    def of(self, word: str) -> list[int]:
        """The trials that a word is said of."""
        return [number for number, said in self.words.items() if said == word]

    def decision(self, trial: Trial) -> Decision:
        """A person's, by which a trial is ended."""
        asked: Mapping[str, Any] = self.reasons[trial.facts.number]
        reason, step = str(asked.get("because") or "it was asked for"), trial.progress.step
        value = {} if trial.value is None else {"value": trial.value}
        return Decision(rule=PERSON, step=step, reason=reason, evidence={"by": str(asked.get("by", "?")), **value})

    def done(self) -> None:
        """Remove the commands, which are carried out."""
        for path in self.files:
            path.unlink(missing_ok=True)


def _are_all(numbers: Sequence[object], trials: Trials) -> bool:
    return all(isinstance(number, int) and number in trials for number in numbers)
