"""What it takes to run a trial again: what was recorded, what is not so here and now, and the commands; pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sweeper.record.redaction import REDACTED, redacted, redacted_values
from sweeper.record.trial import Trial
from sweeper.views.origin import Difference, Kind, Origin, commit_of
from sweeper.views.receipt import end_line
from sweeper.views.table import params_of
from sweeper.views.wording import counted, plain

MOST_SHOWN = 12
"""Differences of one kind that are listed; a command to undo them has them all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """A recorded trial, and where it is to be run again.

    `run` is the path of its run, absolute. `missing` says why its data cannot be had here; `slots` are those that the
    sweep had.
    """

    trial: Trial
    name: str
    run: str
    origin: Origin
    differences: Sequence[Difference] = field(default_factory=tuple)
    missing: str = ""
    slots: Sequence[str] = ()


def reproduction_text(one: Reproduction) -> str:
    """All of it, plain text, safe for a terminal."""
    facts = one.trial.facts
    head = f"trial {facts.number:04d} of {plain(one.name)}: {params_of(one.trial)}, seed {facts.seed}"
    lines = [head.replace(": , ", ": "), f"  {end_line(one.trial)}", "", "recorded:", *_aligned(_recorded(one))]
    lines += ["", differences_text(one), "", "to run it again:", *(f"  {line}" for line in commands(one))]
    return "\n".join(lines) + "\n"


def differences_text(one: Reproduction) -> str:
    """What is not here and now as it was recorded."""
    different = list(_different(one))
    return "\n".join(["not so here and now:", *_aligned(different)]) if different else _nothing(one)


def commands(one: Reproduction) -> list[str]:
    """What to type, one line each, to have things as they were recorded, and the trial run."""
    call = f"sweeper reproduce {shlex.quote(one.run)} {one.trial.facts.number}"
    by_kind = {kind: [d for d in one.differences if d.kind is kind] for kind in Kind}
    lines = []
    commit = plain(one.origin.get("commit", ""))
    if by_kind[Kind.CODE] and commit:
        here = next((d.here for d in by_kind[Kind.CODE]), "-")
        lines += (
            [f"cd {shlex.quote(plain(one.origin['directory']))}"] if here == "-" and "directory" in one.origin else []
        )
        folder = shlex.quote(f"../{plain(one.name)}-{commit[:12]}")
        lines.append(f"git worktree add {folder} {shlex.quote(commit)} && cd {folder}")
        lines += [f"{call} --patch | git apply"] if one.origin.get("difference") else []
    wanted = [f"{d.name}=={d.there}" for d in by_kind[Kind.PACKAGE] if d.there != "-" and d.name != "sweeper"]
    lines += [f"pip install {' '.join(map(shlex.quote, wanted))}"] if wanted else []
    for variable in by_kind[Kind.ENVIRONMENT]:
        gone = variable.there == "-"
        lines.append(f"unset {variable.name}" if gone else f"export {variable.name}={shlex.quote(variable.there)}")
    return [*lines, f"{call} --run"]


def patch_of(origin: Origin) -> str:
    """What differed from the commit, as `git apply` takes it."""
    text = str(origin.get("difference", ""))
    return text if not text or text.endswith("\n") else f"{text}\n"


def _recorded(one: Reproduction) -> Iterator[tuple[str, str]]:
    origin, facts = one.origin, one.trial.facts
    yield "commit", commit_of(origin) or "none: it was no git repository"
    difference = str(origin.get("difference", ""))
    if REDACTED in difference:
        yield "", "secrets were taken out of what changed: it may not apply"
    untracked = origin.get("untracked")
    if isinstance(untracked, list) and untracked:
        names = ", ".join(map(plain, untracked[:MOST_SHOWN]))
        more = f" and {len(untracked) - MOST_SHOWN} more" if len(untracked) > MOST_SHOWN else ""
        yield "untracked", f"{names}{more}: files of which only the names are known"
    for key in ("directory", "host", "platform"):
        if origin.get(key):
            yield key, plain(origin[key])
    yield "command", plain(redacted(shlex.join(map(str, facts.command))))
    yield "parameters", plain(json.dumps(redacted_values(facts.params)))
    yield "environment", _pairs(origin.get("environment")) or "nothing that is recorded"
    yield "python", f"{plain(origin.get('python', '-'))}, {_packages(origin)}"
    devices = origin.get("devices")
    named = plain(", ".join(map(str, devices))) if isinstance(devices, list) and devices else "no device"
    slots = counted(len(one.slots), "slot", "slots")
    yield "machine", f"{named}, {counted(_whole(origin.get('cores')), 'core', 'cores')}, {slots}"
    yield from _data(origin)


def _packages(origin: Origin) -> str:
    packages = origin.get("packages")
    known = packages if isinstance(packages, Mapping) else {}
    torch = f" (torch {plain(known['torch'])})" if "torch" in known else ""
    return f"{counted(len(known), 'package', 'packages')}{torch}"


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


def _pairs(value: object) -> str:
    return plain(" ".join(f"{key}={item}" for key, item in value.items())) if isinstance(value, Mapping) else ""


def _data(origin: Origin) -> Iterator[tuple[str, str]]:
    """A line for each thing that was trained on: its name, where it is from, its checksum."""
    data = origin.get("data")
    for kind, value in data.items() if isinstance(data, Mapping) else ():
        if isinstance(value, Mapping):
            told = [str(value[key]) for key in ("name", "source") if key in value]
            told += [f"sha256 {item}" for key, item in value.items() if "sha256" in key and isinstance(item, str)]
            yield plain(kind), plain(", ".join(told))


def _different(one: Reproduction) -> Iterator[tuple[str, str]]:
    for difference in one.differences[:MOST_SHOWN]:
        yield difference.name, f"{difference.there} was recorded, {difference.here} is here"
    more = len(one.differences) - MOST_SHOWN
    if more > 0:
        yield f"and {more} more", ", ".join(difference.name for difference in one.differences[MOST_SHOWN:])
    if one.missing:
        yield "data", f"cannot be had: {plain(one.missing)}"


def _nothing(one: Reproduction) -> str:
    if not one.origin:
        return "Of its code, packages and machine nothing was recorded, so nothing can be compared with here and now."
    return "Nothing that was recorded is otherwise here and now."


def _aligned(pairs: Sequence[tuple[str, str]] | Iterator[tuple[str, str]]) -> list[str]:
    listed = list(pairs)
    width = max((len(name) for name, _ in listed), default=0)
    return [f"  {name:<{width}}  {text}" for name, text in listed]
