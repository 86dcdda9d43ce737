"""Feed generated sweep files to what `sweeper plan` and `sweeper run` do with one, and count what became of them.

    python -m tests.hostile.fuzz --files 100000      in this process
    python -m tests.hostile.fuzz --commands 300      each through the real command

It ends with 1 at the first traceback, at the first file that takes longer than `LIMIT_S`, at the first write outside
the folder that the run was given, and where a message holds what a terminal acts upon; the file is kept and named.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from sweeper.config import SweepSpec, load
from sweeper.errors import SweeperError
from sweeper.orchestrator.opening import open_run
from sweeper.orchestrator.search.proposals import Proposals
from sweeper.preflight.summary import preflight_text
from sweeper.record.storage import confined, layout
from sweeper.search import search_for
from sweeper.trainers import TRAINERS
from tests.hostile.sweep_files import hostile_files

LIMIT_S = 10
"""Of the processor, or a dozen times as long by the clock: a busy machine is no finding."""
BATCH = 1_000
MOST_MADE = 4
KNOWN = {name: trainer.defaults for name, trainer in TRAINERS.items()}
ROOT = Path(__file__).parents[2]
_MODES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod"}


class WroteOutside(BaseException):
    """Something was written where no run is; nothing on the way may catch it."""


class TookTooLong(BaseException):
    """A file held the program for longer than `LIMIT_S`."""


class Guard:
    """Sees every file that this process opens to write, makes, moves or removes, by Python's audit hook."""

    def __init__(self) -> None:
        self._allowed: Path | None = None
        sys.addaudithook(self._hook)

    @contextlib.contextmanager
    def only(self, folder: Path) -> Iterator[None]:
        """Writing is allowed below `folder` alone."""
        self._allowed = folder.resolve()
        try:
            yield
        finally:
            self._allowed = None

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._allowed is None:
            return
        if event == "open":
            path, mode, flags = arguments
            writes = bool(flags & _MODES) if isinstance(flags, int) else any(c in str(mode) for c in "wax+")
            # Python says no descriptor here: the functions that open files below an open folder have it.
            caller = sys._getframe(1)
            own = caller.f_globals.get("__name__") in (confined.__name__, layout.__name__)
            folders = [caller.f_locals["folder"]] if own and type(caller.f_locals.get("folder")) is int else []
            paths = [_below(folders, path)] if writes else []
        else:
            paths = [arguments[0], *arguments[1:2]] if event in _CHANGES else []
            # The last arguments are descriptors of the folders that relative paths start from; -1 is the current one.
            folders = [one for one in arguments[len(paths) :] if type(one) is int and one >= 0]
            with contextlib.suppress(OSError):
                paths = [_below(folders, path) for path in paths]
        for path in paths:
            if isinstance(path, str | bytes | os.PathLike) and not self._is_inside(os.fsdecode(path)):
                raise WroteOutside(f"{event}: {os.fsdecode(path)!r}")

    def _is_inside(self, path: str) -> bool:
        assert self._allowed is not None
        return Path(os.path.normpath(Path.cwd() / path)).is_relative_to(self._allowed) or path == os.devnull


