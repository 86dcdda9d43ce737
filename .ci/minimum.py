"""Print pip constraints that hold each requirement of pyproject.toml at its lower bound, a line each.

    python .ci/minimum.py EXTRA ... > constraints.txt

Constraints are those of the core and of the extras named, also through extras that name other extras of the package.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
OWN = re.compile(r"sweeper\[([\w,]+)\]")
REQUIREMENT = re.compile(r"([\w.-]+)(?:\[[\w,]+\])?>=([\w.]+)")


def constraints(project: Mapping[str, object], extras: Sequence[str]) -> list[str]:
    """Return the constraints of a project's core and of these extras, sorted."""
    extra: Mapping[str, list[str]] = project["optional-dependencies"]  # type: ignore[assignment]
    core: list[str] = project["dependencies"]  # type: ignore[assignment]
    listed = [*core, *(line for name in extras for line in _of_extra(extra, name))]
    found = {match[1]: match[2] for line in listed if (match := REQUIREMENT.match(line))}
    return sorted(f"{name}=={version}" for name, version in found.items())


def _of_extra(extra: Mapping[str, list[str]], name: str) -> Iterator[str]:
    for line in extra[name]:
        own = OWN.fullmatch(line)
        if own is None:
            yield line
        else:
            for other in own[1].split(","):
                yield from _of_extra(extra, other)


if __name__ == "__main__":
    text = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    sys.stdout.write("\n".join(constraints(text["project"], sys.argv[1:])) + "\n")
