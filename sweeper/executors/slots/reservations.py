"""Reservation of slots: a slot is free if its claim fits in the ledger and no other process uses its devices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path

from sweeper.executors.executor import Blocker, Slot
from sweeper.executors.gpus.nvml import Nvml
from sweeper.executors.gpus.occupancy import OtherProcess, other_processes, usage_of
from sweeper.executors.slots.ledger import Claim, ClaimResult, SlotLedger, is_live
from sweeper.record.storage.layout import AttemptDir

CHECK_EVERY_S = 1.0
"""Pause before a device that was in use is checked again."""

REPORT_AFTER_S = 2.0
"""Waiting for a slot of another sweep is reported after this time only, because slots are often free a moment later."""

FORGET_S = 30.0
"""A refusal counts as long as the slot is asked for again within this time."""

DRAIN_S = 2.0
"""A drain ends if the attempt that asked for it has not asked again for this long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Occupation:
    """Other processes on a device: their pids, a description for users, and when they were seen."""

    pids: AbstractSet[int | None]
    text: str
    seen_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drain:
    """Devices on which nothing more starts, so that one attempt gets them as a whole."""

    devices: frozenset[str]
    attempt: Path
    asked_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refusal:
    """Why a slot was refused, and when."""

    blockers: tuple[Blocker, ...]
    at: float