def _below(folders: Sequence[int], path: object) -> object:
    """Return a path that starts from an open folder as a path from the root; another one as it is."""
    if not folders or not isinstance(path, str) or path.startswith("/"):
        return path
    return str(Path(f"/proc/self/fd/{folders[-1]}").readlink() / path)


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Ends what takes longer."""

    def late(_signal: int, _frame: FrameType | None) -> None:
        raise TookTooLong(f"longer than {seconds:g} s")

    limits = [
        (signal.SIGPROF, signal.ITIMER_PROF, seconds),
        (signal.SIGALRM, signal.ITIMER_REAL, 12 * seconds),
    ]
    before = {number: signal.signal(number, late) for number, _, _ in limits}
    for _, timer, limit in limits:
        signal.setitimer(timer, limit)
    try:
        yield
    finally:
        for number, timer, _ in limits:
            signal.setitimer(timer, 0)
            signal.signal(number, before[number])


def outcome(raw: bytes, folder: Path, guard: Guard, *, make: bool = False) -> str:
    """What becomes of a file: ``refused`` in words, or ``planned``; with `make` a small run of it is ``made``.

    Args:
        folder: an empty one; afterwards it is empty again.
        make: open the run and make its trials, where the sweep starts a command and is small.
    """
    path, runs = folder / "sweep.yaml", folder / "runs"
    path.write_bytes(raw)
    with guard.only(runs):
        try:
            text, became = _made(path, raw, runs) if make else (_planned(path)[1], "planned")
        except SweeperError as error:
            text, became = str(error), "refused"
    assert text
    assert_plain(text)
    shutil.rmtree(runs, ignore_errors=True)
    return became


def _planned(path: Path) -> tuple[SweepSpec, str]:
    spec = load(path, has_cuda=False, trainers=KNOWN)
    return spec, preflight_text(spec, examples=("the data", 2_034), against=[])


def _made(path: Path, raw: bytes, runs: Path) -> tuple[str, str]:
    spec, text = _planned(path)
    if spec.trainer is not None or not 0 < text.count("\n  ") <= MOST_MADE:
        return text, "planned"
    run = open_run(spec, text=raw, runs=runs, provenance=dict, say=lambda _: None)
    Proposals(run, search_for(spec)).initial([], [])
    run.lease.release()
    assert [path.name for path in runs.iterdir()] == [spec.name]
    return text, "made"


def assert_plain(text: str) -> None:
    """Nothing in the text makes a terminal act."""
    odd = {char for char in text if not (char.isprintable() or char == "\n")}
    assert not odd, f"{sorted(map(ascii, odd))} in {text[:300]!a}"


def by_command(raw: bytes, folder: Path) -> str:
    """What the real `sweeper plan` makes of a file."""
    path = folder / "sweep.yaml"
    path.write_bytes(raw)
    before = sorted(folder.iterdir())
    done = subprocess.run(
        [sys.executable, "-m", "sweeper.cli", "plan", "sweep.yaml"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode in (0, 2), f"exit code {done.returncode}: {done.stderr[-2000:]!r}"
    assert b"Traceback" not in done.stderr, done.stderr.decode(errors="replace")[-2000:]
    assert_plain((done.stdout + done.stderr).decode())
    assert sorted(folder.iterdir()) == before
    return "planned" if done.returncode == 0 else "refused"


def main() -> int:
    """Run the fuzzer; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=0, help="files for this process")
    parser.add_argument("--commands", type=int, default=0, help="instead: files for the real command, a process each")
    parser.add_argument("--seed", type=int, default=0)
    given_ = parser.parse_args()
    guard, counts, times = Guard(), Counter[str](), [0.0]
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)

        def one(raw: bytes) -> None:
            start = time.monotonic()
            if given_.commands:
                became = by_command(raw, folder)
            else:
                with within(LIMIT_S):
                    became = outcome(raw, folder, guard, make=counts.total() % 10 == 0)
            counts[became] += 1
            times.append(time.monotonic() - start)

        wanted, batch = given_.commands or given_.files, 0
        while counts.total() < wanted:
            batch += 1
            count = min(BATCH, wanted - counts.total())
            # A search that knows what it tried grows with it, so each batch is a search of its own.
            fuzz = seed(given_.seed * 1_000_000 + batch)(
                settings(
                    max_examples=count,
                    phases=[Phase.generate],
                    database=None,
                    report_multiple_bugs=False,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                )(given(raw=hostile_files)(one))
            )
            try:
                fuzz()
            except BaseException:
                kept = Path(tempfile.gettempdir()) / "fuzz-failure.yaml"
                shutil.copy(folder / "sweep.yaml", kept)
                print(f"file {counts.total() + 1} of seed {given_.seed}: kept as {kept}", file=sys.stderr)
                raise
            print(f"{counts.total():,} files: {_told(counts)}", file=sys.stderr, flush=True)
    took = time.monotonic() - begin
    print(
        f"{counts.total():,} files in {took:.0f} s: {_told(counts)}; no traceback, no write outside; "
        f"the slowest took {max(times):.2f} s"
    )
    return 0


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {became}" for became, count in sorted(counts.items()))


if __name__ == "__main__":
    sys.exit(main())
