"""How numbers, durations and other people's text are written for people to read."""

from __future__ import annotations

import math
import os
import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from typing import TextIO

from sweeper.record.events import PERSON
from sweeper.record.trial import spelled

SHORT_SPAN_S = 100.0
PLAIN_RANGE = (1e-3, 1e5)


def plain(text: object) -> str:
    """One line of text that does nothing to a terminal: control, format and surrogate characters become ``?``."""
    return "".join(_shown(char) for char in str(text))


def folded(text: str, stream: TextIO) -> str:
    """The lines, folded between words to the width of a terminal, at their own indentation; else as they are."""
    if not stream.isatty():
        return text
    width = max(20, os.get_terminal_size(stream.fileno()).columns or 80)
    return "\n".join(fold_line(line, width) for line in text.split("\n"))


def fold_line(line: str, width: int) -> str:
    """The line, folded between words to so many characters, at its own indentation."""
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return line if len(line) <= width else textwrap.fill(line, width, subsequent_indent=indent, break_on_hyphens=False)


def number(value: float | None) -> str:
    """A measured value in at most 8 characters; ``-`` where there is none."""
    if value is None:
        return "-"
    if not math.isfinite(value):
        return str(value)
    if value and not PLAIN_RANGE[0] <= abs(value) < PLAIN_RANGE[1]:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    return f"{value:.4g}"


def duration(seconds: float) -> str:
    """Seconds as ``42s``, ``3m10s``, ``2h05m`` or ``3d04h``; ``-`` where unknown."""
    if not math.isfinite(seconds):
        return "-"
    whole = round(max(0.0, seconds))
    if whole < SHORT_SPAN_S:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    if minutes < SHORT_SPAN_S:
        return f"{minutes}m{rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours < SHORT_SPAN_S else f"{hours // 24}d{hours % 24:02d}h"


def counted(count: int, one: str, many: str) -> str:
    """A count with its noun: ``1 line``, ``2 lines``."""
    return f"{count} {one if count == 1 else many}"


def decided(decision: Mapping[str, object], rule: str = "{}") -> str:
    """By whom a trial was condemned, and when: ``stalled at step 130``, ``a person before its first step``.

    Args:
        rule: how a rule is called, its name standing for ``{}``.
    """
    name, step = plain(decision.get("rule", "?")), decision.get("step", "?")
    who = PERSON if name == PERSON else rule.format(name)
    return f"{who} before its first step" if step == -1 else f"{who} at step {plain(step)}"


def brief(value: object, limit: int = 300) -> str:
    """Any JSON value on one line of at most `limit` characters."""
    text = plain(_brief(value))
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _brief(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_brief(item)}" for key, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_brief(item) for item in value)
    return "-" if value is None else spelled(value)


def _shown(char: str) -> str:
    if char in "\n\r\t":
        return " "
    return "?" if unicodedata.category(char).startswith("C") else char
