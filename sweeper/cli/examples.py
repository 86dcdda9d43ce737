"""The examples that `sweeper init --example` writes: files of the repository's folder `experiments/`."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import sweeper
from sweeper.errors import UsageError

IN_REPOSITORY = "experiments/"
"""How the files name each other in the repository; a copy names the files beside it."""
SCHEMA = "# yaml-language-server:"
"""The first word of a line that names a file of the repository, which a copy has not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A sweep file, and its script if it has one.

    Attributes:
        files: names of its files; the sweep file first.
        extra: the extra of sweeper that it needs or uses, and the library of it that it imports.
        without: what happens without the extra.
    """

    files: tuple[str, ...]
    extra: tuple[str, str] | None = None
    without: str = "it does not run without it"


EXAMPLES: Mapping[str, Example] = {
    "warmup": Example(
        files=("warmup.yaml",),
        extra=("text", "sklearn"),
        without="without it, the example trains on generated topics instead of 20 newsgroups",
    ),
    "plain": Example(files=("plain_loop.yaml", "plain_loop.py")),
    "trainer": Example(files=("hf_trainer.yaml", "hf_trainer.py"), extra=("trainer", "accelerate")),
    "lightning": Example(files=("lightning_module.yaml", "lightning_module.py"), extra=("lightning", "lightning")),
    "ddp": Example(files=("ddp.yaml", "ddp.py")),
}


def write(name: str, folder: Path) -> list[Path]:
    """Write the files of an example into a folder, which is made if necessary; return their paths, sweep file first.

    Raises:
        UsageError: a file exists already; then none is written.
    """
    paths = [folder / file for file in EXAMPLES[name].files]
    there = [str(path) for path in paths if path.exists()]
    if there:
        raise UsageError(
            f"{', '.join(there)}: already there, so nothing was written. Choose a directory with --out DIR"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        with path.open("x", encoding="utf-8") as file:
            file.write(_text(path.name))
    return paths


def note(name: str) -> str:
    """Return which extra an example needs, and whether it is installed; empty if it needs none."""
    example = EXAMPLES[name]
    if example.extra is None:
        return ""
    extra, library = example.extra
    if importlib.util.find_spec(library) is not None:
        return f"It uses the extra {extra}, which is installed."
    return f'First run: pip install "sweeper[{extra}]" ({example.without})'


def _text(file: str) -> str:
    """Return the text of a shipped file, changed for a folder of its own."""
    package = Path(sweeper.__file__).parent
    shipped = package / "examples"  # in a wheel; a checkout has them where they are developed
    source = (shipped if shipped.is_dir() else package.parent / "experiments") / file
    lines = source.read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith(SCHEMA)).replace(IN_REPOSITORY, "")
