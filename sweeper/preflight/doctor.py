"""What of this machine a sweep will meet: `sweeper doctor`; changes nothing but a file that it removes again."""

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
from sweeper.record.storage import filesystem
from sweeper.record.storage.layout import SweepDir
from sweeper.record.storage.lease import acquire, is_held
from sweeper.results.wording import counted

LEAST_FREE_GB = 5.0
LEAST_FILES = 1024
TENSORBOARD_PORT = 6006
TORCH_S = 120.0
"""For an import of torch from a cold, busy disk."""

_TORCH = """
import torch
print(torch.__version__, torch.version.cuda or "-", torch.cuda.is_available(), torch.cuda.device_count())
"""


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    NOTE = "note"
    TROUBLE = "trouble"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at; `advice` is what to do about it."""

    subject: str
    level: Level
    text: str
    advice: str = ""


def examine(runs: Path, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Everything that is looked at, each as soon as it is known."""
    yield _platform()
    yield _processors()
    devices = cuda_devices(environment)
    yield _devices(devices, environment)
    yield _torch(devices)
    yield from _place(runs)
    yield _open_files()
    yield from _data(environment)
    yield _port()
    yield _extras()


def _platform() -> Finding:
    text = f"Python {sys.version.split()[0]}, sweeper {metadata.version('sweeper')}"
    if sys.platform == "linux":
        return Finding(subject="platform", level=Level.OK, text=text)
    advice = "run sweeps on Linux; records can be read here"
    return Finding(subject="platform", level=Level.TROUBLE, text=f"{text} on {sys.platform}", advice=advice)


def _processors() -> Finding:
    own, there = cores(), os.cpu_count() or 1
    less = f", of {there} that the machine has" if own < there else ""
    return Finding(subject="processors", level=Level.OK, text=f"{counted(own, 'core', 'cores')}{less}")


def _devices(devices: Sequence[str], environment: Mapping[str, str]) -> Finding:
    hidden = environment.get("CUDA_VISIBLE_DEVICES")
    limited = f" (CUDA_VISIBLE_DEVICES={hidden})" if hidden is not None else ""
    if devices:
        text = f"{counted(len(devices), 'device', 'devices')}{limited}: {', '.join(devices)}"
        return Finding(subject="GPUs", level=Level.OK, text=text)
    text = f"none that NVIDIA's management library shows{limited}: trials run on processors"
    if not Path("/dev/nvidia0").exists():
        return Finding(subject="GPUs", level=Level.NOTE, text=text)
    advice = "there is a device file: look whether the driver is loaded (nvidia-smi), or whether a variable hides it"
    return Finding(subject="GPUs", level=Level.TROUBLE, text=text, advice=advice)


def _torch(devices: Sequence[str]) -> Finding:
    """In a process of its own: an import takes seconds and may end the process that does it."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _TORCH], check=False, capture_output=True, text=True, timeout=TORCH_S
        )
        version, build, available, count = done.stdout.split()
    except (subprocess.TimeoutExpired, ValueError):
        advice = "see what `python -c 'import torch'` says"
        return Finding(subject="torch", level=Level.TROUBLE, text="cannot be imported", advice=advice)
    text = f"{version}, " + (f"built for CUDA {build}" if build != "-" else "built for processors only")
    if devices and available != "True":
        advice = "install a build of torch for this driver (pytorch.org, Get started)"
        return Finding(subject="torch", level=Level.TROUBLE, text=f"{text}; it sees no device", advice=advice)
    seen = f"; it sees {counted(int(count), 'device', 'devices')}" if devices else ""
    return Finding(subject="torch", level=Level.OK, text=text + seen)


def _place(runs: Path) -> Iterator[Finding]:
    """Whether runs can be kept there: written, locked, with room."""
    existing = next(path for path in (runs.absolute(), *runs.absolute().parents) if path.is_dir())
    try:
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=existing) as folder:
            directory = SweepDir(Path(folder))
            lease = acquire(directory.lease, holder="doctor")
            locks = lease is not None and is_held(directory.lease)
    except OSError as error:
        advice = "make it writable, or keep runs elsewhere (--runs)"
        text = f"{existing} cannot be written: {error.strerror}"
        yield Finding(subject="runs", level=Level.TROUBLE, text=text, advice=advice)
        return
    kind = filesystem.type_of(existing, filesystem.mountinfo())
    text = f"{runs} on {kind or 'an unknown file system'}"
    if not locks:
        advice = "keep runs on a file system where flock(2) holds (--runs)"
        yield Finding(subject="runs", level=Level.TROUBLE, text=f"{text}: locks do not hold", advice=advice)
    elif kind in filesystem.SHARED:
        advice = "run each sweep from one host only"
        yield Finding(subject="runs", level=Level.NOTE, text=f"{text}, which hosts share", advice=advice)
    else:
        yield Finding(subject="runs", level=Level.OK, text=f"{text}: it can be written, and locks hold")
    free = shutil.disk_usage(existing).free / 1e9
    full = free < LEAST_FREE_GB
    advice = "checkpoints fill it soon: make room, or keep runs elsewhere (--runs)" if full else ""
    yield Finding(
        subject="disk", level=Level.TROUBLE if full else Level.OK, text=f"{free:.0f} GB are free there", advice=advice
    )


def _open_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= LEAST_FILES:
        return Finding(subject="open files", level=Level.OK, text=f"{soft} at a time")
    advice = f"raise it (ulimit -n {min(hard, 1 << 16)}) for many trials at a time"
    return Finding(subject="open files", level=Level.NOTE, text=f"{soft} at a time", advice=advice)


def _data(environment: Mapping[str, str]) -> Iterator[Finding]:
    """The caches that the built-in trainer looks into."""
    home = Path(environment.get("SCIKIT_LEARN_DATA", "~/scikit_learn_data")).expanduser()
    if (home / "20news-bydate_py3.pkz").exists():
        yield Finding(subject="20 newsgroups", level=Level.OK, text=f"in {home}")
    else:
        advice = (
            "it is downloaded at the first use, or the embedded corpus stands in; SCIKIT_LEARN_DATA names another place"
        )
        yield Finding(subject="20 newsgroups", level=Level.NOTE, text=f"not in {home}", advice=advice)
    hub = Path(environment.get("HF_HOME", "~/.cache/huggingface")).expanduser() / "hub" / "models--bert-base-uncased"
    if hub.exists():
        yield Finding(subject="tokenizer", level=Level.OK, text=f"bert-base-uncased in {hub.parent}")
    else:
        advice = "it is downloaded at the first use, or a tokenizer is trained on the texts"
        yield Finding(
            subject="tokenizer", level=Level.NOTE, text=f"bert-base-uncased is not in {hub.parent}", advice=advice
        )


def _port() -> Finding:
    try:
        with socket.create_server(("127.0.0.1", TENSORBOARD_PORT)):
            return Finding(subject="TensorBoard", level=Level.OK, text=f"port {TENSORBOARD_PORT} is free")
    except OSError as error:
        text = f"port {TENSORBOARD_PORT}: {error.strerror}"
        advice = "`sweeper tensorboard` takes the next free one, or --port"
        return Finding(subject="TensorBoard", level=Level.NOTE, text=text, advice=advice)


def _extras() -> Finding:
    known = ("accelerate", "lightning", "ray")
    there = [name for name in known if _version(name)]
    missing = [name for name in known if name not in there]
    text = f"installed: {', '.join(f'{name} {_version(name)}' for name in there) or 'none'}"
    text += f"; not installed: {', '.join(missing)}" if missing else ""
    return Finding(subject="extras", level=Level.OK, text=text)


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""
