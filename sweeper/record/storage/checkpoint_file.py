"""The names of checkpoints, which hold their checksums: `step-000000129.3fa94c01d2e7b655.pt`."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from sweeper.record.storage import confined

NAME = re.compile(r"step-(\d{9,})\.([0-9a-f]{16})\.pt")
"""The step after which the state was taken, and the beginning of the SHA-256 of the file."""


def checksum_of(path: Path) -> str:
    """Return the beginning of the SHA-256 of a file.

    Raises:
        OSError: it cannot be read.
    """
    with confined.reading(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def is_whole(path: Path) -> bool:
    """Whether the content of a checkpoint has the checksum in its name.

    Raises:
        OSError: it cannot be read.
    """
    return checksum_of(path) == path.name.split(".")[1]
