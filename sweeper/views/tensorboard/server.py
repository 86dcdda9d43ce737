"""Serve a run with TensorBoard, in this process; its first page compares the runs."""

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
    """Serve until Ctrl-C or SIGTERM; write the documents of the best trial meanwhile. Return the exit code.

    Args:
        port: None for the first free port from 6006 on, 0 for any free port.
    """
    tensorboard = program.TensorBoard(_plugins())
    given = [] if port is None else ["--port", str(port)]
    tensorboard.configure(
        ["tensorboard", "--logdir", str(run.tensorboard), "--host", host, *given, "--samples_per_plugin", SAMPLES]
    )
    with _embeddings_of(run):
        code: int = tensorboard.main()
    return code


def _plugins() -> list[object]:
    """Return TensorBoard's plugins, "Custom Scalars" with our layout first, because the first tab is opened."""
    return sorted(default.get_plugins(), key=lambda plugin: plugin is not CustomScalarsPlugin)


@contextlib.contextmanager
def _embeddings_of(run: SweepDir) -> Iterator[None]:
    """Run a process that writes the embeddings, in its own process group so that Ctrl-C does not reach it.

    On exit, the whole group is terminated, which includes a subprocess that is just being started.
    """
    command = [sys.executable, "-m", "sweeper.views.tensorboard.embeddings", str(run.path)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)  # safe: the pid cannot be reused before wait()
        process.wait()
