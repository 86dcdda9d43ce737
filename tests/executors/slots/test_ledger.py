"""The slot ledger: which claims fit, which sweep comes first, and how long a claim is valid."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from sweeper.executors.slots import ledger as claims
from sweeper.executors.slots.ledger import (
    REQUEST_EXPIRES_S,
    Claim,
    LedgerState,
    QueuedRequest,
    SlotLedger,
    fits,
    is_live,
    ledger_directory,
    must_yield,
)
from sweeper.record.storage.claim import claim, make_claim, process_identity
from sweeper.record.storage.layout import AttemptDir, TrialDir
from sweeper.record.storage.lease import Lease, acquire


def one(run: str, number: int = 0, cpus: tuple[int, ...] = (0, 1), **needs: float) -> Claim:
    return Claim(run=run, attempt=f"/{run}/trials/{number}/attempts/1", needs=needs, cpus=cpus)


def request(
    run: str, *needs: str, since: float = 0.0, polled: float = 9.0, cpus: tuple[int, ...] = (0, 1)
) -> QueuedRequest:
    return QueuedRequest(run=run, needs=needs, cpus=cpus, since=since, polled=polled)


@pytest.mark.parametrize(
    ("there", "asked", "room"),
    [
        ([], one("a", cores=2), True),
        ([one("b", cores=1)], one("a", cores=1), True),
        ([one("b", cores=1)], one("a", cores=2), False),
        ([one("b", cores=1), one("a", 1, cores=1)], one("a", cores=0.5), False),
        ([one("b", cores=2, cpus=(2, 3))], one("a", cores=2), True),  # bound to other cores
        ([one("b", cores=2, cpus=(1, 2))], one("a", cores=1), False),
        ([one("b", GPU=0.25), one("b", 1, GPU=0.5)], one("a", GPU=0.25), True),
        ([one("b", GPU=0.25), one("b", 1, GPU=0.5)], one("a", GPU=0.5), False),
        ([one("b", n, GPU=0.1) for n in range(9)], one("a", GPU=0.1), True),  # whatever 9 times 0.1 is
        ([one("b", GPU=1)], one("a", OTHER=1), True),
        ([one("b", GPU=1)], one("a", GPU=1, OTHER=1), False),
        ([one("b", GPU=1, cores=2)], one("a", OTHER=1), True),  # that asks for no cores
        ([one("a", cores=2)], one("a", cores=2), True),  # the same attempt, once more
    ],
)
def test_claims_fit_up_to_the_capacity_of_the_machine(there: list[Claim], asked: Claim, room: bool) -> None:
    assert fits(LedgerState(claims=tuple(there)), asked, cores=2) == room


@pytest.mark.parametrize(
    ("there", "requests", "later"),
    [
        ([], [], False),
        ([one("a", 1, cores=1)], [request("b", "cores")], True),  # a sweep without claims comes first
        ([one("a", 1, cores=1)], [request("b", "cores", polled=10 - REQUEST_EXPIRES_S)], False),  # polls no more
        ([one("a", 1, cores=1)], [request("b", "GPU")], False),
        ([one("a", 1, cores=1)], [request("b", "cores", cpus=(2, 3))], False),
        ([one("a", 1, cores=1), one("b", cores=1)], [request("b", "cores")], False),  # as much for each
        ([one("a", 1, cores=2), one("b", cores=1)], [request("b", "cores")], True),
        ([], [request("b", "cores", since=5)], True),  # b has waited, a asks for the first time
        ([], [request("b", "cores", since=5), request("a", "cores", since=4)], False),
        ([], [request("b", "cores", since=4), request("a", "cores", since=5)], True),
        ([], [request("a", "cores")], False),
    ],
)
def test_the_sweep_that_uses_less_comes_first(there: list[Claim], requests: list[QueuedRequest], later: bool) -> None:
    book = LedgerState(claims=tuple(there), requests=tuple(requests))
    assert must_yield(book, one("a", cores=1), now=10.0) == later


@pytest.fixture
def attempt(tmp_path: Path) -> AttemptDir:
    directory = TrialDir(tmp_path / "run" / "trials" / "0000").attempt(1)
    directory.path.mkdir(parents=True)
    return directory


@pytest.fixture
def lease(attempt: AttemptDir) -> Iterator[Lease]:
    held = claim(attempt)
    yield held
    held.release()


def of(attempt: AttemptDir, owner: Mapping[str, object] | None = None) -> Claim:
    return Claim(run="run", attempt=str(attempt.path), needs={"cores": 1.0}, owner=owner or {})


GONE = {"pid": 1 << 22, "start": 1, "boot": "b", "host": "h"}


def test_a_claim_is_valid_while_the_lease_of_its_attempt_is_held(attempt: AttemptDir, lease: Lease) -> None:
    assert is_live(of(attempt, GONE))
    lease.release()
    assert not is_live(of(attempt, process_identity(os.getpid())))


def test_a_claim_ends_with_the_recorded_exit_of_its_attempt(attempt: AttemptDir, lease: Lease) -> None:
    attempt.exit.write_text("{}")  # the shim has reaped all, and ends
    assert not is_live(of(attempt, GONE))


def test_an_attempt_is_live_during_its_launch_while_its_orchestrator_is(attempt: AttemptDir) -> None:
    assert is_live(of(attempt, process_identity(os.getpid())))
    assert make_claim(attempt, {})  # and it was not fenced off


def test_a_launch_by_an_orchestrator_that_is_gone_is_fenced_off(attempt: AttemptDir) -> None:
    assert not is_live(of(attempt, GONE))
    assert not make_claim(attempt, {})  # a shim that comes late finds the claim made, and ends


def test_a_claim_with_a_deleted_directory_is_invalid(tmp_path: Path) -> None:
    assert not is_live(of(TrialDir(tmp_path / "nowhere" / "0000").attempt(1), GONE))


def ledger(place: Path, run: str, cores: float = 2) -> SlotLedger:
    place.mkdir(exist_ok=True)
    return SlotLedger(place, Path(f"/{run}"), cores=cores, cpus=[0, 1], wanted=["cores"])


def made(tmp_path: Path, run: str, number: int) -> AttemptDir:
    attempt = TrialDir(tmp_path / run / "trials" / str(number)).attempt(1)
    attempt.path.mkdir(parents=True)
    return attempt


def test_invalid_claims_are_removed_when_a_new_one_would_not_fit(tmp_path: Path) -> None:
    mine = ledger(tmp_path / "slots", "a")
    first, second = made(tmp_path, "a", 0), made(tmp_path, "a", 1)
    assert mine.claim(first, {"cores": 2.0}, now=0.0).granted
    refused = mine.claim(second, {"cores": 2.0}, now=0.1)
    assert (refused.granted, [other.attempt for other in refused.others]) == (False, [str(first.path)])
    first.exit.write_text("{}")
    assert mine.claim(second, {"cores": 2.0}, now=0.2).granted
    assert [claim.attempt for claim in mine.claims()] == [str(second.path)]


def test_a_freed_slot_goes_to_the_sweep_that_has_none(tmp_path: Path) -> None:
    mine, other = ledger(tmp_path / "slots", "a"), ledger(tmp_path / "slots", "b")
    has = [made(tmp_path, "a", number) for number in range(2)]
    assert all(mine.claim(attempt, {"cores": 1.0}, now=0.0).granted for attempt in has)
    wanted = made(tmp_path, "b", 0)
    assert not other.claim(wanted, {"cores": 1.0}, now=0.1).granted
    has[0].exit.write_text("{}")
    assert not mine.claim(made(tmp_path, "a", 2), {"cores": 1.0}, now=0.2).granted
    assert other.claim(wanted, {"cores": 1.0}, now=0.3).granted
    has[1].exit.write_text("{}")
    assert mine.claim(made(tmp_path, "a", 3), {"cores": 1.0}, now=0.4).granted


def test_a_claim_that_does_not_wait_is_counted_too(tmp_path: Path) -> None:
    mine, other = ledger(tmp_path / "slots", "a"), ledger(tmp_path / "slots", "b")
    assert mine.claim(made(tmp_path, "a", 0), {"cores": 2.0}, now=0.0).granted
    assert other.claim(made(tmp_path, "b", 0), {"cores": 2.0}, now=0.0, wait=False).granted
    assert not ledger(tmp_path / "slots", "c").claim(made(tmp_path, "c", 0), {"cores": 1.0}, now=0.0).granted


def test_an_attempt_that_died_before_its_claim_gives_back_what_it_took(tmp_path: Path) -> None:
    mine, other = ledger(tmp_path / "slots", "a"), ledger(tmp_path / "slots", "b")
    dead = made(tmp_path, "a", 0)
    assert mine.claim(dead, {"cores": 2.0}, now=0.0).granted
    assert not other.claim(made(tmp_path, "b", 0), {"cores": 2.0}, now=0.0).granted
    mine.release(dead)
    assert mine.claims() == other.claims() == ()
    assert other.claim(made(tmp_path, "b", 1), {"cores": 2.0}, now=0.0).granted


def test_a_release_while_the_ledger_is_locked_or_gone_takes_effect_later(tmp_path: Path) -> None:
    mine = ledger(tmp_path / "slots", "a")
    dead = [made(tmp_path, "a", number) for number in range(2)]
    assert all(mine.claim(attempt, {"cores": 1.0}, now=0.0).granted for attempt in dead)
    lock = acquire(tmp_path / "slots" / "lock", holder="")
    assert lock is not None
    mine.release(dead[0])
    lock.release()
    (tmp_path / "slots").rename(tmp_path / "away")
    mine.release(dead[1])
    (tmp_path / "away").rename(tmp_path / "slots")
    assert mine.claim(made(tmp_path, "a", 2), {"cores": 2.0}, now=0.0).granted
    assert len(ledger(tmp_path / "slots", "b").claims()) == 1


def test_close_removes_the_request_and_ended_claims(tmp_path: Path) -> None:
    mine, other = ledger(tmp_path / "slots", "a"), ledger(tmp_path / "slots", "b")
    over = made(tmp_path, "a", 0)
    assert mine.claim(over, {"cores": 2.0}, now=0.0).granted
    assert not other.claim(made(tmp_path, "b", 0), {"cores": 1.0}, now=0.0).granted
    over.exit.write_text("{}")
    other.close()
    assert json.loads((tmp_path / "slots" / "ledger.json").read_bytes()) == {"claims": [], "wishes": []}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b'{"claims": 3, "wishes": null}',
        b'{"claims": [1, {}, {"run": "x", "attempt": "/x", "needs": {}, "cpus": [], "owner": {}}]}',
        b'{"claims": [{"run": "x", "attempt": "/x/1", "needs": {"cores": "many"}, "cpus": [], "owner": {}}]}',
        b'{"wishes": [{"run": "x", "needs": ["cores"]}]}',
        b"\xff" * 9,
    ],
)
def test_a_damaged_ledger_counts_as_empty(tmp_path: Path, text: bytes) -> None:
    mine = ledger(tmp_path / "slots", "a")
    (tmp_path / "slots" / "ledger.json").write_bytes(text)
    assert mine.claim(made(tmp_path, "a", 0), {"cores": 2.0}, now=0.0).granted
    assert len(mine.claims()) == 1


def test_concurrent_sweeps_never_get_more_than_the_machine_has(tmp_path: Path) -> None:
    script = """
