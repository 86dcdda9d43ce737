"""What it takes to run a trial again: what was recorded, what is not so here and now, and the commands; pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sweeper.record.trial import Trial
from sweeper.record.values.redaction import redacted, redacted_values
from sweeper.results.comparison.provenance import Difference, Kind, Origin, described
from sweeper.results.receipt import aligned, end_line
from sweeper.results.snapshot import params_of
from sweeper.results.wording import plain

MOST_SHOWN = 12
"""Differences that are listed; the commands that undo them have them all."""


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
    lines = [head.replace(": , ", ": "), f"  {end_line(one.trial)}", "", "recorded:", *aligned(_recorded(one))]
    lines += ["", differences_text(one), "", "to run it again:", *(f"  {line}" for line in commands(one))]
    return "\n".join(lines) + "\n"


def differences_text(one: Reproduction) -> str:
    """What is not here and now as it was recorded."""
    different = list(_different(one))
    return "\n".join(["not so here and now:", *aligned(different)]) if different else _nothing(one)


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
    facts = one.trial.facts
    yield "command", plain(redacted(shlex.join(map(str, facts.command))))
    yield "parameters", plain(json.dumps(redacted_values(facts.params)))
    yield "slots", plain(", ".join(one.slots)) or "not known"
    yield from described(one.origin)


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
