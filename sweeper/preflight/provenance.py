"""Collect the provenance of a sweep: its code, packages, machine, and an allowlist of environment variables.

The result is redacted (`record.values.redaction`) before it is written, because a diff may contain a token, and the URL
of a cache a password.
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

ENVIRONMENT = (
    "CUDA_VISIBLE_DEVICES",
    "HF_HOME",
    "HF_HUB_OFFLINE",
    "OMP_NUM_THREADS",
    "PYTHONHASHSEED",
    "SCIKIT_LEARN_DATA",
    "SLURM_JOB_ID",
    "SWEEPER_CACHE",
)
"""The environment variables that are recorded; any other may contain a secret."""
LONGEST_DIFF = 1_000_000
MOST_UNTRACKED = 100


def provenance(*, folder: Path, devices: Sequence[str], cores: int) -> dict[str, object]:
    """Return what `spec.json` records about the code in `folder`, the installed packages and the machine."""
    return {
        "commit": _git(folder, "rev-parse", "HEAD").strip(),
        "difference": _git(folder, "diff", "HEAD", "--no-ext-diff", "--no-color")[:LONGEST_DIFF],
        "untracked": _untracked(folder),
        "directory": str(Path.cwd()),
        "python": sys.version.split()[0],
        "packages": dict(sorted(_packages().items())),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "cores": cores,
        "devices": list(devices),
        "environment": {name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
    }


def _packages() -> dict[str, str]:
    return {dist.metadata["Name"]: dist.version for dist in metadata.distributions() if dist.metadata["Name"]}


def _untracked(folder: Path) -> list[str]:
    """Return the untracked files, which neither commit nor diff contains; a folder of such files is one entry."""
    output = _git(folder, "ls-files", "-z", "--others", "--exclude-standard", "--directory", "--full-name", ":/")
    return [name for name in output.split("\0") if name][:MOST_UNTRACKED]


def _git(folder: Path, *arguments: str) -> str:
    """Return the output of a git command; empty without git or a repository. Binary files appear by name only."""
    git = shutil.which("git")
    if git is None:
        return ""
    try:
        done = subprocess.run(
            [git, "-C", str(folder), *arguments],
            check=False,
            capture_output=True,
            timeout=20,
        )
    except subprocess.TimeoutExpired:
        return ""
    # Decoded by hand to keep line ends as they are, because the diff is applied again by `sweeper reproduce`.
    return done.stdout.decode(errors="replace") if done.returncode == 0 else ""
