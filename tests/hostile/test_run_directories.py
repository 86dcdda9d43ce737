"""A run's directory is data: whatever a stranger plants in it, no command leaves it, waits for it, or falls over it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeper.cli import main
from sweeper.record.storage.layout import SweepDir
from tests.hostile import run_directories as planted
from tests.hostile.run_directories import COMMANDS, FILES, FOLDERS, IN_FILES, IN_FOLDERS, Plant, in_child, seen_in

CASES = [
    *((name, plant) for name in FILES for plant in IN_FILES),
    *((name, plant) for name in FOLDERS for plant in IN_FOLDERS),
]
ALWAYS = {
    ("spec.json", planted.pipe),
    ("trials/0000/trial.json", planted.endless),
    ("trials/0000/control.jsonl", planted.pipe),
    ("trials/0000/attempts/1/events.jsonl", planted.hole),
    ("trials/0000/attempts/1/output.log", planted.hole_behind),
    ("views.lease", planted.link),
    ("lease", planted.pipe),
    ("tensorboard", planted.link_to_folder),
    ("report", planted.link_to_folder),
    ("inbox", planted.link_to_folder),
    ("trials/0000", planted.link_to_folder),
    ("trials/0000/attempts", planted.nested),
}
"""One of each kind, with every command. Of the others, every fifth is in the slow part, with every fourth command."""
EVERY = "SWEEPER_TEST_EVERY_COMMAND"
"""The variable with which all cases run, with every command; that takes more than an hour."""
TURNS, STRIDE = 4, 5


SWEEP = """
method: grid
metric: {name: loss}
command: [python, -c, pass, "${args}"]
parameters: {lr: {values: [0.1]}}
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs, both drawn and reported, and a sweep file."""
    folder = tmp_path_factory.mktemp("template")
    for name in ("own", "other"):
        run = planted.make_run(folder / "runs", name)
        for command in ("tensorboard", "report"):
            made = in_child(lambda: COMMANDS[command](run, run, folder), folder / "printed")  # noqa: B023 - called here
            assert made.code == 0, made.printed
    (folder / "runs" / "sweep.yaml").write_text(SWEEP)
    return folder


@pytest.fixture
def place(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the runs beside a canary, and a folder for what commands write."""
    monkeypatch.setenv("COLUMNS", "400")
    shutil.copytree(template / "runs", tmp_path / "runs", symlinks=True)
    (tmp_path / "out").mkdir()
    planted.make_canary(tmp_path / "canary")
    return tmp_path


def every_command(place: Path, plant: Callable[[], None], turn: int | None = None) -> dict[str, planted.Outcome]:
    """Run each command over a fresh copy of the run with something planted; check what none may do.

    With `turn`, only every fourth command is run.
    """
    outcomes = {}
    for position, (name, command) in enumerate(COMMANDS.items()):
        if turn is not None and (position + turn) % TURNS:
            continue
        run, other = SweepDir(place / "runs" / "own"), SweepDir(place / "runs" / "other")
        keep = place / "keep"
        if not keep.exists():
            shutil.copytree(run.path, keep, symlinks=True)
        plant()
        before = seen_in(place / "canary"), seen_in(other.path)
        found = in_child(lambda: command(run, other, place / "out"), place / "printed")  # noqa: B023 - called here
        assert found.code in (0, 1, 2), f"{name}: ended by {found.code}: {found.printed[-3000:]}"
        assert "Traceback" not in found.printed, f"{name}: {found.printed[-3000:]}"
        assert "4711" not in found.printed, f"{name} read a file outside: {found.printed[-3000:]}"
        assert (seen_in(place / "canary"), seen_in(other.path)) == before, f"{name} changed what is outside"
        outcomes[name] = found
        # Not shutil: the folders that were planted may be nested more deeply than its calls.
        subprocess.run(["rm", "-rf", run.path], check=True)
        subprocess.run(["cp", "-a", keep, run.path], check=True)
    return outcomes


@pytest.mark.parametrize(
    ("name", "plant", "turn"),
    [
        pytest.param(
            *case,
            None if case in ALWAYS or EVERY in os.environ else turn,
            id=f"{case[0]}-{case[1].__name__}",
            marks=[] if case in ALWAYS else pytest.mark.slow,
        )
        for turn, case in enumerate(CASES)
        if case in ALWAYS or EVERY in os.environ or turn % STRIDE == 0
    ],
)
def test_no_command_leaves_the_run_or_waits(place: Path, name: str, plant: Plant, turn: int | None) -> None:
    every_command(place, lambda: plant(place / "runs" / "own" / name, place / "canary"), turn)


def test_all_commands_read_a_run_without_plants(place: Path) -> None:
    outcomes = every_command(place, lambda: None)
    assert {name: one.code for name, one in outcomes.items() if one.code} == {}, outcomes


