"""Show the test documents of the best trial in TensorBoard's projector, as a separate run below that of the trial.

The run is separate because an open TensorBoard looks for projections only when it discovers a new run. The files are
written to a temporary folder and then moved into place. A file beside them records what they were made from, so that
a call without anything new is cheap. `python -m sweeper.views.tensorboard.embeddings RUN` writes them; no trial waits
for it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import stat
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
from sweeper.record.interpreter import isolated_python
from sweeper.record.storage import confined
from sweeper.record.storage.layout import EMBEDDING_METADATA, EMBEDDING_VECTORS, SweepDir, TrialDir
from sweeper.record.trial import State, TrialRecord
from sweeper.results.ranking import ranked
from sweeper.results.wording import number, plain
from sweeper.views.tensorboard import summaries
from sweeper.views.tensorboard.markdown import escaped
from sweeper.views.tensorboard.projector import MOST_POINTS, EmbeddingPoints

BUILT_IN = "sweeper.trainers.text_classification"
EMBEDDER = "sweeper.trainers.embeddings"
"""Modules run by `python -m`: the trainer that saves its best weights, and the module that embeds documents with them.
"""

RUN = "documents"
CONFIG = "projector_config.pbtxt"
SOURCE = "source.txt"
LEAST_PRIORITY = 19


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the documents of the best trial of a run. Return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m sweeper.views.tensorboard.embeddings", description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="directory of the sweep")
    run = SweepDir(parser.parse_args(arguments).run)
    try:
        project_embeddings(run)
    except (SweeperError, OSError) as error:
        sys.stderr.write(f"sweeper views: cannot show documents in the projector: {plain(error)}\n")
        return 2
    return 0


def project_embeddings(run: SweepDir) -> Path | None:
    """Write the documents of the best trial if they have changed, and delete those of other trials.

    Returns:
        The folder of the documents; None if the best trial has none.

    Raises:
        SweeperError: the documents cannot be embedded.
    """
    trial = best_of(read_states(run)[0])
    offered = None if trial is None else _offered(trial)
    final = None if trial is None or offered is None else run.tensorboard / trial.facts.label / RUN
    for label in confined.listed(run.tensorboard, root=run.path):
        if (other := run.tensorboard / label / RUN) != final:
            with contextlib.suppress(OSError):
                confined.remove_folder(other, root=run.path)
    if trial is None or offered is None or final is None or _is_current(run, final, offered):
        return final
    with tempfile.TemporaryDirectory(prefix=".documents-", dir=run.path) as aside:
        made = Path(aside) / RUN
        made.mkdir()
        _make(trial, made)
        (made / SOURCE).write_text(offered, encoding="utf-8", errors="surrogateescape")
        with confined.folder(final.parent, root=run.path, make=True) as folder:
            confined.remove_folder(final, root=run.path)
            with contextlib.suppress(FileExistsError):  # another process has written the same files
                os.rename(made, RUN, dst_dir_fd=folder)
    return final


def best_of(trials: Sequence[TrialRecord]) -> TrialRecord | None:
    """Return the best complete trial; None without any."""
    complete = [trial for trial in trials if trial.state is State.COMPLETE and trial.value is not None]
    return ranked(complete)[0] if complete else None


def _offered(trial: TrialRecord) -> str | None:
    """Return a text that identifies the files that the documents are made from; None if the trial has none.

    Raises:
        RecordError: one of them is a link, a pipe or a device.
    """
    folder = trial.directory.embeddings
    if not folder.is_dir():
        folder = trial.directory.best
        if BUILT_IN not in trial.facts.command or not folder.is_dir():
            return None
    stats = []
    for name in confined.listed(folder):
        found = (folder / name).lstat()
        if stat.S_ISREG(found.st_mode):
            stats.append((name, found))
        elif not stat.S_ISDIR(found.st_mode):
            raise RecordError(f"{folder / name}: expected a file, got a link or something else")
    lines = [f"{name} {found.st_size} {found.st_mtime_ns}\n" for name, found in stats]
    return "".join([f"{folder.name} {trial.newest.number}\n", *lines])


def _is_current(run: SweepDir, final: Path, offered: str) -> bool:
    try:
        return confined.read_bytes(final / SOURCE, root=run.path).decode(errors="surrogateescape") == offered
    except OSError:
        return False


def _make(trial: TrialRecord, folder: Path) -> None:
    source = trial.directory.embeddings
    if not source.is_dir():
        _embed(trial.directory, folder)
        source = folder
    points = EmbeddingPoints.read(source).thinned(MOST_POINTS)
    points.write(folder)
    (folder / CONFIG).write_text(configuration(), encoding="ascii")
    now = time.time()
    event = summaries.text("documents", _text(trial, points), step=0, time=now)
    framed = summaries.framed(summaries.file_version(now)) + summaries.framed(event)
    (folder / "events.out.tfevents.0000000001.sweeper").write_bytes(framed)


def configuration() -> str:
    """Return the configuration of TensorBoard's projector: where, in the same folder, the documents are."""
    info = EmbeddingInfo(tensor_name=RUN, tensor_path=EMBEDDING_VECTORS, metadata_path=EMBEDDING_METADATA)
    return str(text_format.MessageToString(ProjectorConfig(embeddings=[info])))


def _embed(trial: TrialDir, folder: Path) -> None:
    """Embed the test documents with the weights that the built-in trainer saved."""
    command = [*isolated_python(), "-m", EMBEDDER, str(trial.path), str(folder)]
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


def _text(trial: TrialRecord, points: EmbeddingPoints) -> str:
    facts = trial.facts
    which = "best complete trial" if not facts.objectives else "trial of the Pareto front with the best first objective"
    return (
        f"{len(points.lines)} documents, embedded by trial {facts.number:04d} in {points.vectors.shape[1]} dimensions. "
        f"It is the {which} ({escaped(facts.metric)} {number(trial.value)}). Open the **Projector** tab to "
        "see them, and color them by one of their columns.\n"
    )


if __name__ == "__main__":
    os.nice(LEAST_PRIORITY)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # an exception also ends the subprocess
    sys.exit(main())
