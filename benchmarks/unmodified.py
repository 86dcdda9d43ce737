"""What `watch: auto` costs an unmodified script; the table of `python benchmarks/watch.py --unmodified`.

Three processes train the same model in cycles of ten steps, one of them observed: bare, with the lines for sweeper
(`watch`, and a `report` of the loss at each step), and automatically. They take turns, so that a busy machine slows all
of them. All times are CPU times on one core.

The start-up is that of `python -c pass` with and without the injection, as wall time, in turns.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from sweeper.record.facts import Facts
from sweeper.record.storage.layout import ATTEMPT, TRIAL_DIR, TrialDir, write_json
from sweeper.worker.process.injection import injected

ROOT = Path(__file__).parents[1]
BARE, LINES, AUTO = KINDS = ("bare", "lines", "auto")
CYCLE = 10
WARM_UP = 6
"""Cycles before the first that is measured: the first five observations check more than later ones."""
LEAST_CYCLES, LEAST_SECONDS = 12, 4.0
STARTS = 40


def unmodified(names: Sequence[str]) -> list[Table]:
    """Return the tables of training and of starting.

    Args:
        names: the names of the trainings in `benchmarks.watch.PAID`.
    """
    table = Table(title="An unmodified script, on one core; CPU time, medians of cycles of ten steps")
    for name in ("", "bare step, ms", "lines for sweeper", "watch: auto", "auto over lines", "cycles"):
        table.add_column(name, justify="right" if name else "left")
    for name in names:
        bare, lines, auto, count = _measured(name)
        shares = (f"{lines / bare - 1:+.2%}", f"{auto / bare - 1:+.2%}", f"{auto / lines - 1:+.2%}")
        table.add_row(name, f"{bare / CYCLE * 1e3:.3f}", *shares, str(count))
    return [table, _start_up()]


def _measured(name: str) -> tuple[float, float, float, int]:
    times: list[tuple[float, float, float]] = []
    with ExitStack() as stack:
        bare, lines, auto = (stack.enter_context(_process(name, kind)) for kind in KINDS)
        for _ in range(WARM_UP):
            for cycle in (bare, lines, auto):
                cycle()
        while len(times) < LEAST_CYCLES or sum(map(sum, times)) < 3 * LEAST_SECONDS:
            times.append((bare(), lines(), auto()))
    first, second, third = (statistics.median(column) for column in zip(*times, strict=True))
    return first, second, third, len(times)


@contextmanager
def _process(name: str, kind: str) -> Iterator[Callable[[], float]]:
    """Start a process that trains, and return the function that lets it train for a cycle."""
    with _environment(watched=kind == AUTO) as environment:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.unmodified", kind, name],
            cwd=ROOT,
            env={**environment, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with process:
            assert process.stdin is not None  # noqa: S101 - it is a pipe
            assert process.stdout is not None  # noqa: S101
            stdin, stdout = process.stdin, process.stdout

            def cycle() -> float:
                stdin.write("\n")
                stdin.flush()
                return float(stdout.readline())

            yield cycle
            stdin.close()


@contextmanager
def _environment(*, watched: bool) -> Iterator[dict[str, str]]:
    """The environment of a worker, with a trial to record to."""
    with tempfile.TemporaryDirectory() as folder:
        trial = TrialDir(Path(folder) / "0000")
        trial.attempt(1).path.mkdir(parents=True)
        facts = Facts(
            number=0, configuration=0, seed=0, params={}, shown={}, command=[], metric="loss/train", maximize=False
        )
        write_json(trial.facts, {"format": 2, **asdict(facts)})
        environment = {**os.environ, TRIAL_DIR: str(trial.path), ATTEMPT: "1", "PYTHONPATH": str(ROOT)}
        yield injected(environment) if watched else environment


def _start_up() -> Table:
    table = Table(title=f"The start of a process without torch; milliseconds of wall time, medians of {STARTS}")
    for name in ("`python -c pass`", "with watch: auto", "difference"):
        table.add_column(name, justify="right")
    with _environment(watched=False) as plain, _environment(watched=True) as watched:
        times = [(_start(plain), _start(watched)) for _ in range(STARTS)]
    first, second = (statistics.median(column) * 1e3 for column in zip(*times, strict=True))
    table.add_row(f"{first:.1f}", f"{second:.1f}", f"{second - first:+.1f}")
    return table


def _start(environment: dict[str, str]) -> float:
    begin = time.monotonic()
    subprocess.run([sys.executable, "-c", "pass"], env=environment, check=True)
    return time.monotonic() - begin


# ---- in the processes that train -------------------------------------------------------------------------------------


def train(kind: str, name: str) -> None:
    """Train for a cycle for each line of standard input, and print the CPU seconds."""
    import torch
    from torch.nn.functional import cross_entropy

    from benchmarks.watch import PAID

    torch.manual_seed(0)
    model, batch = next(case for case in PAID if case.name == name).model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    labels = torch.arange(len(batch)) % 4
    trial: Any = None
    if kind == LINES:
        import sweeper

        trial = sweeper.start()
        trial.watch(model, optimizer)
    for _ in sys.stdin:
        begin = time.process_time()
        for _ in range(CYCLE):
            out: Any = model(batch)
            loss = cross_entropy(getattr(out, "logits", out), labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if trial is not None:
                trial.report({"loss/train": loss}, step=trial.next_step - 1)
        sys.stdout.write(f"{time.process_time() - begin}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    train(*sys.argv[1:])
