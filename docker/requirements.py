"""Print what the package of pyproject.toml requires, a line each: `torch`, or `rest` and that of the extras named.

An image installs these before the package itself, so that its large layers are kept when only the code changes.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path


def requirements(project: dict[str, object], part: str, extras: list[str]) -> list[str]:
    """The requirements of a part: torch alone, since its wheels may come from an index of their own, or the rest."""
    listed = [*project["dependencies"], *(one for extra in extras for one in _of_extra(project, extra))]  # type: ignore[misc]
    return [one for one in listed if one.startswith("torch>") is (part == "torch")]


def _of_extra(project: dict[str, object], extra: str) -> Iterator[str]:
    """Yield the requirements of an extra; an extra that names others of the package has theirs."""
    for one in project["optional-dependencies"][extra]:  # type: ignore[index]
        if one.startswith("sweeper["):
            for other in one.removeprefix("sweeper[").rstrip("]").split(","):
                yield from _of_extra(project, other)
        else:
            yield one


if __name__ == "__main__":
    text = tomllib.loads(Path(sys.argv[1]).read_text())
    print("\n".join(requirements(text["project"], sys.argv[2], sys.argv[3:])))
