"""Numbers, durations, decisions and untrusted text, written for people to read; pure functions."""

from __future__ import annotations

import math
import os
import textwrap
import time
import unicodedata
from collections.abc import Mapping, Sequence
from typing import TextIO

from sweeper.record.decision import PERSON, Decision
from sweeper.record.events import AUDITED, BREAKER, OBSERVED, REVIVED, DiskFilling, SweepWaiting
from sweeper.record.values.params import unquoted
from sweeper.record.values.redaction import redacted, redacted_value

SHORT_SPAN_S = 100.0
PLAIN_RANGE = (1e-3, 1e5)
_WHY_CONTINUED: Mapping[str, str] = {
    OBSERVED: "observe mode",
    AUDITED: "audit",
    BREAKER: "the rule is disabled",
    REVIVED: "revived",
}


def plain(text: object) -> str:
    """Return the text on one line, as it may be shown.

    Secrets are redacted, and terminal codes are removed: control, format and surrogate characters become ``?``.
    """
    return "".join(_shown(char) for char in redacted(str(text)))


def waiting_text(wait: SweepWaiting, now: float) -> str:
    """Return since when trials wait although slots are free, and for what. `now` is in seconds since the epoch."""
    since = time.strftime("%H:%M", time.localtime(wait.since))
    return f"Trials have waited since {since} ({duration(max(0.0, now - wait.since))}): {'; '.join(wait.reasons)}"


def folded(text: str, stream: TextIO) -> str:
    """Return the lines folded between words to the width of the stream's terminal; unchanged if it has none."""
    if not stream.isatty():
        return text
    width = max(20, os.get_terminal_size(stream.fileno()).columns or 80)
    return "\n".join(fold_line(line, width) for line in text.split("\n"))


def fold_line(line: str, width: int) -> str:
    """Return the line folded between words to `width` characters; continuation lines are indented two more."""
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return line if len(line) <= width else textwrap.fill(line, width, subsequent_indent=indent, break_on_hyphens=False)


def number(value: float | None) -> str:
    """Return a measured value in at most 8 characters, ``-`` for None."""
    if value is None:
        return "-"
    if not math.isfinite(value):
        return str(value)
    if value and not PLAIN_RANGE[0] <= abs(value) < PLAIN_RANGE[1]:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    return f"{value:.4g}"


def duration(seconds: float) -> str:
    """Return seconds as ``42s``, ``3m10s``, ``2h05m`` or ``3d04h``; ``-`` for NaN and infinity."""
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
    """Return a count with its noun: ``1 line``, ``2 lines``."""
    return f"{count} {one if count == 1 else many}"


def disk_text(event: DiskFilling, path: object) -> str:
    """Return a warning of a disk that fills up."""
    left = f" and will be full in about {duration(event.seconds_left)}" if math.isfinite(event.seconds_left) else ""
    return f"The disk of {path} has {event.free_gb:.1f} GB left{left}. Free some space: a full disk ends the sweep"


def decided_by(decision: Decision, rule: str = "{}") -> str:
    """Return what made a decision, and when: ``stalled at step 130``, ``a person before its first step``.

    Args:
        rule: a template for the name of a rule, such as ``the rule {}``.
    """
    author = PERSON if decision.by_person else rule.format(plain(decision.rule))
    return f"{author} before its first step" if decision.step == -1 else f"{author} at step {decision.step}"


def why_continued(reason: str) -> str:
    """Return in words why a trial was continued after a rule fired: ``audit``, ``observe mode``, ..."""
    return _WHY_CONTINUED.get(reason, plain(reason))


def brief(value: object, limit: int = 300) -> str:
    """Return any JSON value on one line of at most `limit` characters."""
    text = plain(_brief(redacted_value("", value)))
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _brief(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_brief(item)}" for key, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_brief(item) for item in value)
    return "-" if value is None else unquoted(value)


def _shown(char: str) -> str:
    if char in "\n\r\t":
        return " "
    return "?" if unicodedata.category(char).startswith("C") else char
