"""Search the lines that a trial prints by regular expressions."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from sweeper.config import OutputSource
from sweeper.orchestrator.collect.reading import (
    LONGEST_LINE,
    MARKED,
    FileReader,
    NotANumber,
    Reading,
    lines_of,
    number_of,
    step_of,
)
from sweeper.record.events import OutputCut
from sweeper.record.storage.output import MARKER

VALUE, STEP = "value", "step"
LONGEST_SEARCH_S = 1.0
"""Processor seconds that a regular expression may take for one piece of the output."""


class TooSlow(Exception):
    """A regular expression took too long."""


@dataclass(slots=True)
class OutputReader(FileReader):
    """Searches for the expressions of `wanted`, by metric. An expression that takes too long is not used again."""

    wanted: Mapping[str, OutputSource] = field(default_factory=dict)
    slow: set[str] = field(default_factory=set)
    cut: Callable[[], OutputCut | None] = lambda: None

    def is_same(self, fd: int, offset: int, mark: int) -> bool:
        """Return whether the output up to an offset is the same, as far as it was not removed."""
        cut = self.cut()
        was_removed = cut is not None and cut.begin - len(MARKER) < offset < cut.end + MARKED
        return was_removed or FileReader.is_same(self, fd, offset, mark)

    def read(self, fd: int, size: int, *, final: bool) -> Iterator[Reading]:
        """Yield the values in each line, as in `FileReader.read`. Lines that were removed are left out."""
        lines = list(lines_of(fd, self.offset, size, final=final))
        cut = self.cut()  # after the lines were read: what was removed before that is known by now
        if cut is not None and self.offset < cut.end and lines and lines[-1][0] > cut.begin - len(MARKER):
            lines = [line for line in lines if line[0] <= cut.begin - len(MARKER)]
            lines.append((cut.end, ""))
        found: dict[int, dict[str, tuple[float, int | None]]] = {}
        for metric, source in self.wanted.items():
            if metric not in self.slow:
                self._search(metric, re.compile(source.regex), lines, found)
        for end, values in sorted(found.items()):
            for step in dict.fromkeys(step for _, step in values.values()):
                yield Reading(end, {name: value for name, (value, at) in values.items() if at == step}, step)
        self.offset = lines[-1][0] if lines else self.offset

    def _search(
        self,
        metric: str,
        regex: re.Pattern[str],
        lines: list[tuple[int, str]],
        found: dict[int, dict[str, tuple[float, int | None]]],
    ) -> None:
        line = ""
        try:
            with time_limit(LONGEST_SEARCH_S):
                for end, line in lines:
                    if line and (match := regex.search(line[:LONGEST_LINE])) is not None:
                        self._take(metric, match, found.setdefault(end, {}))
        except TooSlow:
            self.slow.add(metric)
            what = f"the regular expression takes too long for a line of the output, {line[:40]!r}"
            self.problems[metric] = f"{what}; it is not used any more"

    def _take(self, metric: str, match: re.Match[str], values: dict[str, tuple[float, int | None]]) -> None:
        groups, index = match.groupdict(), match.re.groupindex
        unnamed = next(number for number in range(1, match.re.groups + 1) if number != index.get(STEP))
        text = match[VALUE] if VALUE in groups else match[unnamed]
        try:
            value = number_of(text.strip().rstrip(",;%") if text else text)
        except NotANumber as error:
            self.problems[metric] = f"expected a number in the group of the regular expression, got {error}"
            return
        step = None
        if groups.get(STEP):
            try:
                step = step_of(groups[STEP].strip())
            except NotANumber as error:
                self.problems[metric] = f"expected a whole number in the group {STEP}, got {error}"
        values[metric] = value, step


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `TooSlow` in this context after some processor seconds; `re` lets signal handlers run while it searches.

    Only the main thread receives signals: there is no limit in other threads.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise TooSlow

    previous = signal.signal(signal.SIGVTALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, previous)
