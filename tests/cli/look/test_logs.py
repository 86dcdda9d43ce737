"""`sweeper logs`, on the output of attempts, while they run and after."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sweeper.cli import main
from sweeper.record.storage.layout import SweepDir, write_json
from sweeper.record.storage.lease import acquire


@pytest.fixture
def run(tmp_path: Path) -> SweepDir:
    directory = SweepDir(tmp_path / "runs" / "s")
    for number, outputs in ((0, [b"first\n", b"\x1b[1msecond\xff"]), (1, [])):
        trial = directory.trial(number)
        trial.path.mkdir(parents=True)
        write_json(trial.facts, {"number": number})
        for index, output in enumerate(outputs, 1):
            trial.attempt(index).path.mkdir(parents=True)
            trial.attempt(index).output.write_bytes(output)
    write_json(directory.spec, {})
    return directory


def test_the_newest_attempt_is_printed_byte_for_byte(run: SweepDir, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["logs", str(run.path), "0"]) == 0
    assert capfdbinary.readouterr().out == b"\x1b[1msecond\xff"
    assert main(["logs", str(run.path), "0", "--attempt", "1"]) == 0
    assert capfdbinary.readouterr().out == b"first\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["0", "--attempt", "3"], "expected one from 1 to 2, got 3"),
        (["1"], "expected a trial that was started, got none"),
        (["2"], "expected the number of a trial (0 to 1), got 2"),
    ],
)
def test_what_is_not_there_is_said(
    run: SweepDir, arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["logs", str(run.path), *arguments]) == 2
    assert expected in capsys.readouterr().err


def test_following_ends_with_the_attempt_and_has_its_last_line(run: SweepDir) -> None:
    attempt = run.trial(0).attempt(2)
    lease = acquire(attempt.lease, holder="a worker")
    assert lease is not None
    command = [sys.executable, "-m", "sweeper.cli", "logs", "-f", str(run.path), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]) as follower:
        assert follower.stdout is not None
        before = attempt.output.read_bytes()
        assert follower.stdout.read(len(before)) == before
        assert follower.poll() is None
        with attempt.output.open("ab") as output:
            output.write(b"last\n")
        lease.release()
        assert follower.stdout.read() == b"last\n"
        assert follower.wait(30) == 0
