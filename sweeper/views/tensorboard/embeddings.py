"""The test documents of the best trial, in TensorBoard's projector: a run of its own below that of the trial.

Of its own, because an open TensorBoard looks for projections only when it meets a run that it did not know. The files
are made aside and moved into place whole, what they were made from beside them, so that a call in vain costs a look.
`python -m sweeper.views.tensorboard.embeddings RUN` draws them; no trial waits for it.
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
from collections.abc import Sequence
from pathlib import Path

from google.protobuf import text_format
from tensorboard.plugins.projector.projector_config_pb2 import EmbeddingInfo, ProjectorConfig

from sweeper.errors import RecordError, SweeperError
from sweeper.record.ended import read_states
from sweeper.record.fold import State
from sweeper.record.storage.layout import EMBEDDING_METADATA, EMBEDDING_VECTORS, SweepDir, TrialDir
from sweeper.record.trial import Trial
from sweeper.results.markdown import escaped
from sweeper.results.ranking import ranked
from sweeper.results.wording import number, plain
from sweeper.views.tensorboard import summaries
from sweeper.views.tensorboard.projector import MOST_POINTS, Points

BUILT_IN = "sweeper.trainers.text_classification"
EMBEDDER = "sweeper.trainers.embeddings"
"""Modules that `python -m` runs: the trainer that keeps its best weights, and what makes vectors of them."""

RUN = "documents"
CONFIG = "projector_config.pbtxt"
SOURCE = "source.txt"
LEAST_PRIORITY = 19


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the documents of the best trial of a run; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m sweeper.views.tensorboard.embeddings", description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="directory of the sweep")
    run = SweepDir(parser.parse_args(arguments).run)
    try:
        project_embeddings(run)
    except (SweeperError, OSError) as error:
        sys.stderr.write(f"sweeper views: the projector has no documents: {plain(error)}\n")
        return 2
    return 0


def project_embeddings(run: SweepDir) -> Path | None:
    """Bring the projector up to the record: the folder of the best trial's documents, None where it offers none.

    Raises:
        SweeperError: they cannot be made; the text says why.
    """
    trial = best_of(read_states(run)[0])
    offered = None if trial is None else _offered(trial)
    final = None if trial is None or offered is None else run.tensorboard / trial.facts.label / RUN
    for other in run.tensorboard.glob(f"*/{RUN}"):
        if other != final:
            shutil.rmtree(other, ignore_errors=True)
    if trial is None or offered is None or final is None or _is_current(final, offered):
        return final
    with tempfile.TemporaryDirectory(prefix=".documents-", dir=run.path) as aside:
        made = Path(aside) / RUN
        made.mkdir()
        _make(trial, made)
        (made / SOURCE).write_text(offered, encoding="utf-8", errors="surrogateescape")
        final.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(final, ignore_errors=True)
        with contextlib.suppress(FileExistsError):  # who draws beside us draws the same
            made.rename(final)
    return final


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """The best trial that is complete."""
    complete = [trial for trial in trials if trial.state is State.COMPLETE and trial.value is not None]
    return ranked(complete)[0] if complete else None


def _offered(trial: Trial) -> str | None:
    """What its documents would be made from, as a text that differs when they may; None where it offers nothing."""
    folder = trial.directory.embeddings
    if not folder.is_dir():
        folder = trial.directory.best
        if BUILT_IN not in trial.facts.command or not folder.is_dir():
            return None
    stats = [(path.name, path.stat()) for path in sorted(folder.iterdir()) if path.is_file()]
    lines = [f"{name} {stat.st_size} {stat.st_mtime_ns}\n" for name, stat in stats]
    return "".join([f"{folder.name} {trial.control.attempt}\n", *lines])


def _is_current(final: Path, offered: str) -> bool:
    try:
        return (final / SOURCE).read_text(encoding="utf-8", errors="surrogateescape") == offered
    except OSError:
        return False


def _make(trial: Trial, folder: Path) -> None:
    source = trial.directory.embeddings
    if not source.is_dir():
        _embed(trial.directory, folder)
        source = folder
    points = Points.read(source).thinned(MOST_POINTS)
    points.write(folder)
    info = EmbeddingInfo(tensor_name=RUN, tensor_path=EMBEDDING_VECTORS, metadata_path=EMBEDDING_METADATA)
    config = text_format.MessageToString(ProjectorConfig(embeddings=[info]))
    (folder / CONFIG).write_text(config, encoding="ascii")
    now = time.time()
    event = summaries.text("documents", _text(trial, points), step=0, time=now)
    framed = summaries.framed(summaries.file_version(now)) + summaries.framed(event)
    (folder / "events.out.tfevents.0000000001.sweeper").write_bytes(framed)


def _embed(trial: TrialDir, folder: Path) -> None:
    """Have the weights that the built-in trainer kept place its test documents."""
    command = [sys.executable, "-m", EMBEDDER, str(trial.path), str(folder)]
    done = subprocess.run(
        command,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise RecordError(f"trial {trial.path.name}: {lines[-1] if lines else f'exit code {done.returncode}'}")


def _text(trial: Trial, points: Points) -> str:
    facts = trial.facts
    return (
        f"{len(points.lines)} documents, where trial {facts.number:04d} places them in {points.vectors.shape[1]} "
        f"dimensions: the best that is complete ({escaped(facts.metric)} {number(trial.value)}). They are shown by "
        "**Projector**; color them by one of their columns.\n"
    )


if __name__ == "__main__":
    os.nice(LEAST_PRIORITY)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # an exception, so that nothing that it started goes on
    sys.exit(main())
