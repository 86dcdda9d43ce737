"""The lines of a sweep file for its parameters, with suggestions of what to vary."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from sweeper.config import inline_yaml
from sweeper.mistakes import printable
from sweeper.preflight.arguments import Argument, ArgumentKind, Arguments, Passing
from sweeper.preflight.draft.choices import Choices
from sweeper.preflight.draft.command import has_switches

WIDTH = 100
INDENT = "  "
NOT_HERE = "Not in this file, so the script uses its own value"
NOT_IN_FILE = "Not in the file that the script reads"
RATE = (1 / 3, 1.0, 3.0)
"""Factors of the default of a learning rate that are suggested as values."""


def parameter_lines(read: Arguments, choices: Choices) -> Iterator[str]:
    """Return the lines of `parameters`, and a comment with the arguments that are none."""
    as_text = read.passing is Passing.FLAGS and has_switches(choices)
    yield "parameters:" if choices.parameters else "parameters: {}"
    written: list[str] = []
    for one in _gathered(choices.parameters) if read.passing is Passing.FILE else choices.parameters:
        # The script reads its file with groups, and only groups of the sweep file are groups in it.
        *groups, last = one.name.split(".") if read.passing is Passing.FILE else [one.name]
        shared = next((n for n, (old, new) in enumerate(zip(written, groups, strict=False)) if old != new), None)
        for depth in range(min(len(written), len(groups)) if shared is None else shared, len(groups)):
            yield f"{INDENT * (2 * depth + 1)}{inline_yaml(groups[depth])}:"
            yield f"{INDENT * (2 * depth + 2)}parameters:"
        written, indent = groups, INDENT * (2 * len(groups) + 1)
        text = " ".join(one.help.replace("%(default)s", str(one.default)).replace("%%", "%").split())
        if text:
            yield f"{indent}# {printable(text[:WIDTH])}"
        is_text = as_text and one.kind is ArgumentKind.OPTION and isinstance(one.default, bool)
        value = str(one.default) if is_text else one.default
        parameter = {
            "values" if one.name in choices.varied else "value": list(value) if isinstance(value, tuple) else value
        }
        yield f"{indent}{inline_yaml(last)}: {inline_yaml(parameter)}{_suggested(one, as_text=is_text)}"
    if not choices.parameters and read.passing is Passing.NOTHING:
        yield "  # lr: {values: [1e-4, 3e-4, 1e-3]}  # passed as --lr=0.0001"
    if choices.left_out:
        yield f"  # {NOT_IN_FILE if read.passing is Passing.FILE else NOT_HERE}:"
        yield from (f"  #   {printable(f'{one.name} {one.left_out}')}" for one in choices.left_out)


def _gathered(parameters: Sequence[Argument]) -> list[Argument]:
    """Return the parameters with those of each group side by side, otherwise in their order."""
    first: dict[tuple[str, ...], int] = {}
    for index, one in enumerate(parameters):
        for prefix in _prefixes(one):
            first.setdefault(prefix, index)
    return sorted(parameters, key=lambda one: [first[prefix] for prefix in _prefixes(one)])


def _prefixes(one: Argument) -> list[tuple[str, ...]]:
    parts = one.name.split(".")
    return [tuple(parts[: count + 1]) for count in range(len(parts))]


def _near(value: float) -> list[float]:
    """Return a value between a smaller and a larger one; those of a fraction such as a momentum stay below 1."""
    if 0.75 <= value < 1:  # noqa: PLR2004 - from here on, the distance to 1 is what matters
        return [round(1 - (1 - value) * factor, 4) if factor != 1 else value for factor in reversed(RATE)]
    if RATE[0] <= value < 1:
        return [float(f"{value / 3:.1g}"), value, round((1 + value) / 2, 4)]
    return [float(f"{value * factor:.1g}") if factor != 1 else value for factor in RATE]


def _suggested(one: Argument, *, as_text: bool) -> str:
    """Return a comment with values to vary the parameter over; empty if there is no obvious choice."""
    if isinstance(one.default, list | tuple):
        return ""
    if one.choices:
        values: Sequence[object] = one.choices
    elif one.kind is ArgumentKind.SWITCH or isinstance(one.default, bool):
        values = ("False", "True") if as_text else (False, True)
    elif isinstance(one.default, float) and 0 < one.default < math.inf:
        values = _near(one.default)
    else:
        return ""
    return f"  # to vary it: {inline_yaml({'values': list(values)})}"
