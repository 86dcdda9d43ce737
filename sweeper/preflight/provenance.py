"""Where a sweep comes from: code, packages, machine, and what of the environment may be told.

What is written of it goes through `record.redaction` first: a difference may hold a token, a cache's URL a password.
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
"""An allowlist: anything else may be a secret."""
LONGEST_DIFF = 1_000_000
MOST_UNTRACKED = 100


def provenance(*, folder: Path, devices: Sequence[str], cores: int) -> dict[str, object]:
    """What `spec.json` keeps of the code in `folder`, the packages and the machine."""
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
    """Files that git was not told of, which neither the commit nor the difference has; by folder where all of it is."""
    said = _git(folder, "ls-files", "-z", "--others", "--exclude-standard", "--directory", "--full-name", ":/")
    return [name for name in said.split("\0") if name][:MOST_UNTRACKED]


def _git(folder: Path, *arguments: str) -> str:
    """What git says, empty where there is no git or no repository. Binary files appear by name only."""
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
    # Not as text, whose line ends would become those of this system: a difference is there to be applied again.
    return done.stdout.decode(errors="replace") if done.returncode == 0 else ""
