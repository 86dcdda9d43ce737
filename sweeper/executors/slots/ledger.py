"""The slot ledger: what the running attempts of all of a user's sweeps take of this machine. Orchestrators share it.

1. A claim names an attempt and what it takes. It is valid as long as the attempt may run, which the attempt's own lease
   shows: shim and worker hold that. So a claim outlives its orchestrator, and no process has to return it (`is_live`).
2. The ledger is read and replaced under a lock. The kernel releases the lock of a process that dies, and such a process
   leaves the ledger as it was.
3. A sweep that gets no slot queues a request, which expires when the sweep stops polling. While another sweep has a
   request for the same resources and uses less of them, a sweep gets no more. Among sweeps that use nothing, the one
   that has waited longest comes first.
4. Claims that are no longer valid are removed when a new claim would otherwise not fit. The orchestrator removes the
   claim of an attempt that it knows to be dead at once: before a shim has claimed the attempt, no other process can
   tell that from an attempt that is about to start.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from sweeper.errors import Unwritable
from sweeper.executors.executor import CORES
from sweeper.record.storage.claim import make_claim, process_identity
from sweeper.record.storage.layout import AttemptDir
from sweeper.record.storage.lease import acquire, holder_of, is_held

DIRECTORY_VARIABLE = "SWEEPER_SLOTS"
"""The environment variable that names the directory of the ledger."""

REQUEST_EXPIRES_S = 2.0
"""A queued request expires if its sweep has not polled for this long."""

ROUNDING = 1e-6

_Entry = TypeVar("_Entry")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What an attempt takes of the machine.

    Attributes:
        run: The directory of the run.
        attempt: The directory of the attempt.
        needs: Under `CORES` a number of cores, under the identifier of a device a fraction of it.
        cpus: The processor cores on which the attempt may run.
        owner: The identity of the orchestrator that made the claim (`record.storage.claim.process_identity`).
    """

    run: str
    attempt: str
    needs: Mapping[str, float]
    cpus: Sequence[int] = ()
    owner: Mapping[str, object] = field(default_factory=dict)

    @property
    def directory(self) -> AttemptDir:
        """The directory of the attempt."""
        return AttemptDir(Path(self.attempt))


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedRequest:
    """A request of a run that got no slot.

    Attributes:
        run: The directory of the run.
        needs: The keys of all resources that the run could use.
        cpus: The processor cores on which its attempts may run.
        since: When the run first got no slot, in monotonic seconds.
        polled: When the run polled last, in monotonic seconds.
    """

    run: str
    needs: Sequence[str]
    cpus: Sequence[int] = ()
    since: float = 0.0
    polled: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerState:
    """The contents of the ledger at one moment."""

    claims: tuple[Claim, ...] = ()
    requests: tuple[QueuedRequest, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimResult:
    """Whether a claim was granted, and what is in its way otherwise.

    Attributes:
        granted: Whether it was granted.
        others: The claims of other attempts on the same devices and cores.
        first: The directory of the run with the first queued request; empty if there is none.
        locked_by: What has locked the ledger; empty if the ledger could be read.
    """

    granted: bool
    others: tuple[Claim, ...] = ()
    first: str = ""
    locked_by: str = ""


def shared_keys(claim: Claim | QueuedRequest, other: Claim | QueuedRequest) -> set[str]:
    """Return the resources that both need; cores count only if both may run on some of the same ones."""
    both = set(claim.needs) & set(other.needs)
    return both if set(claim.cpus) & set(other.cpus) else both - {CORES}


def fits(state: LedgerState, claim: Claim, cores: float) -> bool:
    """Return whether a claim fits beside the claims of other attempts, on a machine with `cores` cores."""
    rivals = [other for other in state.claims if other.attempt != claim.attempt]
    return all(
        sum(other.needs[key] for other in rivals if key in shared_keys(claim, other)) + amount
        <= (cores if key == CORES else 1.0) + ROUNDING
        for key, amount in claim.needs.items()
    )


def must_yield(state: LedgerState, claim: Claim, now: float) -> bool:
    """Return whether the request of another run comes before a claim (rule 3 of this module)."""
    return bool(run_before(state, claim, now))


def run_before(state: LedgerState, claim: Claim, now: float) -> str:
    """Return the directory of the run with a request that comes before a claim; empty if there is none.

    Args:
        state: The ledger.
        claim: The new claim.
        now: Monotonic seconds.
    """
    own = next((request for request in state.requests if request.run == claim.run), None)
    since = own.since if own is not None and _is_fresh(own, now) else now
    for request in state.requests:
        shared = shared_keys(claim, request)
        if request.run == claim.run or not shared or not _is_fresh(request, now):
            continue
        other_usage, own_usage = _usage(state, request.run, shared), _usage(state, claim.run, shared)
        if other_usage < own_usage or (other_usage == own_usage == 0 and request.since < since):
            return request.run
    return ""


def _is_fresh(request: QueuedRequest, now: float) -> bool:
    return 0 <= now - request.polled < REQUEST_EXPIRES_S


def _usage(state: LedgerState, run: str, keys: Iterable[str]) -> float:
    """Return how much of these resources a run has claimed in total."""
    wanted = set(keys)
    return sum(amount for c in state.claims if c.run == run for key, amount in c.needs.items() if key in wanted)


def is_live(claim: Claim) -> bool:
    """Return whether the attempt of a claim may still run.

    While an attempt was launched but its shim has not claimed it yet, the attempt counts as live if its orchestrator
    is. If the orchestrator is gone, this call fences the attempt off, so that a shim that starts late ends at once
    (`record.storage.claim`).
    """
    attempt = claim.directory
    if attempt.exit.exists():
        return False
    is_claimed = attempt.claim.exists()  # checked before the lease, because a shim takes the lease first
    if is_held(attempt.lease):
        return True
    if is_claimed:
        return False
    pid = claim.owner.get("pid")
    if isinstance(pid, int) and process_identity(pid) == claim.owner:
        return True
    try:
        return not make_claim(attempt, {})
    except Unwritable:  # the directory of the attempt is gone
        return False


class SlotLedger:
    """The ledger in a directory, as one run uses it."""

    def __init__(self, directory: Path, run: Path, *, cores: float, cpus: Sequence[int], wanted: Iterable[str]) -> None:
        """Use the ledger in a directory, which exists.

        Args:
            directory: The directory of the ledger.
            run: The directory of the run that makes claims.
            cores: The number of cores that this process may use.
            cpus: The cores among which these are.
            wanted: The keys of all resources that the run could use.
        """
        self._directory = directory
        self._run = str(run.absolute())
        self._cores = cores
        self._cpus = tuple(cpus)
        self._wanted = sorted(set(wanted))
        self._owner = process_identity(os.getpid())
        self._dead: set[str] = set()

    @property
    def run(self) -> str:
        """The directory of the run that makes claims."""
        return self._run

    def claim(self, attempt: AttemptDir, needs: Mapping[str, float], *, now: float, wait: bool = True) -> ClaimResult:
        """Claim what an attempt needs, or queue a request if that is not free.

        Args:
            attempt: The directory of the attempt.
            needs: What it needs, as in `Claim.needs`.
            now: Monotonic seconds.
            wait: Whether to grant the claim only if it fits and no other run comes first; if not, it is always granted.

        Raises:
            OSError: The ledger cannot be read or written.
        """
        path = str(attempt.path.absolute())
        claim = Claim(run=self._run, attempt=path, needs=dict(needs), cpus=self._cpus, owner=self._owner)
        with self._locked() as locked:
            if not locked:  # another process has the lock, for a moment only; the caller polls again
                return ClaimResult(granted=False, locked_by=holder_of(self._lock) or "another process")
            state = self._read()
            if wait and not self._may_claim(state, claim, now):
                # A recorded exit is found by one look-up, and that is nearly always enough; `is_live` costs more.
                state = replace(state, claims=tuple(c for c in state.claims if not c.directory.exit.exists()))
            if wait and not self._may_claim(state, claim, now):
                state = replace(state, claims=tuple(other for other in state.claims if is_live(other)))
                if not self._may_claim(state, claim, now):
                    requests = (*_without(state.requests, self._run), self._request(state, now))
                    self._write(replace(state, requests=requests))
                    first = run_before(state, claim, now)
                    return ClaimResult(granted=False, others=_others(state, claim), first=first)
            remaining = tuple(other for other in state.claims if other.attempt != path)
            self._write(LedgerState(claims=(*remaining, claim), requests=_without(state.requests, self._run)))
            return ClaimResult(granted=True, others=_others(state, claim))

    def release(self, attempt: AttemptDir) -> None:
        """Remove the claim of an attempt that is dead, whatever its record says about it.

        If the ledger cannot be written now, the claim is removed with the next change.
        """
        path = str(attempt.path.absolute())
        if path in self._dead:
            return
        self._dead.add(path)
        with contextlib.suppress(OSError), self._locked() as locked:
            if locked:
                self._write(self._read())

    def claims(self) -> tuple[Claim, ...]:
        """Return all claims, including invalid ones that were not removed yet."""
        return self._read().claims

    def close(self) -> None:
        """Remove invalid claims and the request of this run.

        Raises:
            OSError: The ledger cannot be read or written.
        """
        with self._locked() as locked:
            if locked:
                state = self._read()
                live = tuple(claim for claim in state.claims if is_live(claim))
                self._write(LedgerState(claims=live, requests=_without(state.requests, self._run)))

    def _request(self, state: LedgerState, now: float) -> QueuedRequest:
        own = next(
            (request for request in state.requests if request.run == self._run and _is_fresh(request, now)), None
        )
        since = now if own is None else own.since
        return QueuedRequest(run=self._run, needs=self._wanted, cpus=self._cpus, since=since, polled=now)

    def _may_claim(self, state: LedgerState, claim: Claim, now: float) -> bool:
        return fits(state, claim, self._cores) and not must_yield(state, claim, now)

    @property
    def _lock(self) -> Path:
        return self._directory / "lock"

    @contextlib.contextmanager
    def _locked(self) -> Iterator[bool]:
        lease = acquire(self._lock, holder=f"pid {os.getpid()}\n")
        try:
            yield lease is not None
        finally:
            if lease is not None:
                lease.release()

    def _read(self) -> LedgerState:
        try:
            state = _decoded(json.loads((self._directory / "ledger.json").read_bytes()))
        except (FileNotFoundError, ValueError, RecursionError):
            return LedgerState()
        return replace(state, claims=tuple(claim for claim in state.claims if claim.attempt not in self._dead))

    def _write(self, state: LedgerState) -> None:
        # Not synced to the disk: after a crash of the machine none of the claims is valid.
        temporary = self._directory / ".ledger.json.tmp"
        temporary.write_text(json.dumps(_encoded(state)))
        temporary.replace(self._directory / "ledger.json")


def _others(state: LedgerState, claim: Claim) -> tuple[Claim, ...]:
    return tuple(other for other in state.claims if other.attempt != claim.attempt and shared_keys(claim, other))


def _without(requests: Iterable[QueuedRequest], run: str) -> tuple[QueuedRequest, ...]:
    return tuple(request for request in requests if request.run != run)


# The keys "wishes" and "asked" are those of the first version: sweeps of several versions may share a ledger.


def _encoded(state: LedgerState) -> dict[str, object]:
    names = {"polled": "asked"}

    def fields(entry: Claim | QueuedRequest) -> dict[str, object]:
        return {names.get(name, name): getattr(entry, name) for name in entry.__dataclass_fields__}

    return {"claims": list(map(fields, state.claims)), "wishes": list(map(fields, state.requests))}


def _decoded(value: object) -> LedgerState:
    """Return what a file contains, without entries that this version does not understand."""
    return LedgerState(claims=_entries(value, "claims", _claim), requests=_entries(value, "wishes", _request))


def _entries(value: object, key: str, decode: Callable[[Mapping[str, Any]], _Entry]) -> tuple[_Entry, ...]:
    entries = value.get(key) if isinstance(value, dict) else None
    found: list[_Entry] = []
    for entry in entries if isinstance(entries, list) else ():
        with contextlib.suppress(AttributeError, KeyError, TypeError, ValueError):
            found.append(decode(entry))
    return tuple(found)


def _claim(entry: Mapping[str, Any]) -> Claim:
    int(Path(entry["attempt"]).name)  # raises ValueError unless this is the directory of an attempt
    needs = {str(key): float(amount) for key, amount in entry["needs"].items()}
    cpus = tuple(map(int, entry["cpus"]))
    return Claim(run=str(entry["run"]), attempt=entry["attempt"], needs=needs, cpus=cpus, owner=dict(entry["owner"]))


def _request(entry: Mapping[str, Any]) -> QueuedRequest:
    needs, cpus = tuple(map(str, entry["needs"])), tuple(map(int, entry["cpus"]))
    since, polled = float(entry["since"]), float(entry["asked"])
    return QueuedRequest(run=str(entry["run"]), needs=needs, cpus=cpus, since=since, polled=polled)


def ledger_directory(environment: Mapping[str, str]) -> Path:
    """Return the directory of this user's ledger on this machine; create it if necessary.

    It is not in $XDG_RUNTIME_DIR, which is set in a terminal but not in a cron job, and which is emptied at logout
    while sweeps continue.

    Args:
        environment: The environment of this process. `SWEEPER_SLOTS` names another directory.

    Raises:
        OSError: The directory cannot be created, or another user could write to it.
    """
    given = environment.get(DIRECTORY_VARIABLE)
    if given:
        path = Path(given)
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path
    return own_directory(Path("/tmp") / f"sweeper-{os.geteuid()}")  # noqa: S108 - checked there


def own_directory(path: Path) -> Path:
    """Return a directory in a place where every user may create one, after checking that no other user can write to it.

    Args:
        path: The directory; it is created if necessary, for this user alone.

    Raises:
        OSError: The directory cannot be created, is a link, or another user owns it or could write to it.
    """
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise PermissionError(None, "it is not this user's own directory", str(path))
    return path