@dataclass(slots=True)
class Reservations:
    """Reserves slots for the attempts of a run.

    An attempt that needs a whole device may find it used by attempts of its own run. It would never get the device if
    each fraction that becomes free were used again, so nothing else starts on that device while the attempt asks.

    Attributes:
        ledger: The ledger; None if slots are not shared with other sweeps.
        nvml: Access to the management library; None if devices are not checked for other processes.
        clock: Returns monotonic seconds.
        share: Whether slots are used even if other sweeps or processes use the same resources.
        notes: Messages for the user, each once.
    """

    ledger: SlotLedger | None
    nvml: Nvml | None
    clock: Callable[[], float]
    share: bool = False
    notes: list[str] = field(default_factory=list)
    _occupied: dict[str, _Occupation] = field(default_factory=dict)
    _refused_since: float | None = None
    _drain: _Drain | None = None
    _refusals: dict[str, _Refusal] = field(default_factory=dict)
    _reported: set[str] = field(default_factory=set)
    """Other sweeps that a note has named. A note is made when one is added, and not when one ends."""

    def reserve(self, attempt: AttemptDir, slot: Slot) -> bool:
        """Reserve a slot for an attempt, until that ends; return False if the slot is not free."""
        if not slot.needs:
            return True
        now, waits = self.clock(), slot.waits and not self.share
        if waits and (blocker := self._blocker_of_devices(attempt, slot, now)) is not None:
            self._refusals[slot.name] = _Refusal(blockers=(blocker,), at=now)
            return False
        if not waits:
            self._note_shared_use(slot)
        result = self._claim(attempt, slot, now, wait=waits)
        if result.granted:
            self._refused_since = None
            self._refusals.pop(slot.name, None)
        else:
            self._on_refusal(attempt, slot, result, now)
        return result.granted

    def waits_for(self) -> Sequence[Blocker]:
        """Return what is in the way of the slots that were refused and are still asked for, each once."""
        oldest = self.clock() - FORGET_S
        self._refusals = {name: one for name, one in self._refusals.items() if one.at >= oldest}
        return list(dict.fromkeys(blocker for one in self._refusals.values() for blocker in one.blockers))

    def release(self, attempt: AttemptDir) -> None:
        """Release the slot of an attempt that is dead."""
        if self.ledger is not None:
            self.ledger.release(attempt)

    def close(self) -> None:
        """Withdraw what this run waits for. Running attempts keep their slots."""
        if self.ledger is not None:
            try:
                self.ledger.close()
            except OSError as error:
                self._note(unshared(error))

    def _claim(self, attempt: AttemptDir, slot: Slot, now: float, *, wait: bool) -> ClaimResult:
        if self.ledger is None:
            return ClaimResult(granted=True)
        try:
            return self.ledger.claim(attempt, slot.needs, now=now, wait=wait)
        except OSError as error:
            self._note(unshared(error))
            return ClaimResult(granted=True)

    def _on_refusal(self, attempt: AttemptDir, slot: Slot, result: ClaimResult, now: float) -> None:
        """Report other sweeps that have the slot, and drain a device that this run uses in fractions."""
        own = self.ledger.run if self.ledger is not None else ""
        self._refusals[slot.name] = _Refusal(blockers=tuple(_blockers(result, own)), at=now)
        others = sorted({claim.run for claim in result.others if claim.run != own})
        self._refused_since = now if self._refused_since is None else self._refused_since
        if set(others) - self._reported and now - self._refused_since >= REPORT_AFTER_S:
            self._reported.update(others)
            self._note(f"trials wait for slots that are in use by other sweeps on this machine: {', '.join(others)}")
        is_whole = bool(slot.devices) and slot.exclusive == slot
        is_own = any(claim.run == own and set(claim.needs) & set(slot.devices) for claim in result.others)
        drain = self._drain
        can_drain = drain is None or drain.attempt == attempt.path or now - drain.asked_at > DRAIN_S
        if is_whole and is_own and can_drain:
            self._drain = _Drain(devices=frozenset(slot.devices), attempt=attempt.path, asked_at=now)

    def _blocker_of_devices(self, attempt: AttemptDir, slot: Slot, now: float) -> Blocker | None:
        """Return why the devices of the slot cannot be used, whatever the ledger has; None if they can."""
        if (drain := self._drain_of(attempt, slot, now)) is not None:
            draining = f"trial {drain.attempt.parent.parent.name}, which needs the whole device"
            return Blocker(text=f"{slot.name} is kept free for {draining}")
        for device in slot.devices:
            if not self._is_device_free(device, slot, now):
                used = f"is in use by other processes: {self._occupied[device].text}"
                return Blocker(text=f"{slot.name.partition(' #')[0]} {used}")
        return None

    def _drain_of(self, attempt: AttemptDir, slot: Slot, now: float) -> _Drain | None:
        """Return the drain of one of the slot's devices for another attempt."""
        drain = self._drain
        if drain is None or drain.attempt == attempt.path or now - drain.asked_at > DRAIN_S:
            return None
        return drain if drain.devices & set(slot.devices) else None

    def _is_device_free(self, device: str, slot: Slot, now: float) -> bool:
        before = self._occupied.get(device)
        if before is not None and now - before.seen_at < CHECK_EVERY_S:
            return False
        found, name = self._other_processes(device), slot.name.partition(" #")[0]
        if not found:
            if self._occupied.pop(device, None) is not None and before is not None:
                self._note(f"{name} is free again: {before.text} is gone")
            return True
        occupation = _Occupation(pids={process.pid for process in found}, text=_described(found), seen_at=now)
        if before is None or before.pids != occupation.pids:
            self._note(f"{name} is in use by other processes, so trials wait until they are gone: {occupation.text}")
        self._occupied[device] = occupation
        return False

    def _note_shared_use(self, slot: Slot) -> None:
        for device in slot.devices:
            found = self._other_processes(device)
            before = self._occupied.get(device)
            pids = {process.pid for process in found}
            if found and (before is None or before.pids != pids):
                self._note(f"{slot.name} is used although other processes use it: {_described(found)}")
            self._occupied[device] = _Occupation(pids=pids, text="", seen_at=0.0)

    def _other_processes(self, device: str) -> list[OtherProcess]:
        if self.nvml is None:
            return []
        usage = usage_of(device, self.nvml)
        # The ledger is read after the processes, so that every attempt with a listed process has its claim in it.
        attempts = [claim.directory for claim in self._claims() if device in claim.needs and is_live(claim)]
        found = other_processes(usage, attempts)
        # A process that was about to end is missing from a second list; one that has just started was not in the first.
        still = {process.pid for process in other_processes(usage_of(device, self.nvml), attempts)} if found else set()
        return [process for process in found if process.pid in still]

    def _claims(self) -> tuple[Claim, ...]:
        try:
            return () if self.ledger is None else self.ledger.claims()
        except OSError:
            return ()

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def _blockers(result: ClaimResult, own: str) -> Iterator[Blocker]:
    """Yield what is in the way of a claim of the run `own`: its own attempts only if nothing else is."""
    others = sorted({claim.run for claim in result.others if claim.run != own})
    if result.locked_by:
        yield Blocker(text=f"the slot ledger is locked by {result.locked_by.strip()}")
    for run in others:
        yield Blocker(text=f"the sweep {run} uses the slots", sweep=run)
    if result.first and result.first not in others:
        yield Blocker(text=f"the sweep {result.first} comes first", sweep=result.first)
    if not (others or result.first):
        for claim in result.others:
            trial, number = claim.directory.trial.path.name, claim.directory.number
            yield Blocker(text=f"attempt {number} of trial {trial} of this sweep still has the slot")


def unshared(error: OSError) -> str:
    """Describe for users why the ledger cannot be used."""
    return f"slots are not shared with other sweeps on this machine: {error.filename}: {error.strerror}"


def _described(processes: Sequence[OtherProcess]) -> str:
    return "; ".join(process.text() for process in processes)
