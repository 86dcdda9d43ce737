"""What is known before a sweep starts: the settings that it starts with, and what its search learns from other runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sweeper.config import Constant, Method, SweepSpec, whole
from sweeper.orchestrator.search import learning
from sweeper.record.storage.layout import SweepDir
from sweeper.record.values.params import spelled
from sweeper.results.wording import counted, plain
from sweeper.search.grid import Grid
from sweeper.search.known import settings_of

MOST_SHOWN = 10
"""Maximum number of settings that are listed."""


def known_lines(spec: SweepSpec, runs: Path) -> list[str]:
    """Return a line about `start_with`, and one for each run in `learn_from`.

    Args:
        spec: the sweep.
        runs: the directory of all runs.

    Raises:
        UsageError: a run in `learn_from` does not exist, has another metric, or is the sweep's own.
    """
    directory = SweepDir(runs / spec.name)
    told, known = learning.found(directory, spec, runs), learning.recorded(directory, spec)
    return [plain(line) for line in (*_start_lines(spec), *learning.lines(told, known))]


def _start_lines(spec: SweepSpec) -> list[str]:
    settings = settings_of(spec)
    if not settings:
        return []
    texts = [_setting_text(spec, setting) for setting in settings[:MOST_SHOWN]]
    more = [f"and {len(settings) - MOST_SHOWN} more"] if len(settings) > MOST_SHOWN else []
    line = f"start_with: {'; '.join([*texts, *more])}"
    count = len(settings)
    if spec.method is Method.GRID:
        grid = Grid(spec.parameters, settings)
        count = sum(1 for _ in grid.known_points())
        line += f": {counted(count, 'arm', 'arms')} of the grid, which come first"
    allowed = spec.most_configurations
    if allowed is not None and allowed < count:
        line += f"; run_cap allows the first {counted(allowed, 'configuration', 'configurations')} of them"
    return [line]


def _setting_text(spec: SweepSpec, setting: Mapping[str, object]) -> str:
    text = ", ".join(f"{name}={spelled(value)}" for name, value in setting.items())
    varied = [name for name, one in spec.parameters.items() if not isinstance(one, Constant) and name not in setting]
    if spec.method is Method.GRID or whole(spec.parameters, setting) is not None:  # type: ignore[arg-type]
        return text
    return f"{text} (the search draws {', '.join(varied)})"