import json, sys, time
from pathlib import Path
from sweeper.executors.slots.ledger import SlotLedger
from sweeper.record.storage.layout import TrialDir
here, name = Path(sys.argv[1]), sys.argv[2]
ledger = SlotLedger(here / "slots", here / name, cores=2, cpus=[0], wanted=["cores"])
got = 0
while got < 10:
    attempt = TrialDir(here / name / "trials" / str(got)).attempt(1)
    attempt.path.mkdir(parents=True, exist_ok=True)
    if not ledger.claim(attempt, {"cores": 1.0}, now=time.monotonic()).granted:
        time.sleep(0.002)
        continue
    with open(here / "trace", "a") as trace:
        trace.write("+\\n")
        trace.flush()
        time.sleep(0.002)
        trace.write("-\\n")
    attempt.exit.write_text("{}")
    got += 1
"""
    (tmp_path / "slots").mkdir()
    takers = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path), f"run-{i}"]) for i in range(4)]
    assert [taker.wait(60) for taker in takers] == [0] * 4
    at_once, most = 0, 0
    for line in (tmp_path / "trace").read_text().split():
        at_once += 1 if line == "+" else -1
        most = max(most, at_once)
    assert at_once == 0
    assert most <= 2  # on a busy machine perhaps never two at the same moment


def test_a_process_killed_with_the_lock_leaves_the_ledger_usable(tmp_path: Path) -> None:
    mine = ledger(tmp_path / "slots", "a")
    script = """
