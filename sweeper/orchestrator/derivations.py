"""Derive trials from others: from which checkpoint they continue, and that each is derived once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sweeper.errors import RecordError
from sweeper.orchestrator.search.proposals import Proposals
from sweeper.orchestrator.trials import Trials
from sweeper.record.checkpoints import newest_before, saved_checkpoints
from sweeper.record.derivation import START, Derivation
from sweeper.record.storage.inbox import NEWEST, DeriveTrial
from sweeper.record.trial import TrialRecord
from sweeper.results.lineage import children_of, derivation_text
from sweeper.results.wording import plain


@dataclass(frozen=True, slots=True)
class Derivations:
    """Makes derived trials, and says so."""

    trials: Trials
    proposals: Proposals
    say: Callable[[str], None]

    def derive_asked(self, commands: Iterable[DeriveTrial]) -> None:
        """Make the trials that persons asked for; an earlier orchestrator may have made them already."""
        for command in commands:
            parent = self.trials[command.number]
            if self._is_done(parent, command):
                continue
            if unknown := [name for name in command.changes if name not in parent.facts.params]:
                self.say(f"No trial is derived from {command.number:04d}, which has no parameter {plain(unknown[0])}")
                continue
            derived = self._derivation(parent, command)
            if derived is None:
                continue
            if (same := self._equal_child(parent, derived.after(parent.facts.derived))) is not None:
                self.say(f"Nothing is derived, because trial {same.facts.number:04d} is {derivation_text(derived)}")
                continue
            self.derive(parent, derived)

    def derive(self, parent: TrialRecord, derived: Derivation, *, seed: int | None = None) -> TrialRecord:
        """Make a trial, and add it to the sweep."""
        derived = derived.after(parent.facts.derived)
        made = self.proposals.derive(parent, derived, seed=seed)
        self.trials.add(made)
        (trial,) = made
        taken = trial.facts.derived or derived
        gone = "" if taken.step == derived.step else ". The checkpoint is gone, so it begins at the start"
        self.say(f"Trial {trial.facts.number:04d} is {derivation_text(taken)}{gone}")
        return trial

    def _derivation(self, parent: TrialRecord, command: DeriveTrial) -> Derivation | None:
        given = {
            "parent": command.number,
            "changes": command.changes,
            "by": command.by,
            "reason": command.because,
            "request": command.request,
        }
        if command.at == START:
            return Derivation(**given)  # type: ignore[arg-type]  # of these types
        step = None if command.at == NEWEST else command.at
        try:
            saved = saved_checkpoints(parent.directory)
        except RecordError as error:
            self.say(f"No trial is derived from {command.number:04d}: {error}")
            return None
        one = newest_before(saved, step)
        if one is None:
            where = "" if step is None else f" up to step {step}"
            kept = ", ".join(str(checkpoint.step) for checkpoint in saved) or "none"
            self.say(f"No trial is derived from {command.number:04d}: it has no checkpoint{where} (there are: {kept})")
            return None
        return Derivation(
            **given,  # type: ignore[arg-type]  # of these types
            step=one.step,
            checkpoint=one.file,
            lr_factor=command.lr_factor,
            fresh_optimizer=command.fresh_optimizer,
        )

    def _is_done(self, parent: TrialRecord, command: DeriveTrial) -> bool:
        """Return whether an orchestrator that was killed has made the trial, and not removed the command any more."""
        made = (child.facts.derived for child in children_of(parent, self.trials.all))
        return bool(command.request) and any(one is not None and one.request == command.request for one in made)

    def _equal_child(self, parent: TrialRecord, derived: Derivation) -> TrialRecord | None:
        for child in children_of(parent, self.trials.all):
            if child.facts.derived == derived:
                return child
        return None
