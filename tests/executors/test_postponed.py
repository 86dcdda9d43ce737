"""A start that the system refuses for the moment is tried again, and said; any other failure is an error."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sweeper.executors import postponed
from sweeper.executors.executor import Slot
from sweeper.executors.local import LocalExecutor
from sweeper.record.storage.layout import TrialDir
from sweeper.worker.process import shim

Refuse = Callable[[int], None]
SLOT = Slot(name="cpu 0")


@pytest.fixture
def trial(tmp_path: Path) -> TrialDir:
    found = TrialDir(tmp_path / "0003")
    found.attempt(1).path.mkdir(parents=True)
    return found


class Ended:
    """A shim that has ended at once."""

    pid = 0

    def poll(self) -> int:
        return 0


def refusing(monkeypatch: pytest.MonkeyPatch, *errors: int) -> list[list[str]]:
    """Have the next starts of a process fail with these errors; returns the commands that were started."""
    left, started = list(errors), []

    def popen(command: list[str], **_: Any) -> Ended:
        if left:
            raise OSError(left.pop(0), "refused")
        started.append(command)
        return Ended()

    monkeypatch.setattr("sweeper.executors.local.subprocess.Popen", popen)
    monkeypatch.setattr(postponed, "RETRY_EVERY_S", 0.0)
    return started


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM, errno.EMFILE])
def test_a_start_that_fails_for_the_moment_is_tried_again_and_said_once(
    trial: TrialDir, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    started, executor = refusing(monkeypatch, number, number), LocalExecutor([SLOT])
    executor.launch(trial, 1, ["true"], SLOT)
    assert executor.is_alive(trial.attempt(1))
    assert not started
    assert executor.is_alive(trial.attempt(1))
    assert len(started) == 1
    assert list(executor.troubles()) == [
        "Trial 0003 cannot be started for the moment: refused; it is tried again every 0 s"
    ]


def test_an_attempt_that_is_stopped_while_it_waits_is_not_started(
    trial: TrialDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, executor = refusing(monkeypatch, errno.EAGAIN), LocalExecutor([SLOT])
    executor.launch(trial, 1, ["true"], SLOT)
    executor.stop(trial.attempt(1))
    assert not executor.is_alive(trial.attempt(1))
    assert not started


def test_any_other_failure_is_an_error(trial: TrialDir, monkeypatch: pytest.MonkeyPatch) -> None:
    refusing(monkeypatch, errno.E2BIG)
    with pytest.raises(OSError, match="refused"):
        LocalExecutor([SLOT]).launch(trial, 1, ["true"], SLOT)


SHIM = """
import os, sys
from pathlib import Path
from sweeper.record.storage.layout import TrialDir
from sweeper.worker.process import shim
errors = [int(word) for word in sys.argv[2].split()]
shim.START_PAUSES_S = (0.01, 0.01)
def start(*arguments):
    if errors:
        number = errors.pop(0)
        raise OSError(number, os.strerror(number))
    return shim.spawn(*arguments)
sys.exit(shim.run_attempt(TrialDir(Path(sys.argv[1])), 1, ["true"], start=start))
"""


@pytest.mark.parametrize(
    ("errors", "said", "recorded"),
    [
        ([errno.EAGAIN, errno.ENOMEM], "Cannot allocate memory; it is tried again in 0.01 s", True),
        ([errno.EAGAIN] * 3, "true: cannot be started: Resource temporarily unavailable", False),
        ([errno.ENOENT], "true: cannot be started: No such file or directory", True),
        ([errno.E2BIG], "are longer than Linux accepts together", True),
    ],
)
def test_a_shim_tries_again_and_records_no_end_of_a_worker_that_never_began(
    trial: TrialDir, errors: list[int], said: str, *, recorded: bool
) -> None:
    root = Path(shim.__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", SHIM, str(trial.path), " ".join(map(str, errors))],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, ()),
    )
    assert said in done.stderr
    assert trial.attempt(1).exit.exists() is recorded
