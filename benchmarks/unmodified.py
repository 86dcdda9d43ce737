"""What `watch: auto` costs an unmodified script; the tables of `python benchmarks/watch.py --unmodified`.

1. *Each step*: hooks, and the loss at `.backward()`. It does not depend on the model, so a tiny one is trained, in one
   process, first watched with no step observed, then with the watch closed. Two processes cannot be compared: on the
   machine of the kept table, the same script differed by 20% from process to process.
2. *An observation*: as with the lines for sweeper, which `paid` in `benchmarks/watch.py` measures.
3. *The start* of `python -c pass`, with and without the injection, as wall time, in turns.

A share is the first and a tenth of the second, over a step without either. All but the start is CPU time on one core.
"""

from __future__ import annotations

import gc
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from sweeper.record.facts import Facts
from sweeper.record.storage.layout import ATTEMPT, TRIAL_DIR, TrialDir, write_json
from sweeper.worker.process.injection import injected

ROOT = Path(__file__).parents[1]
BLOCKS, STEPS = 20, 500
"""Number of blocks, watched and not, and the number of steps in one."""
STARTS = 60


def unmodified(paid: Mapping[str, tuple[float, float]]) -> list[Table]:
    """Return the tables.

    Args:
        paid: for each training, the CPU seconds of a step and of an observation.
    """
    watched, bare = _of_a_step()
    steps = Table(
        title=f"A step of a tiny model; microseconds of CPU time, medians of {BLOCKS} blocks of {STEPS} steps"
    )
    for name in ("without the watch", "watch: auto, not observed", "difference"):
        steps.add_column(name, justify="right")
    steps.add_row(f"{bare * 1e6:.1f}", f"{watched * 1e6:.1f}", f"{(watched - bare) * 1e6:+.1f}")
    shares = Table(title="What an unmodified script pays, at an observation every tenth step")
    for name in ("", "step, ms", "an observation, ms", "share of each step", "share of observations", "together"):
        shares.add_column(name, justify="right" if name else "left")
    for name, (step, observation) in paid.items():
        each, observed = (watched - bare) / step, observation / (10 * step)
        cells = (
            f"{step * 1e3:.3f}",
            f"{observation * 1e3:.3f}",
            f"{each:.2%}",
            f"{observed:.2%}",
            f"{each + observed:.2%}",
        )
        shares.add_row(name, *cells)
    return [steps, shares, _start_up()]


def _of_a_step() -> tuple[float, float]:
    """Return the CPU seconds of a step with the watch, and without."""
    with _environment(watched=True) as environment:
        command = [sys.executable, "-m", "benchmarks.unmodified"]
        one_core = {**environment, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=ROOT, env=one_core, stdout=subprocess.PIPE, text=True, check=True)
    watched, bare = map(float, done.stdout.split())
    return watched, bare


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


def train() -> None:
    """In the process that is watched: print the CPU seconds of a step with the watch, and without."""
    import torch

    from sweeper.auto import training

    training.EVERY = sys.maxsize  # the first step only
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    x = torch.randn(8, 4)

    def block() -> float:
        begin = time.process_time()
        for _ in range(STEPS):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()
        return (time.process_time() - begin) / STEPS

    def median() -> float:
        block()
        return statistics.median(block() for _ in range(BLOCKS))

    watched = median()
    (watch,) = [found for found in gc.get_objects() if type(found) is training.Training]
    watch.close()
    sys.stdout.write(f"{watched} {median()}\n")


if __name__ == "__main__":
    train()
