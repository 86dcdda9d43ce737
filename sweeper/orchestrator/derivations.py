"""Derive trials from others: those that persons ask for, and repairs of trials that a diagnosis stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sweeper.errors import RecordError
from sweeper.orchestrator.search.proposals import Proposals
from sweeper.orchestrator.trials import Trials
from sweeper.record.checkpoints import newest_before, saved_checkpoints
from sweeper.record.derivation import REPAIR, START, Derivation
from sweeper.record.events import Event, NotRepaired
from sweeper.record.inheritance import with_inherited
from sweeper.record.reader import history
from sweeper.record.storage.inbox import NEWEST, DeriveTrial
from sweeper.record.trial import State, TrialRecord
from sweeper.results.lineage import ancestors_of, children_of, derivation_text
from sweeper.results.wording import plain
from sweeper.rules.conditions.spike import Spike
from sweeper.rules.repair import NoRepair, RepairSettings, repair, repairs

MOST_REWINDS = 3
"""How often a lineage goes back before a spike; then the spikes come from the training, and not from the data."""

SEED_STEP = 1_000_003
"""What is added to the seed of a trial that goes back, so that it is the seed of no other trial of a usual sweep."""


@dataclass(slots=True)
class Derivations:
    """Makes derived trials, and says so.

    Attributes:
        trials: the trials of the sweep.
        proposals: makes the trials.
        record: appends an event to the record of a trial.
        say: prints a message.
        settings: what the sweep allows a repair; None for no repairs.
    """

    trials: Trials
    proposals: Proposals
    record: Callable[[TrialRecord, Event], None]
    say: Callable[[str], None]
    settings: RepairSettings | None = None
    _may_have_failed: bool = True

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

    def attempts_ended(self, trials: Sequence[TrialRecord]) -> None:
        """Take in that attempts have ended: one of them may have been stopped by a diagnosis."""
        self._may_have_failed = self._may_have_failed or bool(trials)

    def repair(self, most: int) -> int:
        """Make repairs of at most so many trials that a diagnosis stopped; return how many were made.

        The others wait for a free slot: by then, more trials may have shown what they could learn from.
        """
        if not self._may_have_failed or most <= 0:
            return 0
        made = 0
        to_rewind, to_repair = self._waiting()
        for trial in to_rewind:
            if made == most:
                return made
            made += self._rewind(trial)
        for trial in to_repair:
            if made == most:
                return made
            made += self._repair(trial, self.settings) if self.settings is not None else False
        self._may_have_failed = False
        return made

    def awaited(self) -> frozenset[int]:
        """Return the numbers of the trials that are to be continued by a repair or a rewind, once a slot is free."""
        return frozenset(trial.facts.number for some in self._waiting() for trial in some)

    def _waiting(self) -> tuple[list[TrialRecord], list[TrialRecord]]:
        """Return the trials that are to be rewound, and those that are to be repaired."""
        stopped = [one for one in self.trials.in_state(State.PRUNED) if not one.altered]
        given_up = {one.facts.number for one in stopped if one.newest.not_repaired}
        to_rewind = [one for one in stopped if one.facts.number not in given_up and self._is_to_rewind(one)]
        to_repair = [one for one in repairs(self.trials.all, self.settings, given_up) if not one.altered]
        return to_rewind, to_repair

    def _is_to_rewind(self, trial: TrialRecord) -> bool:
        """Return whether a spike stopped the trial, and nothing was derived from it yet."""
        stop = trial.newest.stop
        if stop is None or stop.decision is None or stop.by_person or stop.decision.rule != Spike.name:
            return False
        return not children_of(trial, self.trials.all)

    def _rewind(self, trial: TrialRecord) -> bool:
        """Derive a trial that continues before the spike, with another order of the data."""
        known = {one.facts.number: one for one in self.trials.all}
        lineage = [trial.facts.derived, *(one.facts.derived for one in ancestors_of(trial, known))]
        times = sum(one is not None and one.diagnosis == Spike.name for one in lineage)
        decision = None if trial.newest.stop is None else trial.newest.stop.decision
        step = trial.step if decision is None else decision.step
        try:
            saved = newest_before(saved_checkpoints(trial.directory), step - 1)
        except RecordError:
            saved = None
        if times >= MOST_REWINDS or saved is None:
            many = f"it was rewound {times} times" if times >= MOST_REWINDS else ""
            reason = many or f"it has no checkpoint before the spike at step {step}"
            self.record(trial, NotRepaired(attempt=trial.newest.number, diagnosis=Spike.name, reason=reason))
            self.say(f"Trial {trial.facts.number:04d} is not rewound: {reason}")
            return False
        how = f"a spike at step {step}: goes back to step {saved.step}, with another order of the data"
        derived = Derivation(
            parent=trial.facts.number,
            step=saved.step,
            checkpoint=saved.file,
            by=REPAIR,
            reason=how,
            diagnosis=Spike.name,
        )
        self.derive(trial, derived, seed=(trial.facts.seed + SEED_STEP) % 2**32)
        return True

    def _repair(self, trial: TrialRecord, settings: RepairSettings) -> bool:
        attempts = [trial.directory.attempt(attempt.number) for attempt in trial.attempts]
        events = with_inherited(trial.facts, trial.directory, history(attempts))
        try:
            checkpoints = {one.step: one.file for one in saved_checkpoints(trial.directory)}
        except RecordError:
            checkpoints = {}  # then the repair begins at the start
        found = repair(trial, self.trials.all, settings, history=events, checkpoints=checkpoints)
        if isinstance(found, NoRepair):
            event = NotRepaired(attempt=trial.newest.number, diagnosis=found.diagnosis, reason=found.reason)
            self.record(trial, event)
            self.say(f"Trial {trial.facts.number:04d} is not repaired: {plain(found.reason)}")
            return False
        self.derive(trial, found)
        return True

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
        if step is not None and one.step < step:
            self.say(
                f"Trial {command.number:04d} has no checkpoint of step {step} any more: the derived trial continues "
                f"from step {one.step}. A larger checkpoint.keep_healthy keeps more of them"
            )
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
