"""Reservation of slots: a slot is free if its claim fits in the ledger and no other process uses its devices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path

from sweeper.executors.executor import Slot
from sweeper.executors.gpus.nvml import Nvml
from sweeper.executors.gpus.occupancy import OtherProcess, other_processes, usage_of
from sweeper.executors.slots.ledger import Claim, ClaimResult, SlotLedger, is_live
from sweeper.record.storage.layout import AttemptDir

CHECK_EVERY_S = 1.0
"""Pause before a device that was in use is checked again."""

REPORT_AFTER_S = 2.0
"""Waiting for a slot of another sweep is reported after this time only, because slots are often free a moment later."""

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

    def reserve(self, attempt: AttemptDir, slot: Slot) -> bool:
        """Reserve a slot for an attempt, until that ends; return False if the slot is not free."""
        if not slot.needs:
            return True
        now, waits = self.clock(), slot.waits and not self.share
        if waits and (self._is_drained(attempt, slot, now) or not self._are_devices_free(slot, now)):
            return False
        if not waits:
            self._note_shared_use(slot)
        result = self._claim(attempt, slot, now, wait=waits)
        if result.granted:
            self._refused_since = None
        else:
            self._on_refusal(attempt, slot, result, now)
        return result.granted

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
        others = sorted({claim.run for claim in result.others if claim.run != own})
        self._refused_since = now if self._refused_since is None else self._refused_since
        if others and now - self._refused_since >= REPORT_AFTER_S:
            self._note(f"trials wait for slots that are in use by other sweeps on this machine: {', '.join(others)}")
        is_whole = bool(slot.devices) and slot.exclusive == slot
        is_own = any(claim.run == own and set(claim.needs) & set(slot.devices) for claim in result.others)
        drain = self._drain
        can_drain = drain is None or drain.attempt == attempt.path or now - drain.asked_at > DRAIN_S
        if is_whole and is_own and can_drain:
            self._drain = _Drain(devices=frozenset(slot.devices), attempt=attempt.path, asked_at=now)

    def _is_drained(self, attempt: AttemptDir, slot: Slot, now: float) -> bool:
        """Return whether the slot is on a device that is drained for another attempt."""
        drain = self._drain
        if drain is None or drain.attempt == attempt.path:
            return False
        return now - drain.asked_at <= DRAIN_S and bool(drain.devices & set(slot.devices))

    def _are_devices_free(self, slot: Slot, now: float) -> bool:
        """Return whether no process without a claim uses the devices of the slot."""
        return all(self._is_device_free(device, slot, now) for device in slot.devices)

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


def unshared(error: OSError) -> str:
    """Describe for users why the ledger cannot be used."""
    return f"slots are not shared with other sweeps on this machine: {error.filename}: {error.strerror}"


def _described(processes: Sequence[OtherProcess]) -> str:
    return "; ".join(process.text() for process in processes)
