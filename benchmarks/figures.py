"""Measure what the pictures of a trial cost, by its numbers of layers and observations; `--png DIR` keeps them.

    OMP_NUM_THREADS=1 python benchmarks/figures.py [--png DIR]

The models are made up: blocks of six layers, with gradients that fade towards the input from the middle of the trial.
The first frame of a model also draws what stays still; the median of the later ones is what a trial goes on to cost.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from sweeper.record.events import Observation, Watching
from sweeper.record.storage.layout import AttemptDir
from sweeper.record.values.depth_profile import STATISTICS, depth_profile, reach
from sweeper.views.figures.history import DepthHistory, RecordedObservation
from sweeper.views.figures.stop_mark import StopMark
from sweeper.views.figures.trial_figures import TrialFigures

EVERY = 10
FRAMES = 9
CASES = ((12, 64), (75, 64), (75, 10_000), (300, 10_000))
BLOCK = ("attention.query", "attention.key", "attention.value", "attention.output", "up", "down")


def main() -> None:
    """Print a line a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--png", type=Path)
    options = parser.parse_args()
    print("layers   observed  pictures                    first frame  later   kB  reading the history")
    for layers, count in CASES:
        with tempfile.TemporaryDirectory() as folder:
            measure(model(layers), count, AttemptDir(Path(folder) / "1"), options.png)


def measure(seen: Watching, count: int, attempt: AttemptDir, png: Path | None) -> None:
    """Record a trial of `count` observations, and draw its last one several times."""
    observations = record(seen, count, attempt)
    tracemalloc.start()
    begin, history = time.perf_counter(), DepthHistory()
    for observation in observations:
        history.add(RecordedObservation(observation, seen, attempt))
    profiles = [one.profile for one in history.observations()]
    seconds, memory = time.perf_counter() - begin, tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    said = f"{seconds:.2f} s, keeps {len(profiles)} columns, {memory / 2**20:.1f} MiB"
    newest, figures = history.observations()[-1], TrialFigures()
    mark = StopMark(step=newest.observation.step, rule="stalled", threshold=0.005, window=())
    kinds: dict[str, Callable[[], Mapping[str, bytes]]] = {
        "gradients, update ratios": lambda: figures.draw(seen, newest.statistics() or {}, newest.observation),
        "depth profile": lambda: figures.draw_history(seen, history, mark),
    }
    for kind, draw in kinds.items():
        first, pictures = timed(draw)
        later = statistics.median(timed(draw)[0] for _ in range(FRAMES))
        size = sum(map(len, pictures.values())) / 1000
        print(f"{len(seen.layers):6}  {observations:6}  {kind:26}  {first:9.2f} s  {later:.3f}  {size:3.0f}  {said}")
        for tag, data in pictures.items():
            if png is not None:
                (png / f"{len(seen.layers)}-{observations}-{tag.replace(' ', '-')}.png").write_bytes(data)


def model(layers: int) -> Watching:
    """So many layers, a tensor each."""
    names = tuple(f"encoder.layer.{index // len(BLOCK)}.{BLOCK[index % len(BLOCK)]}" for index in range(layers))
    return Watching(
        layers=names,
        tensors=tuple(f"{name}.weight" for name in names),
        sizes=(64,) * layers,
        layer_of=tuple(range(layers)),
        statistics=STATISTICS,
        every=EVERY,
    )


def record(seen: Watching, rows: int, attempt: AttemptDir) -> list[Observation]:
    """Write the rows of a trial, and return its observations."""
    count, noise = len(seen.tensors), np.random.default_rng(0)
    observations: list[Observation] = []
    depth = 1 - np.arange(count) / count
    attempt.path.mkdir()
    with attempt.layers.open("wb") as file:
        for row in range(rows):
            fade = 6 * min(1.0, max(0.0, row / rows - 0.4) / 0.2)
            mean = 10 ** (-3 - fade * depth + 0.3 * noise.standard_normal(count))
            columns = (mean, 40 * mean, 1.7 * mean, 0 * mean, 8 * mean, 1 + 0 * mean, 3 * mean, 3 * mean)
            file.write(np.stack(columns, axis=1).astype("<f4").tobytes())
            arrives = reach(depth_profile((8 * mean).tolist(), seen.sizes, seen.layer_of, count))
            ratio = float(np.median(3 * mean))
            observations.append(
                Observation(step=EVERY * row, row=row, reach=arrives, update_ratio=ratio, learning_rate=1e-3)
            )
    return observations


def timed(draw: Callable[[], Mapping[str, bytes]]) -> tuple[float, Mapping[str, bytes]]:
    """Seconds, and what was drawn."""
    begin = time.perf_counter()
    pictures = draw()
    return time.perf_counter() - begin, pictures


if __name__ == "__main__":
    main()
