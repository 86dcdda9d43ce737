"""Describe the provenance of a sweep, and compare two provenances; pure functions.

A provenance records the commit, the uncommitted difference, packages, environment, machine and data of a sweep.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from sweeper.record.values.params import unquoted
from sweeper.record.values.redaction import REDACTED
from sweeper.results.wording import counted, plain

Origin = Mapping[str, object]

_FIRST = ("torch", "numpy", "sweeper", "transformers", "tokenizers", "lightning", "accelerate")
"""Packages that affect the values of a trial most often; they are listed before the others."""
MOST_SHOWN = 12
"""Maximum number of untracked files that are listed."""
_COMMIT_LENGTH = 12
_COMPARED_SEPARATELY = ("commit", "difference", "untracked", "packages", "environment")
"""Keys that are not compared value by value."""


class DifferenceKind(Enum):
    """The kinds of difference, each of which is undone by other commands."""

    CODE = auto()
    PACKAGE = auto()
    ENVIRONMENT = auto()
    OTHER = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One difference between two provenances: its name and the value on each side, ``-`` for no value."""

    kind: DifferenceKind = DifferenceKind.OTHER
    name: str
    there: str
    here: str


def differences(there: Origin, here: Origin) -> list[Difference]:
    """Return the differences: code, packages, environment, then the rest. Keys that one side lacks are skipped."""
    found = [*_of_code(there, here), *_of_packages(there, here), *_of_environment(there, here)]
    return [*found, *_of_the_rest(there, here)]


def changed_lines(origin: Origin) -> int:
    """Return the number of lines that differ from the commit."""
    lines = str(origin.get("difference", "")).split("\n")
    return sum(line.startswith(("+", "-")) and not line.startswith(("+++", "---")) for line in lines)


def commit_of(origin: Origin) -> str:
    """Return the short commit and its changes: ``1a2b3c4d5e6f, 12 lines changed``; empty without a commit."""
    commit = plain(origin.get("commit", ""))[:_COMMIT_LENGTH]
    lines = changed_lines(origin)
    return f"{commit}, {counted(lines, 'line', 'lines')} changed" if lines else commit


def described(origin: Origin) -> Iterator[tuple[str, str]]:
    """Yield a name and a line for each part of the provenance."""
    yield "commit", commit_of(origin) or "none: not a git repository"
    if REDACTED in str(origin.get("difference", "")):
        yield "", "secrets were removed from the uncommitted difference, so it may not apply"
    untracked = origin.get("untracked")
    if isinstance(untracked, list) and untracked:
        names = ", ".join(map(plain, untracked[:MOST_SHOWN]))
        more = f" and {len(untracked) - MOST_SHOWN} more" if len(untracked) > MOST_SHOWN else ""
        yield "untracked", f"{names}{more} (only the names of these files were recorded)"
    for key in ("directory", "host", "platform"):
        if origin.get(key):
            yield key, plain(origin[key])
    environment = _mapping(origin.get("environment"))
    yield (
        "environment",
        plain(" ".join(f"{key}={item}" for key, item in environment.items())) or "no recorded variable is set",
    )
    packages = _mapping(origin.get("packages"))
    torch = f" (torch {plain(packages['torch'])})" if "torch" in packages else ""
    yield "python", f"{plain(origin.get('python', '-'))}, {counted(len(packages), 'package', 'packages')}{torch}"
    devices, cores = origin.get("devices"), origin.get("cores")
    named = plain(", ".join(map(str, devices))) if isinstance(devices, list) and devices else "no device"
    yield "machine", f"{named}, {counted(cores if isinstance(cores, int) else 0, 'core', 'cores')}"
    yield from _of_data(origin)


def _of_data(origin: Origin) -> Iterator[tuple[str, str]]:
    """Yield a line for each data set: its name, size, source and checksum."""
    for kind, value in _mapping(origin.get("data")).items():
        parts = []
        for key, item in _mapping(value).items():
            if key in ("name", "source"):
                parts.append(str(item))
            elif isinstance(item, str | int | float):
                parts.append(f"{key} {item}")
        yield plain(kind), plain(", ".join(parts))


def _of_code(there: Origin, here: Origin) -> Iterator[Difference]:
    if (_text(there, "commit"), _text(there, "difference")) == (_text(here, "commit"), _text(here, "difference")):
        return
    before, now = commit_of(there) or "-", commit_of(here) or "-"
    yield Difference(
        kind=DifferenceKind.CODE, name="commit", there=before, here=f"{now} (other lines)" if before == now else now
    )


def _text(origin: Origin, key: str) -> str:
    return str(origin.get(key, "")).strip()


def _of_packages(there: Origin, here: Origin) -> Iterator[Difference]:
    before, now = _mapping(there.get("packages")), _mapping(here.get("packages"))
    if not before or not now:
        return
    # Installers compare names without case, and with _ and . replaced by -.
    before, now = ({_canonical(name): version for name, version in each.items()} for each in (before, now))
    names = [name for name in (*before, *(now.keys() - before.keys())) if before.get(name) != now.get(name)]
    order = {name: place for place, name in enumerate(_FIRST)}
    for name in sorted(names, key=lambda name: (order.get(name, len(order)), name)):
        was, is_ = _short(before.get(name)), _short(now.get(name))
        yield Difference(kind=DifferenceKind.PACKAGE, name=plain(name), there=was, here=is_)


def _of_environment(there: Origin, here: Origin) -> Iterator[Difference]:
    if "environment" not in there or "environment" not in here:
        return
    before, now = _mapping(there["environment"]), _mapping(here["environment"])
    for name in dict.fromkeys([*before, *now]):
        if before.get(name) != now.get(name):
            was, is_ = _short(before.get(name)), _short(now.get(name))
            yield Difference(kind=DifferenceKind.ENVIRONMENT, name=plain(name), there=was, here=is_)


def _canonical(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def _of_the_rest(there: Origin, here: Origin) -> Iterator[Difference]:
    for key in there:
        if key not in _COMPARED_SEPARATELY and key in here:
            yield from _values(plain(key), there[key], here[key])


def _values(name: str, there: object, here: object) -> Iterator[Difference]:
    """Yield the differences between two values; mappings are compared key by key."""
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        for key in dict.fromkeys([*there, *here]):
            yield from _values(f"{name}.{plain(key)}", there.get(key), here.get(key))
    elif there != here:
        yield Difference(name=name, there=_short(there), here=_short(here))


def _short(value: object) -> str:
    if value is None or value in ("", [], ()):
        return "-"
    return plain(", ".join(map(str, value)) if isinstance(value, list | tuple) else unquoted(value))


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
