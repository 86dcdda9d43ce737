"""Nothing is opened, written or removed through a link inside of a run, and nothing that is opened waits."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeper.errors import RecordError, Unwritable
from sweeper.record.events import Metrics
from sweeper.record.reader import read_exit
from sweeper.record.storage import confined, journal
from sweeper.record.storage.claim import claim, make_claim, owner_of
from sweeper.record.storage.journal import JournalReader, JournalWriter
from sweeper.record.storage.layout import AttemptDir, SweepDir, read_json, write_atomically, write_json
from sweeper.record.storage.lease import acquire, holder_of, is_held

SWEEP = "runs/own"


@pytest.fixture
def run(tmp_path: Path) -> SweepDir:
    (tmp_path / SWEEP / "trials/0003/attempts/1").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "precious").write_text("precious")
    return SweepDir(tmp_path / SWEEP)


@pytest.mark.parametrize(
    ("path", "root"),
    [
        ("runs/own/trials/0003/attempts/1/events.jsonl", "runs/own"),
        ("runs/own/trials/0003/trial.json", "runs/own"),
        ("runs/own/trials/0003", "runs/own"),
        ("runs/own/spec.json", "runs/own"),
        ("runs/own/trials", "runs/own"),
        ("trials/0003/trial.json", "."),
        ("spec.json", "."),
        ("/trials/0003/trial.json", "/"),
        ("/home/trials/7/runs/own/trials/0003/control.jsonl", "/home/trials/7/runs/own"),
        ("trials/notes/spec.json", "trials/notes"),
    ],
)
def test_the_run_of_a_path_follows_from_its_names(path: str, root: str) -> None:
    assert confined.root_of(Path(path)) == Path(root)


ACTS: dict[str, Callable[[Path], object]] = {
    "read": confined.read_bytes,
    "append": lambda path: confined.open_file(path, os.O_WRONLY | os.O_APPEND),
    "create": lambda path: confined.open_file(path, os.O_RDWR | os.O_CREAT),
    "claim": lambda path: confined.open_file(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL),
    "truncate": lambda path: confined.open_file(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
}


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("target", ["precious", "new", "nowhere/new"])
def test_a_link_in_the_place_of_a_file_is_refused(run: SweepDir, act: str, target: str) -> None:
    path = run.trial(3).control
    path.symlink_to(run.path.parents[1] / "outside" / target)
    with pytest.raises(OSError, match=r"control\.jsonl is a link|File exists"):
        ACTS[act](path)
    assert [one.read_text() for one in (run.path.parents[1] / "outside").iterdir()] == ["precious"]


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("level", ["trials", "trials/0003", "trials/0003/attempts", "trials/0003/attempts/1"])
def test_a_link_in_the_place_of_a_folder_is_refused(run: SweepDir, act: str, level: str) -> None:
    outside = run.path.parents[1] / "outside" / "moved"
    shutil.move(run.path / level, outside)
    (run.path / level).symlink_to(outside)
    with pytest.raises(OSError, match=f"{Path(level).name} is a link") as refused:
        ACTS[act](run.trial(3).attempt(1).events)
    assert refused.value.filename == str(run.path / level)
    assert not [path for path in outside.rglob("*") if path.is_file()]


@pytest.mark.parametrize("act", ACTS)
def test_no_opening_waits_for_a_pipe(run: SweepDir, act: str) -> None:
    path = run.trial(3).control
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        for _ in ("with a reader", "without"):
            with pytest.raises(OSError, match=r"a pipe stands in its place|File exists"):
                ACTS[act](path)
            os.close(reader)
            reader = os.open(os.devnull, os.O_RDONLY)
    finally:
        os.close(reader)


def test_no_descriptor_is_left_open(run: SweepDir) -> None:
    os.mkfifo(run.trial(3).control)
    run.trial(3).facts.symlink_to("/dev/zero")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        for path in (run.trial(3).control, run.trial(3).facts, run.trial(9).facts, run.path):
            with contextlib.suppress(OSError):
                confined.read_bytes(path)
        with contextlib.suppress(OSError), confined.folder(run.trial(3).facts):
            pass
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_run_and_what_is_above_it_may_be_links(run: SweepDir) -> None:
    home = run.path.parents[1]
    (home / "link").symlink_to(home / "runs")
    (home / "link2").symlink_to(home / "link" / "own")
    for path in (home / "link" / "own", home / "link2"):
        write_json(SweepDir(path).trial(3).facts, {"a": 1})
        assert read_json(SweepDir(path).trial(3).facts) == {"a": 1}
        assert len(SweepDir(path).entries()) == 1


def test_a_file_is_read_up_to_a_bound(run: SweepDir) -> None:
    path = run.trial(3).facts
    path.touch()
    os.truncate(path, 1 << 40)
    with pytest.raises(OSError, match="it has 1,099,511,627,776 bytes, and at most 67,108,864 are read") as refused:
        confined.read_bytes(path)
    assert refused.value.errno == errno.EFBIG
    with pytest.raises(RecordError, match=r"trial\.json: expected a readable file, got: it has"):
        read_json(path)


def test_a_journal_of_any_length_is_read_in_parts(run: SweepDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "MOST_AT_ONCE", 256)
    path = run.trial(3).control
    with JournalWriter(path) as writer:
        for step in range(100):
            writer.append(Metrics(step=step, values={"loss": 1.0}, time=1.0))
    reader = JournalReader(path)
    assert [event.step for event in reader.read() if isinstance(event, Metrics)] == list(range(100))
    assert reader.offset == path.stat().st_size
    assert reader.count == 100
    with path.open("ab") as file:
        file.write(b"x" * 255)
    assert reader.read() == []
    with path.open("ab") as file:
        file.write(b"x")
    with pytest.raises(RecordError, match="expected lines of at most 256 bytes, got a longer one"):
        reader.read()


def test_all_that_writes_refuses_a_folder_that_is_a_link(run: SweepDir) -> None:
    trial = run.trial(3)
    outside = run.path.parents[1] / "outside"
    shutil.rmtree(trial.path / "attempts")
    (trial.path / "attempts").symlink_to(outside)
    (outside / "1").mkdir()
    attempt = AttemptDir(trial.path / "attempts" / "1")
    for act in (
        lambda: write_atomically(attempt.exit, b"{}"),
        lambda: JournalWriter(attempt.events),
        lambda: claim(attempt),
        lambda: make_claim(attempt, {}),
    ):
        with pytest.raises(Unwritable, match=r"attempts is a link.*remove the link"):
            act()
    with pytest.raises(OSError, match="attempts is a link"):
        acquire(attempt.lease, holder="x")
    assert not is_held(attempt.lease)
    assert holder_of(attempt.lease) == ""
    assert owner_of(attempt) == {}
    with pytest.raises(RecordError, match="attempts is a link"):
        read_exit(attempt)
    with pytest.raises(RecordError, match="attempts is a link"):
        trial.attempts()
    assert sorted(path.name for path in outside.rglob("*")) == ["1", "precious"]


def test_a_file_that_is_replaced_replaces_a_link_and_not_what_it_leads_to(run: SweepDir) -> None:
    outside = run.path.parents[1] / "outside"
    run.spec.symlink_to(outside / "precious")
    write_json(run.spec, {"a": 1})
    assert (outside / "precious").read_text() == "precious"
    assert read_json(run.spec) == {"a": 1}


def test_what_is_removed_is_never_what_a_link_leads_to(run: SweepDir) -> None:
    outside = run.path.parents[1] / "outside"
    folder = run.trial(3).checkpoints
    folder.mkdir()
    (folder / "a.pt").symlink_to(outside / "precious")
    (folder / "deep").symlink_to(outside)
    confined.remove(folder / "a.pt")
    confined.remove(folder / "gone.pt")
    confined.remove_folder(folder)
    assert not folder.exists()
    folder.symlink_to(outside)
    with pytest.raises(OSError, match="checkpoints is a link"):
        confined.remove(folder / "precious")
    confined.remove_folder(folder)
    assert not os.path.lexists(folder)
    assert (outside / "precious").read_text() == "precious"


def test_folders_that_are_nested_too_deeply_are_an_error_in_words(run: SweepDir) -> None:
    with contextlib.chdir(run.trial(3).path):
        for _ in range(1500):
            Path("d").mkdir()
            os.chdir("d")
    try:
        with pytest.raises(OSError, match="nested too deeply"):
            confined.remove_folder(run.trial(3).path)
    finally:
        subprocess.run(["rm", "-rf", run.trial(3).path], check=True)  # shutil cannot


def test_a_folder_that_becomes_a_link_meanwhile_is_not_followed(run: SweepDir) -> None:
    """The folder that was checked is the one that is used: another process replaces it by a link all the time."""
    outside = run.path.parents[1] / "outside"
    folder, spare = run.path / "report", run.path / "spare"
    folder.mkdir()
    ended = threading.Event()

    def replace() -> None:
        while not ended.is_set():
            folder.rename(spare)
            folder.symlink_to(outside)
            folder.unlink()
            spare.rename(folder)

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        for _ in range(500):
            try:
                write_atomically(folder / "new", b"x", sync=False, root=run.path)
                confined.remove(folder / "precious", root=run.path)
            except (OSError, Unwritable):
                continue
    finally:
        ended.set()
        thread.join()
    assert [path.name for path in outside.iterdir()] == ["precious"]
