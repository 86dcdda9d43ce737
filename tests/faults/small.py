"""Small sweeps and small disks for the tests of what goes wrong."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweeper.cli import main
from sweeper.record.storage.claim import owner_of
from sweeper.record.storage.layout import SweepDir
from tests.end_to_end.test_sweeps import Sweep

PATIENCE_S = 240.0
VALUES = [820.0, 1640.0]
"""What the two trials of `tests.end_to_end.test_sweeps.LEARNER` are worth when nothing goes wrong."""
UNBINDABLE = "203.0.113.1"
"""An address of no machine (RFC 5737): TensorBoard draws what there is, and then cannot listen."""


class Patient(Sweep):
    """A sweep on a machine that is busy with other things."""

    @property
    def run_dir(self) -> SweepDir:
        return SweepDir(self.run_directory)

    def call(self, *arguments: str) -> tuple[int, str, str]:
        process = self.start(*arguments)
        try:
            out, err = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
        assert "Traceback" not in err, err  # `why` may quote that of a training script on standard output
        return process.returncode, out, err

    def calls_of_all_kinds(self) -> dict[str, tuple[int, str, str]]:
        """What every command that reads the run says; none of them with a traceback."""
        run = str(self.run_directory)
        answers = {
            "status": says("status", run),
            "json": says("status", run, "--json"),
            "why": says("why", run, "0"),
            "why of the other": says("why", run, "1"),
            "backtest": says("backtest", run),
            # It ends as another program, so it cannot be asked in this process.
            "tensorboard": self.call("tensorboard", run, "--host", UNBINDABLE, "--port", "0"),
        }
        for name, (code, out, err) in answers.items():
            assert code in (0, 1, 2), (name, code, out, err)
            assert code == 0 or err.strip(), (name, code, out, err)
        return answers


def says(*arguments: str) -> tuple[int, str, str]:
    """What the command line answers, in this process: an exception would be the test's."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = main(arguments)
    return code, out.getvalue(), err.getvalue()


@contextlib.contextmanager
def tmpfs(point: Path, size: str) -> Iterator[Path]:
    """A disk of a given size at `point`; skips the test where mounting is not allowed."""
    point.mkdir(parents=True, exist_ok=True)
    mount("-t", "tmpfs", "-o", f"size={size}", "none", str(point))
    try:
        yield point
    finally:
        subprocess.run(["umount", "-l", str(point)], check=True)


def mount(*arguments: str) -> None:
    """mount(8), or the reason to skip: it wants root, and a container has to allow it."""
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")


def fill(folder: Path) -> Path:
    """A file that takes all the room that is left on the disk of `folder`."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 12))
    return filler


def kill_attempts(run: SweepDir) -> None:
    """What a power cut does to the attempts of a run: SIGKILL to shims and workers, which write nothing any more."""
    for trial in run.trials():
        for attempt in trial.attempts():
            shim: Any = owner_of(attempt).get("pid")
            if isinstance(shim, int) and not attempt.exit.exists():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(shim, signal.SIGKILL)
