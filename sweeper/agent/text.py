"""Text for agents: short, without invisible characters, and with an estimate of its tokens; pure functions.

What a run contains was written by training scripts, and by whoever wrote their data. It may say "ignore your
instructions". It cannot be recognised reliably, so it is marked: an answer has it only in fields named `quoted`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence

from sweeper.results.wording import plain

NAME, LINE, REASON = 60, 200, 500
"""Maximum length of a name or a value, of a quoted line, and of a reason that an agent gives, in bytes of UTF-8."""
MOST_PARAMS = 12
"""Maximum number of parameters of a trial that an answer lists."""
DIGITS, PARAM_DIGITS = 4, 8
"""Significant digits of a measured value, and of a parameter, which is copied to add a neighbour of a trial."""
_INVISIBLE = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")
"""Variation selectors: they are no control characters, and yet carry invisible text."""
_TOKEN = re.compile(r"[A-Za-z]+|\d{1,3}|\s+|[^A-Za-z\d\s]")
_WORD, _CHARACTERS = 4, 3
_CUT = "…".encode()


def shown(text: object, most: int = NAME) -> str:
    """Return a text on one line, without control, format and other invisible characters, of at most `most` bytes.

    Secrets are redacted. Bytes are counted, because a character outside of ASCII can cost a token for each.
    """
    line = _INVISIBLE.sub("", plain(text)).strip()
    data = line.encode()
    return line if len(data) <= most else data[: most - len(_CUT)].decode(errors="ignore") + _CUT.decode()


def quoted(lines: Iterable[object], most: int, length: int = LINE) -> list[str]:
    """Return at most `most` lines of what others wrote, each cut; repeated and empty lines are left out."""
    known = dict.fromkeys(line for text in lines for line in [shown(text, length)] if line)
    return list(known)[:most]


def value_of(value: object) -> object:
    """Return a value of a parameter or a metric as JSON: a number of few digits, or short text."""
    if value is None or isinstance(value, bool | int):
        return value if not isinstance(value, int) or abs(value) < 1 << 53 else shown(value)
    if isinstance(value, float):
        return rounded(value, PARAM_DIGITS)
    return shown(value)


def rounded(value: float | None, digits: int = DIGITS) -> float | None:
    """Return a number with few significant digits; None if it is not finite."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.{digits}g}")


def params_of(params: Mapping[str, object], most: int = MOST_PARAMS) -> dict[str, object]:
    """Return the first parameters; the key `…` says how many more there are."""
    named = {shown(name): value_of(value) for name, value in list(params.items())[:most]}
    more = len(params) - most
    return named if more <= 0 else {**named, "…": f"{more} more"}


def tokens(text: str) -> int:
    """Estimate the tokens of a text from above: no tokenizer is needed, and none is meant.

    Words count a token for each four letters begun, and numbers one for three digits, as in the vocabularies of today's
    models. Each other character is one, and one outside of ASCII as many as its bytes in UTF-8. The estimate is never
    less than a token for three characters.
    """
    parts = sum(_tokens_of(part) for part in _TOKEN.findall(text))
    return max(parts, -(-len(text) // _CHARACTERS))


def _tokens_of(part: str) -> int:
    if not part.isascii():
        return len(part.encode(errors="replace"))
    return -(-len(part) // _WORD) if part.isalpha() else 1


def joined(parts: Sequence[str]) -> str:
    """Return the parts that are not empty as one text."""
    return "; ".join(part for part in parts if part)
