"""Whether a slot is to be had now: the ledger has room, and nobody else is on its devices. Says what is waited for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path

from sweeper.executors.executor import Slot
from sweeper.executors.gpus.nvml import Nvml
from sweeper.executors.gpus.occupancy import Stranger, look, strangers
from sweeper.executors.slots.ledger import Answer, Claim, Ledger, is_live
from sweeper.record.storage.layout import AttemptDir

LOOK_AGAIN_S = 1.0
"""A device that is not free is looked at again so much later."""

SAID_AFTER_S = 2.0
"""A slot that another sweep has is often free a moment later."""

DRAIN_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Company:
    """Who was seen on a device, and when."""

    pids: AbstractSet[int | None]
    who: str
    at: float


@dataclass(slots=True)
class Reservations:
    """Reserves slots for the attempts of a run; `share` uses them whoever else is there. `notes` are for people.

    An attempt that needs a device to itself, beside attempts of its own run, would never get it while every part that
    falls free is taken again: so nothing else is given of that device while it asks.
    """

    ledger: Ledger | None
    nvml: Nvml | None
    clock: Callable[[], float]
    share: bool = False
    notes: list[str] = field(default_factory=list)
    _occupied: dict[str, _Company] = field(default_factory=dict)
    _refused: float | None = None
    _drained: tuple[frozenset[str], Path, float] | None = None

    def reserve(self, attempt: AttemptDir, slot: Slot) -> bool:
        """Whether the slot is the attempt's from now on."""
        if not slot.needs:
            return True
        now, waits = self.clock(), slot.waits and not self.share
        if waits and (self._is_drained(attempt, slot, now) or not self._are_free(slot, now)):
            return False
        if not waits:
            self._tell_company(slot)
        answer = self._take(attempt, slot, now, wait=waits)
        if answer.granted:
            self._refused = None
        else:
            self._on_refusal(attempt, slot, answer, now)
        return answer.granted

    def close(self) -> None:
        """Nothing is reserved any more; what runs keeps what it has."""
        if self.ledger is not None:
            try:
                self.ledger.close()
            except OSError as error:
                self._note_unshared(error)

    def _take(self, attempt: AttemptDir, slot: Slot, now: float, *, wait: bool) -> Answer:
        if self.ledger is None:
            return Answer(granted=True)
        try:
            return self.ledger.take(attempt, slot.needs, now=now, wait=wait)
        except OSError as error:
            self._note_unshared(error)
            return Answer(granted=True)

    def _on_refusal(self, attempt: AttemptDir, slot: Slot, answer: Answer, now: float) -> None:
        own = self.ledger.run if self.ledger is not None else ""
        others = sorted({claim.run for claim in answer.others if claim.run != own})
        self._refused = now if self._refused is None else self._refused
        if others and now - self._refused >= SAID_AFTER_S:
            self._note(f"trials wait for slots that other sweeps on this machine have: {', '.join(others)}")
        beside = any(claim.run == own and set(claim.needs) & set(slot.devices) for claim in answer.others)
        whole = bool(slot.devices) and slot.alone == slot
        free_to_drain = self._drained is None or self._drained[1] == attempt.path or now - self._drained[2] > DRAIN_S
        if whole and beside and free_to_drain:
            self._drained = frozenset(slot.devices), attempt.path, now

    def _is_drained(self, attempt: AttemptDir, slot: Slot, now: float) -> bool:
        if self._drained is None or self._drained[1] == attempt.path:
            return False
        devices, _, asked = self._drained
        return now - asked <= DRAIN_S and bool(devices & set(slot.devices))

    def _are_free(self, slot: Slot, now: float) -> bool:
        """Whether nobody is on the slot's devices who has no claim to them."""
        return all(self._is_free(device, slot, now) for device in slot.devices)

    def _is_free(self, device: str, slot: Slot, now: float) -> bool:
        before = self._occupied.get(device)
        if before is not None and now - before.at < LOOK_AGAIN_S:
            return False
        there, place = self._strangers(device), slot.name.partition(" #")[0]
        if not there:
            if self._occupied.pop(device, None) is not None and before is not None:
                self._note(f"{place} is free again: gone is {before.who}")
            return True
        now_there = _Company(pids={stranger.pid for stranger in there}, who=_told(there), at=now)
        if before is None or before.pids != now_there.pids:
            self._note(f"{place} is left alone while others are on it, and used when they are gone: {now_there.who}")
        self._occupied[device] = now_there
        return False

    def _tell_company(self, slot: Slot) -> None:
        for device in slot.devices:
            there = self._strangers(device)
            before = self._occupied.get(device)
            pids = {stranger.pid for stranger in there}
            if there and (before is None or before.pids != pids):
                self._note(f"{slot.name} is used though others are on it: {_told(there)}")
            self._occupied[device] = _Company(pids=pids, who="", at=0.0)

    def _strangers(self, device: str) -> list[Stranger]:
        if self.nvml is None:
            return []
        seen = look(device, self.nvml)
        # The ledger is read after that: whose process is seen had made its claim before.
        attempts = [claim.directory for claim in self._claims() if device in claim.needs and is_live(claim)]
        there = strangers(seen, attempts)
        # Whoever was about to end is gone when looked at again; whoever has come since is none that was seen.
        still = {stranger.pid for stranger in strangers(look(device, self.nvml), attempts)} if there else set()
        return [stranger for stranger in there if stranger.pid in still]

    def _claims(self) -> tuple[Claim, ...]:
        try:
            return () if self.ledger is None else self.ledger.claims()
        except OSError:
            return ()

    def _note_unshared(self, error: OSError) -> None:
        self._note(f"slots are not shared with other sweeps on this machine: {error.filename}: {error.strerror}")

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def _told(there: Sequence[Stranger]) -> str:
    return "; ".join(stranger.text() for stranger in there)
