"""What the kernel tells of attempts, with a real kernel."""

from __future__ import annotations

import select
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeper.orchestrator.io import inotify as module
from sweeper.orchestrator.io.inotify import MODIFY, Kernel, Notices
from sweeper.record.storage.layout import AttemptDir, write_atomically


@pytest.fixture
def notices() -> Iterator[Notices]:
    notices = Notices.here()
    yield notices
    notices.close()


@pytest.fixture
def attempt(tmp_path: Path) -> AttemptDir:
    (tmp_path / "1").mkdir()
    return AttemptDir(tmp_path / "1")


def wakes(notices: Notices) -> bool:
    return bool(select.select(notices.filenos(), [], [], 0)[0])


def test_what_is_appended_is_told_and_wakes_nobody(notices: Notices, attempt: AttemptDir) -> None:
    notices.watch(7, attempt)
    attempt.events.write_bytes(b"{}\n")
    assert not wakes(notices)
    assert notices.take() == {7}
    assert notices.take() == set()


def test_an_end_wakes(notices: Notices, attempt: AttemptDir) -> None:
    notices.watch(7, attempt)
    write_atomically(attempt.exit, b"{}\n", sync=False)
    assert wakes(notices)
    assert notices.take() == {7}
    assert not wakes(notices)


def test_a_directory_that_is_taken_away_wakes(notices: Notices, attempt: AttemptDir) -> None:
    notices.watch(7, attempt)
    shutil.rmtree(attempt.path)
    assert wakes(notices)
    assert notices.take() == {7}


def test_of_who_is_forgotten_nothing_is_told(notices: Notices, attempt: AttemptDir) -> None:
    notices.watch(7, attempt)
    notices.forget(7)
    attempt.events.write_bytes(b"{}\n")
    write_atomically(attempt.exit, b"{}\n", sync=False)
    assert notices.take() == set()
    assert not wakes(notices)


def test_what_cannot_be_watched_is_named(notices: Notices, attempt: AttemptDir, tmp_path: Path) -> None:
    notices.watch(7, AttemptDir(tmp_path / "2"))
    assert notices.unwatched == {7}
    notices.watch(7, attempt)
    assert notices.unwatched == set()


def test_where_there_is_no_inotify_nobody_is_watched(attempt: AttemptDir, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(_mask: int) -> Kernel:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(module, "Kernel", none_left)
    notices = Notices.here()
    notices.watch(7, attempt)
    assert (notices.unwatched, notices.filenos(), notices.take()) == ({7}, [], set())
    notices.close()


def test_a_full_queue_is_told_as_anybody(attempt: AttemptDir) -> None:
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    kernel = Kernel(MODIFY)
    kernel.watch(7, str(attempt.path).encode())
    with attempt.events.open("wb", buffering=0) as one, attempt.output.open("wb", buffering=0) as other:
        for _ in range(most // 2 + 1):  # in turns, or the kernel merges them
            one.write(b".")
            other.write(b".")
    assert None in set(kernel.read())
    kernel.close()