import fcntl, sys, time
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print(flush=True)
time.sleep(60)
"""
    holder = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "slots" / "lock")], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    assert not mine.claim(made(tmp_path, "a", 0), {"cores": 1.0}, now=0.0).granted
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    assert mine.claim(made(tmp_path, "a", 1), {"cores": 1.0}, now=0.0).granted


def test_the_default_directory_belongs_to_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ledger_directory({"SWEEPER_SLOTS": str(tmp_path / "a" / "b")}) == tmp_path / "a" / "b"
    monkeypatch.setattr(claims, "Path", lambda *parts: tmp_path.joinpath(*(part.lstrip("/") for part in parts)))
    (tmp_path / "tmp").mkdir()
    place = ledger_directory({})
    assert (place.name, place.stat().st_mode & 0o777) == (f"sweeper-{os.geteuid()}", 0o700)
    place.chmod(0o777)
    with pytest.raises(PermissionError, match="not this user's own"):
        ledger_directory({})
    place.rmdir()
    place.symlink_to(tmp_path)
    with pytest.raises(PermissionError, match="not this user's own"):
        ledger_directory({})


def test_monotonic_clocks_agree_between_processes(tmp_path: Path) -> None:
    """Requests of several processes are compared by monotonic clocks, which agree on Linux."""
    before = time.monotonic()
    command = [sys.executable, "-c", "import time; print(time.monotonic())"]
    there = float(subprocess.run(command, capture_output=True, check=True).stdout)
    assert before < there < time.monotonic()


@pytest.mark.parametrize("text", ["[" * 100_000, '{"claims": ' * 50_000, "\0", "", "null", '{"claims": 1}'])
def test_a_ledger_that_cannot_be_read_counts_as_empty(tmp_path: Path, text: str) -> None:
    (tmp_path / "ledger").mkdir()
    (tmp_path / "ledger/ledger.json").write_text(text)
    ledger = claims.SlotLedger(tmp_path / "ledger", tmp_path / "run", cores=1.0, cpus=[0], wanted=[])
    assert ledger.claims() == ()
    ledger.close()
