"""Check whether this machine is ready for a sweep (`sweeper doctor`); nothing is left on the disk."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path

from sweeper.executors.gpus.devices import cores, cuda_devices
from sweeper.record.interpreter import isolated_python
from sweeper.record.storage import filesystem
from sweeper.record.storage.layout import SweepDir
from sweeper.record.storage.lease import acquire, is_held
from sweeper.results.wording import counted

LEAST_FREE_GB = 5.0
LEAST_FILES = 1024
TENSORBOARD_PORT = 6006
TORCH_S = 120.0
"""Time limit for importing torch, long enough for a slow disk."""

_TORCH = """
import torch
print(torch.__version__, torch.version.cuda or "-", torch.cuda.is_available(), torch.cuda.device_count())
"""


class Level(StrEnum):
    """How serious the result of a check is."""

    OK = "ok"
    NOTE = "note"
    TROUBLE = "trouble"


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineCheck:
    """The result of one check; `advice` says what to do about a problem."""

    subject: str
    level: Level
    text: str
    advice: str = ""


def examine(runs: Path, environment: Mapping[str, str]) -> Iterator[MachineCheck]:
    """Yield the result of each check as soon as it is known.

    Args:
        runs: the directory for runs; it need not exist.
        environment: the environment variables.
    """
    yield _platform()
    yield _processors()
    devices = cuda_devices(environment)
    yield _devices(devices, environment)
    yield _torch(devices)
    yield from _runs_directory(runs)
    yield _open_files()
    yield from _data(environment)
    yield _port()
    yield _extras()


def _platform() -> MachineCheck:
    text = f"Python {sys.version.split()[0]}, sweeper {metadata.version('sweeper')}"
    if sys.platform == "linux":
        return MachineCheck(subject="platform", level=Level.OK, text=text)
    advice = "run sweeps on Linux; other systems can only read records"
    return MachineCheck(subject="platform", level=Level.TROUBLE, text=f"{text} on {sys.platform}", advice=advice)


def _processors() -> MachineCheck:
    own, there = cores(), os.cpu_count() or 1
    less = f", of {there} in this machine" if own < there else ""
    return MachineCheck(subject="processors", level=Level.OK, text=f"{counted(own, 'core', 'cores')} available{less}")


def _devices(devices: Sequence[str], environment: Mapping[str, str]) -> MachineCheck:
    hidden = environment.get("CUDA_VISIBLE_DEVICES")
    limited = f" (CUDA_VISIBLE_DEVICES={hidden})" if hidden is not None else ""
    if devices:
        text = f"{counted(len(devices), 'device', 'devices')}{limited}: {', '.join(devices)}"
        return MachineCheck(subject="GPUs", level=Level.OK, text=text)
    text = f"NVIDIA's management library finds none{limited}; trials run on CPUs"
    if not Path("/dev/nvidia0").exists():
        return MachineCheck(subject="GPUs", level=Level.NOTE, text=text)
    advice = "/dev/nvidia0 exists: check that the driver is loaded (nvidia-smi) and that no variable hides the device"
    return MachineCheck(subject="GPUs", level=Level.TROUBLE, text=text, advice=advice)


def _torch(devices: Sequence[str]) -> MachineCheck:
    """Check torch in a separate process, because its import takes seconds and may crash."""
    try:
        done = subprocess.run(
            [*isolated_python(), "-c", _TORCH], check=False, capture_output=True, text=True, timeout=TORCH_S
        )
        version, build, available, count = done.stdout.split()
    except (subprocess.TimeoutExpired, ValueError):
        advice = "run `python -c 'import torch'` to see the error"
        return MachineCheck(subject="torch", level=Level.TROUBLE, text="cannot be imported", advice=advice)
    text = f"{version}, " + (f"built for CUDA {build}" if build != "-" else "built for CPUs only")
    if devices and available != "True":
        advice = "install a build of torch for this driver (pytorch.org, Get started)"
        return MachineCheck(subject="torch", level=Level.TROUBLE, text=f"{text}; it finds no device", advice=advice)
    seen = f"; it finds {counted(int(count), 'device', 'devices')}" if devices else ""
    return MachineCheck(subject="torch", level=Level.OK, text=text + seen)


def _runs_directory(runs: Path) -> Iterator[MachineCheck]:
    """Check whether the directory for runs is writable, file locks work there, and the disk has free space."""
    existing = next(path for path in (runs.absolute(), *runs.absolute().parents) if path.is_dir())
    try:
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=existing) as folder:
            directory = SweepDir(Path(folder))
            lease = acquire(directory.lease, holder="doctor")
            locks = lease is not None and is_held(directory.lease)
    except OSError as error:
        advice = "make it writable, or choose another directory with --runs"
        text = f"{existing} is not writable: {error.strerror}"
        yield MachineCheck(subject="runs", level=Level.TROUBLE, text=text, advice=advice)
        return
    kind = filesystem.type_of(existing, filesystem.mountinfo())
    text = f"{runs} on {kind or 'an unknown file system'}"
    if not locks:
        advice = "with --runs, choose a directory on a file system that supports flock(2)"
        yield MachineCheck(subject="runs", level=Level.TROUBLE, text=f"{text}: file locks do not work", advice=advice)
    elif kind in filesystem.SHARED:
        advice = "run each sweep from one host only"
        yield MachineCheck(subject="runs", level=Level.NOTE, text=f"{text}, which several hosts share", advice=advice)
    else:
        yield MachineCheck(subject="runs", level=Level.OK, text=f"{text}: writable, and file locks work")
    free = shutil.disk_usage(existing).free / 1e9
    full = free < LEAST_FREE_GB
    advice = "checkpoints need more: free some space, or choose another directory with --runs" if full else ""
    yield MachineCheck(
        subject="disk", level=Level.TROUBLE if full else Level.OK, text=f"{free:.0f} GB free", advice=advice
    )


def _open_files() -> MachineCheck:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= LEAST_FILES:
        return MachineCheck(subject="open files", level=Level.OK, text=f"the limit is {soft}")
    advice = f"for many concurrent trials, raise the limit with `ulimit -n {min(hard, 1 << 16)}`"
    return MachineCheck(subject="open files", level=Level.NOTE, text=f"the limit is {soft}", advice=advice)


def _data(environment: Mapping[str, str]) -> Iterator[MachineCheck]:
    """Check the caches of the built-in trainer."""
    home = Path(environment.get("SCIKIT_LEARN_DATA", "~/scikit_learn_data")).expanduser()
    if (home / "20news-bydate_py3.pkz").exists():
        yield MachineCheck(subject="20 newsgroups", level=Level.OK, text=f"found in {home}")
    else:
        advice = (
            "it is downloaded at first use, or the embedded corpus is used; SCIKIT_LEARN_DATA sets another directory"
        )
        yield MachineCheck(subject="20 newsgroups", level=Level.NOTE, text=f"not in {home}", advice=advice)
    hub = Path(environment.get("HF_HOME", "~/.cache/huggingface")).expanduser() / "hub" / "models--bert-base-uncased"
    if hub.exists():
        yield MachineCheck(subject="tokenizer", level=Level.OK, text=f"bert-base-uncased found in {hub.parent}")
    else:
        advice = "it is downloaded at first use, or a tokenizer is trained on the texts"
        yield MachineCheck(
            subject="tokenizer", level=Level.NOTE, text=f"bert-base-uncased is not in {hub.parent}", advice=advice
        )


def _port() -> MachineCheck:
    try:
        with socket.create_server(("127.0.0.1", TENSORBOARD_PORT)):
            return MachineCheck(subject="TensorBoard", level=Level.OK, text=f"port {TENSORBOARD_PORT} is free")
    except OSError as error:
        text = f"port {TENSORBOARD_PORT}: {error.strerror}"
        advice = "`sweeper tensorboard` uses the next free port; --port chooses one"
        return MachineCheck(subject="TensorBoard", level=Level.NOTE, text=text, advice=advice)


def _extras() -> MachineCheck:
    known = ("accelerate", "lightning", "ray")
    there = [name for name in known if _version(name)]
    missing = [name for name in known if name not in there]
    text = f"installed: {', '.join(f'{name} {_version(name)}' for name in there) or 'none'}"
    text += f"; not installed: {', '.join(missing)}" if missing else ""
    return MachineCheck(subject="extras", level=Level.OK, text=text)


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""
