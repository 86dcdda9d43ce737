"""TensorBoard on a run, in this process, opened on the page where the runs are compared."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

from tensorboard import default, program
from tensorboard.plugins.custom_scalar.custom_scalars_plugin import CustomScalarsPlugin

from sweeper.record.storage.layout import SweepDir

SAMPLES = "images=10000,histograms=10000,scalars=10000,text=1000,hparams=1000"


def serve(run: SweepDir, *, host: str, port: int | None) -> int:
    """Serve until Ctrl-C or SIGTERM; the documents of the best trial are drawn meanwhile. Returns the exit code.

    Args:
        port: None for the first that is free from 6006 on, 0 for any.
    """
    board = program.TensorBoard(_plugins())
    given = [] if port is None else ["--port", str(port)]
    board.configure(
        ["tensorboard", "--logdir", str(run.tensorboard), "--host", host, *given, "--samples_per_plugin", SAMPLES]
    )
    with _embeddings_of(run):
        code: int = board.main()
    return code


def _plugins() -> list[object]:
    """TensorBoard's own, the one that shows our layout first: their order is that of the tabs, and the first opens."""
    return sorted(default.get_plugins(), key=lambda plugin: plugin is not CustomScalarsPlugin)


@contextlib.contextmanager
def _embeddings_of(run: SweepDir) -> Iterator[None]:
    """A process that draws them; it does not outlive this one. A terminal's Ctrl-C is none of its business.

    Its whole group is ended: one that it is about to start is in there before it knows its number.
    """
    command = [sys.executable, "-m", "sweeper.views.tensorboard.embeddings", str(run.path)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)  # no other has its number: it has not been waited for
        process.wait()
