"""Read what a command runs as text: its scripts, and the modules and scripts that these name. Nothing is run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sweeper.preflight.command.program import Program
from sweeper.worker.process.sources import SourceFile, imports_of, is_installed, source_of

MOST_FILES = 300
MOST_BYTES = 2_000_000
_NAMED = re.compile(r"[\w./-]+\.(?:py|sh|bash)\b")
_MODULE = re.compile(r"-m[\s\"',]+([A-Za-z_][\w.]*)")
_OPENS = re.compile(
    r"(?:^|[;\s])(?:import|from)\s[^\n;#]*\bsweeper\b|\bsweeper\.\w|[\"']sweeper[\"']|SWEEPER_TRIAL_DIR"
)
_READS = re.compile(rf"{_OPENS.pattern}|\btrial\.json\b")
_CONFIGURED = re.compile(r"\b(?:hydra|jsonargparse|LightningCLI)\b")


@dataclass(frozen=True)
class Texts:
    """The texts of what a command runs.

    Attributes:
        by_path: the text of each file; that of a text after `-c` has an empty path.
        sources: the Python files among them.
        run: those of the Python files that the program surely runs: its script, and the local modules that it imports.
        is_complete: whether everything was read that the command runs, apart from installed packages.
    """

    by_path: dict[str, str]
    sources: tuple[SourceFile, ...]
    run: tuple[SourceFile, ...]
    is_complete: bool

    @property
    def reads_trial(self) -> bool:
        """Whether a text uses sweeper, or reads the directory of the trial, and so may read its parameters."""
        return any(_READS.search(text) for text in self.by_path.values())

    @property
    def may_open_trial(self) -> bool:
        """Whether a text may open a trial: by itself, or by a callback that a configuration names."""
        return any(_OPENS.search(text) or _CONFIGURED.search(text) for text in self.by_path.values())

    @cached_property
    def imports(self) -> frozenset[str]:
        """The packages that are imported anywhere, by the first part of their names."""
        found = {re.split("[.:]", name)[0] for source in self.sources for name in imports_of(source)}
        code = self.by_path.get("", "")
        return frozenset(found | set(re.findall(r"(?:^|[;\s])(?:import|from)\s+(\w+)", code)))


def texts_of(program: Program) -> Texts:
    """Return the texts of a program, and of the scripts and local modules that they name, directly or indirectly."""
    code = program.code.text if program.code is not None else None
    by_path = {} if code is None else {"": code}
    waiting = [(source, True) for source in _started(program)]
    waiting += [(source, False) for source in (_named_in(code, Path()) if code is not None else ())]
    is_complete = bool(waiting) or code is not None
    sources: list[SourceFile] = []
    run: list[SourceFile] = []
    while waiting and len(by_path) < MOST_FILES:
        source, is_run = waiting.pop(0)
        path = str(source.file.absolute())
        if path in by_path:
            continue
        text = _text(source.file)
        if text is None:
            is_complete = False
            continue
        by_path[path] = text
        if source.file.suffix == ".py" or _is_python(text):
            sources.append(source)
            run += [source] if is_run else []
            waiting = [*((one, is_run) for one in _imported(source)), *waiting]
        waiting += [(one, False) for one in _named_in(text, source.file.parent)]
    is_complete = is_complete and len(by_path) < MOST_FILES
    return Texts(by_path=by_path, sources=tuple(sources), run=tuple(run), is_complete=is_complete)


def _started(program: Program) -> Iterator[SourceFile]:
    here = (str(Path.cwd()),)
    if program.module is not None and program.module.text is not None:
        for name in (program.module.text, f"{program.module.text}.__main__"):
            found = source_of(name, here)
            if found is not None and not is_installed(name, here):
                yield found
    words = [program.script] if program.script else [] if program.is_python else [program.executable]
    for word in words:
        file = Path(word.text) if word is not None and word.text is not None else None
        if file is not None and (file / "__main__.py").is_file():
            file /= "__main__.py"
        if file is not None and file.is_file():
            yield SourceFile(file, search_path=(str(file.absolute().parent),))


def _named_in(text: str, folder: Path) -> list[SourceFile]:
    """Return the scripts and local modules that a text names, as a shell script or a `subprocess` call does."""
    found = []
    for name in dict.fromkeys(_NAMED.findall(text)):
        file = next((place for place in (Path(name), folder / name) if place.is_file()), None)
        found += [SourceFile(file, search_path=(str(file.absolute().parent),))] if file is not None else []
    here = (str(Path.cwd()),)
    modules = [name for name in dict.fromkeys(_MODULE.findall(text)) if not is_installed(name, here)]
    return found + [one for name in modules if (one := source_of(name, here)) is not None]


def _imported(source: SourceFile) -> Iterable[SourceFile]:
    for name in imports_of(source):
        module = name.replace(":", ".")
        if not is_installed(module, source.search_path):
            parts = module.split(".")
            parents = [".".join(parts[: count + 1]) for count in range(len(parts))]
            yield from (one for parent in parents if (one := source_of(parent, source.search_path)) is not None)


def _is_python(text: str) -> bool:
    first = text.split("\n", 1)[0]
    return first.startswith("#!") and "python" in first


def _text(file: Path) -> str | None:
    try:
        with file.open("rb") as opened:
            raw = opened.read(MOST_BYTES)
    except OSError:
        return None
    return None if b"\0" in raw else raw.decode("utf-8", errors="replace")
