"""What the kernel tells of attempts, with a real queue."""

from __future__ import annotations

import select
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeper.orchestrator.io import inotify as module
from sweeper.orchestrator.io.inotify import MODIFY, AttemptWatcher, InotifyQueue
from sweeper.record.storage.layout import AttemptDir, write_atomically


@pytest.fixture
def watcher() -> Iterator[AttemptWatcher]:
    watcher = AttemptWatcher.open()
    yield watcher
    watcher.close()


@pytest.fixture
def attempt(tmp_path: Path) -> AttemptDir:
    (tmp_path / "1").mkdir()
    return AttemptDir(tmp_path / "1")


def wakes(watcher: AttemptWatcher) -> bool:
    return bool(select.select(watcher.filenos(), [], [], 0)[0])


def test_an_append_is_reported_without_waking_the_loop(watcher: AttemptWatcher, attempt: AttemptDir) -> None:
    watcher.watch(7, attempt)
    attempt.events.write_bytes(b"{}\n")
    assert not wakes(watcher)
    assert watcher.changed() == {7}
    assert watcher.changed() == set()


def test_the_end_of_an_attempt_wakes_the_loop(watcher: AttemptWatcher, attempt: AttemptDir) -> None:
    watcher.watch(7, attempt)
    write_atomically(attempt.exit, b"{}\n", sync=False)
    assert wakes(watcher)
    assert watcher.changed() == {7}
    assert not wakes(watcher)


def test_the_removal_of_a_directory_wakes_the_loop(watcher: AttemptWatcher, attempt: AttemptDir) -> None:
    watcher.watch(7, attempt)
    shutil.rmtree(attempt.path)
    assert wakes(watcher)
    assert watcher.changed() == {7}


def test_a_trial_that_is_no_longer_watched_is_not_reported(watcher: AttemptWatcher, attempt: AttemptDir) -> None:
    watcher.watch(7, attempt)
    watcher.unwatch(7)
    attempt.events.write_bytes(b"{}\n")
    write_atomically(attempt.exit, b"{}\n", sync=False)
    assert watcher.changed() == set()
    assert not wakes(watcher)


def test_a_missing_directory_is_unwatched(watcher: AttemptWatcher, attempt: AttemptDir, tmp_path: Path) -> None:
    watcher.watch(7, AttemptDir(tmp_path / "2"))
    assert watcher.unwatched == {7}
    watcher.watch(7, attempt)
    assert watcher.unwatched == set()


def test_without_inotify_every_trial_is_unwatched(attempt: AttemptDir, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(_mask: int) -> InotifyQueue:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(module, "InotifyQueue", none_left)
    watcher = AttemptWatcher.open()
    watcher.watch(7, attempt)
    assert (watcher.unwatched, watcher.filenos(), watcher.changed()) == ({7}, [], set())
    watcher.close()


def test_an_overflow_of_the_queue_is_reported_as_unknown_changes(attempt: AttemptDir) -> None:
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    queue = InotifyQueue(MODIFY)
    queue.watch(7, str(attempt.path).encode())
    with attempt.events.open("wb", buffering=0) as one, attempt.output.open("wb", buffering=0) as other:
        for _ in range(most // 2 + 1):  # alternating, because the kernel merges equal events
            one.write(b".")
            other.write(b".")
    assert None in set(queue.read())
    queue.close()
