"""What the trials of this user's sweeps take of this machine: one ledger, which all orchestrators of the user share.

1. A claim names an attempt, and what that takes. It holds as long as the attempt may run, by the attempt's own lease,
   which shim and worker hold: so it outlives the orchestrator, and nobody has to give it back (`is_live`).
2. The ledger is read and replaced under a lock that ends with its holder; who dies in between leaves it as it was.
3. Who finds no room leaves a wish for as long as it asks. Where others wish for the same, a sweep takes no more while
   one of them has less; of those that have nothing, who has waited longest comes first.
4. Claims that no longer hold are struck out when there is no room otherwise.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sweeper.errors import Unwritable
from sweeper.executors.executor import CORES
from sweeper.record.storage.claim import process_identity, stake
from sweeper.record.storage.layout import AttemptDir
from sweeper.record.storage.lease import acquire, is_held

PLACE = "SWEEPER_SLOTS"
"""In the environment: the directory of the ledger."""

WISH_S = 2.0
"""Whoever has not asked for so long wishes for nothing."""

ROUNDING = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What an attempt of a run takes: of `CORES` a number, out of those in `cpus`; of each device a part."""

    run: str
    attempt: str
    needs: Mapping[str, float]
    cpus: Sequence[int] = ()
    owner: Mapping[str, object] = field(default_factory=dict)

    @property
    def directory(self) -> AttemptDir:
        """The attempt."""
        return AttemptDir(Path(self.attempt))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a run could use, `since` when it has found no room, and when it asked last; monotonic seconds."""

    run: str
    needs: Sequence[str]
    cpus: Sequence[int] = ()
    since: float = 0.0
    asked: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """The ledger at one moment."""

    claims: tuple[Claim, ...] = ()
    wishes: tuple[Wish, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Whether a claim was granted, and whose claims are on the same devices and cores."""

    granted: bool
    others: tuple[Claim, ...] = ()


def common(claim: Claim | Wish, other: Claim | Wish) -> set[str]:
    """What two of them both need; cores only where they may be the same ones."""
    both = set(claim.needs) & set(other.needs)
    return both if set(claim.cpus) & set(other.cpus) else both - {CORES}


def fits(book: Book, claim: Claim, cores: float) -> bool:
    """Whether there is room beside the other claims, on a machine with so many cores."""
    rivals = [other for other in book.claims if other.attempt != claim.attempt]
    return all(
        sum(other.needs[key] for other in rivals if key in common(claim, other)) + amount
        <= (cores if key == CORES else 1.0) + ROUNDING
        for key, amount in claim.needs.items()
    )


def comes_later(book: Book, claim: Claim, now: float) -> bool:
    """Whether another run comes first, by the third rule."""
    own = next((wish for wish in book.wishes if wish.run == claim.run), None)
    since = own.since if own is not None and _is_fresh(own, now) else now
    return any(
        (_held(book, wish.run, shared), wish.since)
        < (held := _held(book, claim.run, shared), since if not held else -1)
        for wish in book.wishes
        if wish.run != claim.run and _is_fresh(wish, now) and (shared := common(claim, wish))
    )


def _is_fresh(wish: Wish, now: float) -> bool:
    return 0 <= now - wish.asked < WISH_S


def _held(book: Book, run: str, keys: Iterable[str]) -> float:
    """How much of these a run has."""
    wanted = set(keys)
    return sum(amount for c in book.claims if c.run == run for key, amount in c.needs.items() if key in wanted)


def is_live(claim: Claim) -> bool:
    """Whether the attempt of a claim may still run.

    One that was launched and not yet claimed by its shim is its orchestrator's as long as that lives; after that it is
    fenced off, so that a shim that comes late ends at once (`record.claim`).
    """
    attempt = claim.directory
    if attempt.exit.exists():
        return False
    staked = attempt.claim.exists()  # looked at first: the lease is taken before the claim is made
    if is_held(attempt.lease):
        return True
    if staked:
        return False
    pid = claim.owner.get("pid")
    if isinstance(pid, int) and process_identity(pid) == claim.owner:
        return True
    try:
        return not stake(attempt, {})
    except Unwritable:  # its directory is gone
        return False


