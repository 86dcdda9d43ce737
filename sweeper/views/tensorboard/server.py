"""Serve a run with TensorBoard, in this process; its first page compares the runs."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tensorboard import default, program
from tensorboard.plugins.custom_scalar.custom_scalars_plugin import CustomScalarsPlugin

from sweeper.errors import RecordError
from sweeper.record.interpreter import isolated_python
from sweeper.record.storage import confined
from sweeper.record.storage.layout import SweepDir
from sweeper.views.tensorboard.embeddings import CONFIG, configuration

SAMPLES = "images=10000,histograms=10000,scalars=10000,text=1000,hparams=1000"


def serve(run: SweepDir, *, host: str, port: int | None) -> int:
    """Serve until Ctrl-C or SIGTERM; write the documents of the best trial meanwhile. Return the exit code.

    Args:
        port: None for the first free port from 6006 on, 0 for any free port.

    Raises:
        RecordError: the folder of the TensorBoard runs has something that TensorBoard must not open.
    """
    check_folder(run)
    tensorboard = program.TensorBoard(_plugins())
    given = [] if port is None else ["--port", str(port)]
    tensorboard.configure(
        ["tensorboard", "--logdir", str(run.tensorboard), "--host", host, *given, "--samples_per_plugin", SAMPLES]
    )
    with _embeddings_of(run):
        code: int = tensorboard.main()
    return code


def check_folder(run: SweepDir) -> None:
    """Refuse what TensorBoard would follow out of the run or wait for, and what would have it open any other file.

    TensorBoard opens whatever it finds below its folder, and every file that a projector's configuration names.

    Raises:
        RecordError: there is a link, a pipe, a socket or a device, or a configuration that sweeper did not write.
    """
    folders = [run.tensorboard]
    while folders:
        folder = folders.pop()
        try:
            with confined.folder(folder, root=run.path) as fd, os.scandir(fd) as found:
                entries = [(entry.name, entry.is_dir(follow_symlinks=False), _is_file(entry)) for entry in found]
        except FileNotFoundError:
            continue
        except OSError as error:
            raise RecordError(f"{folder}: {error.strerror}; {_REMEDY}") from error
        for name, is_folder, is_file in entries:
            if is_folder:
                folders.append(folder / name)
            elif not is_file:
                raise RecordError(f"{folder / name}: expected a file, got a link, a pipe or a device; {_REMEDY}")
            elif name == CONFIG and not _is_own(folder / name, run):
                raise RecordError(f"{folder / name}: expected what sweeper writes there; {_REMEDY}")


_REMEDY = "remove the folder of the TensorBoard runs: it is drawn anew from the record"


def _is_file(entry: os.DirEntry[str]) -> bool:
    return entry.is_file(follow_symlinks=False)


def _is_own(path: Path, run: SweepDir) -> bool:
    expected = configuration().encode()
    try:
        return confined.read_bytes(path, root=run.path, most=len(expected)) == expected
    except OSError:
        return False


def _plugins() -> list[object]:
    """Return TensorBoard's plugins, "Custom Scalars" with our layout first, because the first tab is opened."""
    return sorted(default.get_plugins(), key=lambda plugin: plugin is not CustomScalarsPlugin)


@contextlib.contextmanager
def _embeddings_of(run: SweepDir) -> Iterator[None]:
    """Run a process that writes the embeddings, in its own process group so that Ctrl-C does not reach it.

    On exit, the whole group is terminated, which includes a subprocess that is just being started.
    """
    command = [*isolated_python(), "-m", "sweeper.views.tensorboard.embeddings", str(run.path)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)  # safe: the pid cannot be reused before wait()
        process.wait()