@pytest.mark.parametrize(
    ("name", "plant", "commands", "words"),
    [
        (
            "spec.json",
            planted.pipe,
            ["report", "export", "compare"],
            "spec.json: expected a readable file",
        ),
        ("spec.json", planted.hole, ["report", "export", "compare"], "1,099,511,627,776 bytes"),
        ("trials/0000/trial.json", planted.pipe, ["status", "why", "reproduce"], "a pipe stands in its place"),
        ("trials/0000/trial.json", planted.link, ["status", "why"], "trial.json is a link"),
        ("trials/0000/control.jsonl", planted.endless, ["status", "why"], "control.jsonl is a link"),
        ("trials/0000/attempts/1/events.jsonl", planted.hole, ["status", "why"], "got a longer one"),
        ("trials/0000/attempts/1/exit.json", planted.socket_file, ["status", "why"], "a socket stands in its place"),
        ("trials/0000/attempts/1/output.log", planted.pipe, ["logs"], "a pipe stands in its place"),
        ("trials/0000/attempts/1/output.log", planted.hole_behind, ["logs"], "bytes that no program has written"),
        ("trials/0000", planted.link_to_folder, ["status", "why", "logs"], "link, which is not followed inside a run"),
        ("trials", planted.link_to_folder, ["status", "report", "backtest"], "trials is a link"),
        ("report", planted.link_to_folder, ["report"], "report is a link"),
        ("inbox", planted.link_to_folder, ["pause", "stop"], "inbox is a link"),
        ("tensorboard", planted.link_to_folder, ["tensorboard"], "tensorboard is a link"),
        ("tensorboard/0000_lr=0.1/mine", planted.pipe, ["tensorboard"], "expected a file, got a link, a pipe"),
    ],
    ids=lambda value: value.__name__ if callable(value) else str(value),
)
def test_what_cannot_be_read_is_named(place: Path, name: str, plant: Plant, commands: list[str], words: str) -> None:
    run, other = SweepDir(place / "runs" / "own"), SweepDir(place / "runs" / "other")
    plant(run.path / name, place / "canary")
    for command in commands:
        found = in_child(lambda: COMMANDS[command](run, other, place / "out"), place / "printed")  # noqa: B023
        assert words in found.printed.replace("\n", " "), f"{command}: {found.printed}"


@pytest.mark.parametrize("level", ["run", "runs", "above"])
def test_a_users_own_run_may_be_a_link_or_lie_below_one(place: Path, level: str) -> None:
    elsewhere = place / "elsewhere"
    elsewhere.mkdir()
    path = {"run": place / "runs" / "own", "runs": place / "runs", "above": place / "runs"}[level]
    shutil.move(path, elsewhere / path.name)
    path.symlink_to(elsewhere / path.name)
    if level == "above":
        (place / "home").symlink_to(place)
        place = place / "home"
    run, other = SweepDir(place / "runs" / "own"), SweepDir(place / "runs" / "other")
    for name, command in COMMANDS.items():
        found = in_child(lambda: command(run, other, place / "out"), place / "printed")  # noqa: B023
        assert found.code == 0, f"{name}: {found.printed}"
    assert list((run.path / "inbox").iterdir())


def test_a_foreign_configuration_of_the_projector_is_refused(place: Path) -> None:
    """It may name any file of this machine, and TensorBoard would show it."""
    run = SweepDir(place / "runs" / "own")
    label = next(run.tensorboard.glob("0000*"))
    (label / "projector_config.pbtxt").write_text('embeddings { tensor_path: "/etc/passwd" }')
    found = in_child(lambda: COMMANDS["tensorboard"](run, run, place), place / "printed")
    assert found.code == 2
    assert "projector_config.pbtxt: expected what sweeper writes there" in found.printed


@pytest.mark.parametrize(
    ("name", "plant"),
    [
        *(("trials/0000/checkpoints", plant) for plant in (planted.link_to_folder, planted.pipe, planted.nested)),
        *(("trials/0000/attempts/1/events.jsonl", plant) for plant in (planted.pipe, planted.link, planted.hole)),
        *(("trials/0000/trial.json", plant) for plant in (planted.endless, planted.link)),
        ("spec.json", planted.pipe),
    ],
    ids=lambda value: value.__name__ if callable(value) else str(value),
)
def test_nothing_is_derived_from_what_is_planted(place: Path, name: str, plant: Plant) -> None:
    run = SweepDir(place / "runs" / "own")
    plant(run.path / name, place / "canary")
    before = seen_in(place / "canary")
    found = in_child(lambda: main(["derive", str(run.path), "0", "lr=0.5", "--at", "5"]), place / "printed")
    assert found.code in (1, 2), found.printed
    assert "Traceback" not in found.printed, found.printed
    assert "4711" not in found.printed
    assert seen_in(place / "canary") == before
    assert not (run.path / "inbox").exists() or not list((run.path / "inbox").iterdir())
    subprocess.run(
        ["rm", "-rf", run.path], check=True
    )  # not shutil: the folders may be nested more deeply than its calls