class Ledger:
    """The ledger in a directory, as one run uses it."""

    def __init__(self, directory: Path, run: Path, *, cores: float, cpus: Sequence[int], wanted: Iterable[str]) -> None:
        """Args: `cores` is how many this process may use, out of `cpus`; `wanted` all that the run could use."""
        self._directory = directory
        self._run = str(run.absolute())
        self._cores = cores
        self._cpus = tuple(cpus)
        self._wanted = sorted(set(wanted))
        self._owner = process_identity(os.getpid())

    @property
    def run(self) -> str:
        """Whose claims are made here."""
        return self._run

    def take(self, attempt: AttemptDir, needs: Mapping[str, float], *, now: float, wait: bool = True) -> Answer:
        """Claim what an attempt needs, if there is room; in any case, where nobody waits for room.

        Raises:
            OSError: the ledger cannot be read or written.
        """
        place = str(attempt.path.absolute())
        claim = Claim(run=self._run, attempt=place, needs=dict(needs), cpus=self._cpus, owner=self._owner)
        with self._locked() as locked:
            if not locked:  # somebody else is at it, and it takes no time
                return Answer(granted=False)
            book = self._read()
            if wait and not self._may(book, claim, now):
                # Who has ended by the record is found by a look at its directory, and nearly always that is enough.
                book = replace(book, claims=tuple(other for other in book.claims if not other.directory.exit.exists()))
            if wait and not self._may(book, claim, now):
                book = replace(book, claims=tuple(other for other in book.claims if is_live(other)))
                if not self._may(book, claim, now):
                    self._write(_with_wish(book, self._wish(book, now)))
                    return Answer(granted=False, others=_others(book, claim))
            left = tuple(other for other in book.claims if other.attempt != place)
            self._write(Book(claims=(*left, claim), wishes=_wishes_of_others(book, self._run)))
            return Answer(granted=True, others=_others(book, claim))

    def claims(self) -> tuple[Claim, ...]:
        """All claims, those too that no longer hold and were not struck out yet."""
        return self._read().claims

    def close(self) -> None:
        """Strike out what no longer holds, and what the run wishes for."""
        with self._locked() as locked:
            if locked:
                book = self._read()
                left = tuple(claim for claim in book.claims if is_live(claim))
                self._write(Book(claims=left, wishes=_wishes_of_others(book, self._run)))

    def _wish(self, book: Book, now: float) -> Wish:
        own = next((wish for wish in book.wishes if wish.run == self._run and _is_fresh(wish, now)), None)
        since = now if own is None else own.since
        return Wish(run=self._run, needs=self._wanted, cpus=self._cpus, since=since, asked=now)

    def _may(self, book: Book, claim: Claim, now: float) -> bool:
        return fits(book, claim, self._cores) and not comes_later(book, claim, now)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[bool]:
        lease = acquire(self._directory / "lock", holder=f"pid {os.getpid()}\n")
        try:
            yield lease is not None
        finally:
            if lease is not None:
                lease.release()

    def _read(self) -> Book:
        try:
            told = json.loads((self._directory / "ledger.json").read_bytes())
        except (FileNotFoundError, ValueError):
            return Book()
        return _book_of(told)

    def _write(self, book: Book) -> None:
        # Not synced to the disk: what it says does not outlive the machine's processes anyway.
        temporary = self._directory / ".ledger.json.tmp"
        entries = {name: [_told(entry) for entry in getattr(book, name)] for name in ("claims", "wishes")}
        temporary.write_text(json.dumps(entries))
        temporary.replace(self._directory / "ledger.json")


def _others(book: Book, claim: Claim) -> tuple[Claim, ...]:
    return tuple(other for other in book.claims if other.attempt != claim.attempt and common(claim, other))


def _wishes_of_others(book: Book, run: str) -> tuple[Wish, ...]:
    return tuple(wish for wish in book.wishes if wish.run != run)


def _with_wish(book: Book, wish: Wish) -> Book:
    return replace(book, wishes=(*_wishes_of_others(book, wish.run), wish))


def _told(entry: Claim | Wish) -> dict[str, object]:
    return {name: getattr(entry, name) for name in entry.__dataclass_fields__}


def _book_of(told: object) -> Book:
    """What a file says, as far as it can be understood; another version of this program may have written it."""
    known: dict[str, list[Any]] = {"claims": [], "wishes": []}
    for name, read in (("claims", _claim), ("wishes", _wish)):
        entries = told.get(name) if isinstance(told, dict) else None
        for entry in entries if isinstance(entries, list) else ():
            with contextlib.suppress(AttributeError, KeyError, TypeError, ValueError):
                known[name].append(read(entry))
    return Book(claims=tuple(known["claims"]), wishes=tuple(known["wishes"]))


def _claim(entry: Mapping[str, Any]) -> Claim:
    int(Path(entry["attempt"]).name)  # an attempt's directory, or nothing that could be looked at
    needs = {str(key): float(amount) for key, amount in entry["needs"].items()}
    cpus = tuple(map(int, entry["cpus"]))
    return Claim(run=str(entry["run"]), attempt=entry["attempt"], needs=needs, cpus=cpus, owner=dict(entry["owner"]))


def _wish(entry: Mapping[str, Any]) -> Wish:
    needs, cpus = tuple(map(str, entry["needs"])), tuple(map(int, entry["cpus"]))
    since, asked = float(entry["since"]), float(entry["asked"])
    return Wish(run=str(entry["run"]), needs=needs, cpus=cpus, since=since, asked=asked)


def place_of_ledger(environment: Mapping[str, str]) -> Path:
    """Where this user's ledger is on this machine; made if need be.

    Not $XDG_RUNTIME_DIR, which a terminal has and a job of cron has not, and which is emptied when the user logs out
    though sweeps go on.

    Raises:
        OSError: it cannot be made, or is not the user's own.
    """
    given = environment.get(PLACE)
    place = Path(given) if given else Path("/tmp") / f"sweeper-{os.geteuid()}"  # noqa: S108 - looked at below
    place.mkdir(mode=0o700, parents=bool(given), exist_ok=True)
    found = place.lstat()
    mine = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022
    if not given and not mine:
        raise PermissionError(None, "it is not this user's own directory", str(place))
    return place
