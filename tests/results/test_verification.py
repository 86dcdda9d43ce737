"""`sweeper verify` finds each damaged place of a record, and says what it has checked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeper.record.storage.layout import SweepDir
from sweeper.record.storage.lease import acquire
from tests.faults.small import says
from tests.views.synthetic import Script, make_trial, play


@pytest.fixture
def run(tmp_path: Path) -> SweepDir:
    from sweeper.record.storage.layout import write_json

    run = SweepDir(tmp_path / "run")
    trial = make_trial(run, 0, format=3)
    play(trial, Script(until=60, total=60, layers=4))
    write_json(run.spec, {"format": 3, "name": "run", "spec": {}})
    trial.checkpoints.mkdir()
    (trial.checkpoints / "step-000000006.383c1bbcaca17c25.pt").write_bytes(
        (
            Path(__file__).parents[1]
            / "record/data/format-2/kinds/trials/0003/checkpoints/step-000000006.383c1bbcaca17c25.pt"
        ).read_bytes()
    )
    return run


def flip(path: Path, place: int = -20) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def test_a_whole_record_is_without_damage(run: SweepDir) -> None:
    code, out, err = says("verify", str(run.path))
    assert (code, err) == (0, "")
    assert "no damage in" in out


FILES: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "spec": ("spec.json", lambda path: flip(path, 20), "checksum"),
    "facts": ("trials/0000/trial.json", lambda path: flip(path, 20), "checksum"),
    "control": ("trials/0000/control.jsonl", flip, ":1: this line does not match"),
    "events": ("trials/0000/attempts/1/events.jsonl", flip, "this line does not match"),
    "rows": ("trials/0000/attempts/1/layers.f32", lambda path: flip(path, 5), "row 0 (step 0) is missing or does not"),
    "a row cut off": ("trials/0000/attempts/1/layers.f32", cut, "is missing or does not match its checksum"),
    "checkpoint": ("trials/0000/checkpoints/step-000000006.383c1bbcaca17c25.pt", flip, "the checksum in its name"),
    "no facts": ("trials/0000/trial.json", Path.unlink, "it is missing"),
    "a directory": ("log.jsonl", Path.mkdir, "expected a readable file"),
}


@pytest.mark.parametrize("name", FILES)
def test_damage_is_listed_by_file_and_line(run: SweepDir, name: str) -> None:
    file, damage, what = FILES[name]
    damage(run.path / file)
    code, out, _ = says("verify", str(run.path))
    assert code == 1
    (place,) = [line for line in out.splitlines() if str(run.path / file) in line]
    assert what in place
    assert "1 damaged place in" in out
    answer = json.loads(says("verify", str(run.path), "--json")[1])
    assert [one["file"] for one in answer["damage"]] == [str(run.path / file)]
    assert answer["checked"]["lines"] > 0


def test_an_incomplete_last_line_is_no_damage(run: SweepDir) -> None:
    events = run.trial(0).attempt(1).events
    with events.open("ab") as file:
        file.write(b'{"event":"Met')
    code, out, _ = says("verify", str(run.path))
    assert code == 0
    assert f"harmless: {events}" in out  # its writer was killed
    assert "no damage in" in out
    lease = acquire(run.trial(0).attempt(1).lease, holder="me")
    assert lease is not None
    try:
        assert "harmless" not in says("verify", str(run.path))[1]  # it is being written
    finally:
        lease.release()


def test_an_altered_last_line_without_an_end_is_damage(run: SweepDir) -> None:
    events = run.trial(0).attempt(1).events
    events.write_bytes(events.read_bytes()[:-1] + b"x")
    code, out, _ = says("verify", str(run.path))
    assert code == 1
    assert f"{events}:" in out


def test_a_run_with_nothing_in_it_is_named(tmp_path: Path) -> None:
    code, _, err = says("verify", str(tmp_path))
    assert code == 2
    assert "expected the directory of a run" in err


def test_a_run_without_its_resolved_sweep_is_checked_all_the_same(run: SweepDir) -> None:
    run.spec.unlink()
    shutil.rmtree(run.trial(0).checkpoints)
    code, out, _ = says("verify", str(run.path))
    assert code == 1
    assert f"{run.spec}: it is missing" in out
