"""The output of a worker stays within its limit, and every reader sees its head, one mark and its tail."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeper.executors.ray import mirror
from sweeper.executors.ray.mirror import Replica, updates_of
from sweeper.record.storage import output as storage
from sweeper.record.storage.layout import AttemptDir, TrialDir
from sweeper.record.storage.output import MARKER, cut_of, pieces
from sweeper.worker.process.output import OutputLimit
from tests.orchestrator.collect.sources import Watched

LIMIT_MB, LIMIT = 1.0, 1_000_000


class Printing:
    """A worker that prints numbered lines to the output of an attempt, with the limit of its shim."""

    def __init__(self, attempt: AttemptDir) -> None:
        attempt.path.mkdir(parents=True, exist_ok=True)
        self.attempt = attempt
        self.fd = os.open(attempt.output, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self.limit = OutputLimit(attempt, LIMIT_MB, self.fd)
        self.lines = 0

    def prints(self, count: int) -> None:
        for _ in range(count):
            os.write(self.fd, b"epoch %d: loss 0.%0480d\n" % (self.lines, self.lines))
            self.lines += 1

    def prints_much(self, times: int = 8) -> None:
        for _ in range(times):
            self.prints(400)
            self.limit.check()


@pytest.fixture(params=["hole", "copy"])
def printing(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Printing]:
    if request.param == "copy":
        monkeypatch.setattr(storage, "_punch", lambda *_: False)
    found = Printing(TrialDir(tmp_path / "0000").attempt(1))
    yield found
    os.close(found.fd)


def seen(attempt: AttemptDir, offset: int = 0) -> bytes:
    return b"".join(piece for piece, _ in pieces(attempt, offset))


def numbers(text: bytes) -> list[int]:
    return [int(line.split()[1][:-1]) for line in text.splitlines() if line.startswith(b"epoch")]


def test_an_output_within_its_limit_is_whole(printing: Printing) -> None:
    printing.prints(1500)
    printing.limit.check()
    assert cut_of(printing.attempt) is None
    assert numbers(seen(printing.attempt)) == list(range(1500))


def test_head_and_tail_are_kept_as_whole_lines_and_said_once(printing: Printing) -> None:
    printing.prints_much()
    text = seen(printing.attempt)
    assert text.count(MARKER) == 1
    head, tail = map(numbers, text.split(MARKER))
    assert head == list(range(len(head)))
    assert tail == list(range(tail[0], printing.lines))
    assert len(text) <= LIMIT
    assert text.count(b"\n") == len(head) + len(tail) + 1
    assert printing.attempt.output.stat().st_blocks * 512 < LIMIT * 1.1


def test_the_offsets_of_what_is_kept_stay_as_they_were(printing: Printing) -> None:
    printing.prints_much()
    size = printing.attempt.output.stat().st_size
    cut = cut_of(printing.attempt)
    assert cut is not None
    assert size == sum(len(b"epoch %d: loss 0.%0480d\n" % (n, n)) for n in range(printing.lines))
    assert numbers(seen(printing.attempt, cut.end))[-1] == printing.lines - 1


def test_a_reader_that_follows_gets_each_kept_line_once(printing: Printing) -> None:
    text, offset = b"", 0
    for _ in range(20):
        printing.prints(random.Random(printing.lines).randrange(600))
        for piece, offset in pieces(printing.attempt, offset):  # noqa: B020, B007
            text += piece
        printing.limit.check()
    assert numbers(text) == list(range(printing.lines))


def test_a_reader_that_lags_is_told_that_something_is_missing(printing: Printing) -> None:
    printing.prints(1300)
    first = [next(iter(pieces(printing.attempt, 600_000)))]
    printing.prints_much()
    rest = seen(printing.attempt, first[0][1])
    assert rest.startswith(MARKER)
    assert numbers(rest)[-1] == printing.lines - 1


def test_zeros_that_a_worker_prints_are_kept(printing: Printing) -> None:
    os.write(printing.fd, b"\0" * 1000 + b"\n")
    printing.prints_much()
    os.write(printing.fd, b"\0" * 1000 + b"\n")
    assert seen(printing.attempt).count(b"\0") == 2000


def test_nothing_is_watched_without_a_limit_or_if_standard_output_is_another_file(tmp_path: Path) -> None:
    found = Printing(TrialDir(tmp_path / "0000").attempt(1))
    assert OutputLimit(found.attempt, 0.0, found.fd).check() is None
    with (tmp_path / "other").open("ab") as other:
        assert OutputLimit(found.attempt, LIMIT_MB, other.fileno()).check() is None
    os.close(found.fd)


def test_a_check_comes_the_sooner_the_faster_a_worker_prints(tmp_path: Path) -> None:
    found = Printing(TrialDir(tmp_path / "0000").attempt(1))
    assert found.limit.check() == 1.0
    found.prints(1900)
    due = found.limit.check()
    assert due is not None
    assert due < 1.0
    os.close(found.fd)


def test_values_around_the_removed_lines_are_collected_once_each(tmp_path: Path) -> None:
    watched = Watched(tmp_path, loss={"output": r"loss (\S+)"}, epoch={"output": r"epoch (\d+)"})
    printing = Printing(watched.trial.attempt(1))
    printing.prints(300)
    watched.collect()
    printing.prints_much(3)
    watched.restart()  # the bytes before the recorded offset may be gone by now
    for _ in range(4):
        printing.prints_much(2)
        watched.collect()
    watched.restart()
    watched.collect(final=True)
    values = [value for _, value in watched.history("epoch")]
    assert values == sorted({*values})
    assert values[:300] == list(range(300))
    assert values[-1] == printing.lines - 1
    os.close(printing.fd)


def test_a_copy_on_another_machine_is_cut_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "MAX_REPLY_BYTES", 100_000)
    there, here = (TrialDir(tmp_path / name / "0000") for name in ("there", "here"))
    here.attempt(1).path.mkdir(parents=True)
    there.attempt(1).path.mkdir(parents=True)
    printing, replica = Printing(there.attempt(1)), Replica(here, 1)
    for round_ in range(60):
        if round_ < 20:
            printing.prints(random.Random(round_).randrange(900))
            printing.limit.check()
        if round_ % 7 == 0:
            replica = Replica(here, 1)
        replica.apply(updates_of(there, there.attempt(1), replica.known))
    assert seen(here.attempt(1)) == seen(there.attempt(1))
    assert here.attempt(1).output.stat().st_blocks * 512 < LIMIT * 1.1
    os.close(printing.fd)
