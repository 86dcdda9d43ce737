"""TensorBoard on a run, as `sweeper tensorboard` starts it, in a process of its own."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

from sweeper.record.storage.layout import SweepDir

PATIENCE_S = 100.0


@contextlib.contextmanager
def served_tensorboard(run: SweepDir) -> Iterator[str]:
    """Its address, as it says it; the process is ended afterwards. It is started from where `runs/` is."""
    home = run.path.parents[1]
    command = [sys.executable, "-m", "sweeper.cli", "tensorboard", str(run.path.relative_to(home)), "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=home)
    assert process.stderr is not None
    try:
        url = ""
        while not url:
            line = process.stderr.readline()
            assert line, "TensorBoard did not say where it listens"
            url = next((word for word in line.split() if word.startswith("http://127.0.0.1:")), "")
        yield url
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_S)


def fetched(url: str, path: str, **query: str) -> bytes:
    """What it answers."""
    asked = f"{url}data/{path}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(asked, timeout=PATIENCE_S) as answer:  # noqa: S310 - loopback
        found: bytes = answer.read()
    return found


def asked(url: str, path: str, **query: str) -> Any:
    """The JSON that it answers."""
    return json.loads(fetched(url, path, **query))


def until(holds: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """Wait until TensorBoard has read what is there."""
    end = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < end, "TensorBoard did not come to show it"
        time.sleep(0.1)
