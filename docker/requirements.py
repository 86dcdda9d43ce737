"""Print what the package of pyproject.toml requires, a line each: `torch`, or `rest` and that of the extras named.

An image installs these before the package itself, so that its large layers are kept when only the code changes.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path


def requirements(project: dict[str, object], part: str, extras: list[str]) -> list[str]:
    """The requirements of a part: torch alone, since its wheels may come from an index of their own, or the rest."""
    named = project["optional-dependencies"]
    listed = [*project["dependencies"], *(one for extra in extras for one in named[extra])]  # type: ignore[misc,index]
    return [one for one in listed if one.startswith("torch>") is (part == "torch")]


if __name__ == "__main__":
    text = tomllib.loads(Path(sys.argv[1]).read_text())
    print("\n".join(requirements(text["project"], sys.argv[2], sys.argv[3:])))
