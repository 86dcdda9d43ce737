"""What a benchmark ran on, and where its table goes."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import os
import platform
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"
WIDTH = 110


def description() -> str:
    """Processor, cores, threads, device and versions, in one line."""
    device = f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}; " if torch.cuda.is_available() else ""
    cores = len(os.sched_getaffinity(0))
    return (
        f"{device}{_processor()}, {cores} cores, {torch.get_num_threads()} threads; torch {torch.__version__}, "
        f"Python {platform.python_version()}; load {os.getloadavg()[0]:.1f} at the start"
    )


def present(title: str, command: str, machine: str, tables: list[Table], *, save: str | None) -> None:
    """Print tables, and keep them as `benchmarks/results/<save>.md`."""
    text = io.StringIO()
    for console in (Console(width=WIDTH), Console(file=text, width=WIDTH)):
        for table in tables:
            console.print(table)
            console.print()
    if save is not None:
        RESULTS.mkdir(exist_ok=True)
        date = dt.datetime.now(tz=dt.UTC).date()
        head = f"# {title}\n\n    {command}\n\n{date}; {machine}\n\n"
        (RESULTS / f"{save}.md").write_text(f"{head}```\n{text.getvalue().rstrip()}\n```\n")


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """In a folder of its own, so that a trial's record goes there."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        yield


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
