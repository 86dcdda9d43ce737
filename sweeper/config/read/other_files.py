"""Read a configuration file that is not a sweep file, such as one that a training script takes."""

from __future__ import annotations

from pathlib import Path

from sweeper.config.read.node import plain
from sweeper.config.read.yaml_text import TextSource, parsed
from sweeper.errors import Mistake, UsageError


def values_from_file(path: Path) -> tuple[object, list[Mistake]]:
    """Return the values of a YAML or JSON file, with YAML 1.2 scalars, and what in it could not be read.

    Raises:
        UsageError: the file cannot be read, or is neither YAML nor JSON.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"{path}: the file cannot be read: {reason}") from None
    root, mistakes = parsed(text, TextSource(str(path)))
    return plain(root), mistakes
