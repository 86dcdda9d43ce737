"""Describe how to reproduce a trial: what was recorded, what differs here, and the commands to run; pure functions."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sweeper.record.trial import TrialRecord
from sweeper.record.values.redaction import redacted, redacted_values
from sweeper.results.comparison.provenance import Difference, DifferenceKind, Origin, described
from sweeper.results.lineage import derivation_text
from sweeper.results.receipt import aligned, end_line
from sweeper.results.snapshot import params_of
from sweeper.results.wording import plain

MOST_SHOWN = 12
"""Maximum number of differences that are listed; the commands undo all of them."""


_COMMIT = re.compile(r"[0-9a-fA-F]{7,64}")
_REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9.!+_-]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """A recorded trial, and how the machine that reproduces it differs.

    Args:
        name: name of the sweep.
        run: absolute path of the run directory.
        origin: the recorded provenance.
        differences: what differs here from the recorded provenance.
        missing: why the trial's data is not available here; empty if it is.
        slots: the slots that the sweep had.
    """

    trial: TrialRecord
    name: str
    run: str
    origin: Origin
    differences: Sequence[Difference] = field(default_factory=tuple)
    missing: str = ""
    slots: Sequence[str] = ()


def reproduction_text(one: Reproduction) -> str:
    """Return the whole description: plain text, safe for a terminal."""
    facts = one.trial.facts
    head = f"trial {facts.number:04d} of {plain(one.name)}: {params_of(one.trial)}, seed {facts.seed}"
    lines = [head.replace(": , ", ": "), f"  {end_line(one.trial)}", "", "recorded:", *aligned(_recorded(one))]
    lines += ["", differences_text(one), "", "to reproduce it:", *(f"  {line}" for line in commands(one))]
    return "\n".join(lines) + "\n"


def differences_text(one: Reproduction) -> str:
    """Return what differs here from what was recorded."""
    different = list(_different(one))
    return "\n".join(["different here:", *aligned(different)]) if different else _no_difference(one)


def commands(one: Reproduction) -> list[str]:
    """Return the shell commands, one per line, that restore the recorded environment and run the trial.

    What is recorded may come from another user, so it is quoted. What could act even so is left out: a commit or a
    package that reads like an option, and a variable with a name that a shell cannot set.
    """
    call = f"sweeper reproduce {shlex.quote(one.run)} {one.trial.facts.number}"
    by_kind = {kind: [d for d in one.differences if d.kind is kind] for kind in DifferenceKind}
    lines = []
    commit = plain(one.origin.get("commit", ""))
    if by_kind[DifferenceKind.CODE] and _COMMIT.fullmatch(commit):
        here = next((d.here for d in by_kind[DifferenceKind.CODE]), "-")
        lines += (
            [f"cd -- {shlex.quote(plain(one.origin['directory']))}"]
            if here == "-" and "directory" in one.origin
            else []
        )
        folder = shlex.quote(f"../{plain(one.name)}-{commit[:12]}")
        lines.append(f"git worktree add {folder} {shlex.quote(commit)} && cd {folder}")
        lines += [f"{call} --patch | git apply"] if one.origin.get("difference") else []
    packages = [d for d in by_kind[DifferenceKind.PACKAGE] if d.there != "-" and d.name != "sweeper"]
    wanted = [f"{d.name}=={d.there}" for d in packages if _REQUIREMENT.fullmatch(f"{d.name}=={d.there}")]
    lines += [f"pip install {' '.join(map(shlex.quote, wanted))}"] if wanted else []
    for variable in by_kind[DifferenceKind.ENVIRONMENT]:
        if not _VARIABLE.fullmatch(variable.name):
            continue
        unset = variable.there == "-"
        lines.append(f"unset {variable.name}" if unset else f"export {variable.name}={shlex.quote(variable.there)}")
    return [*lines, f"{call} --run"]


def patch_of(origin: Origin) -> str:
    """Return the recorded difference from the commit as a patch for `git apply`; empty if there was none."""
    text = str(origin.get("difference", ""))
    return text if not text or text.endswith("\n") else f"{text}\n"


def _recorded(one: Reproduction) -> Iterator[tuple[str, str]]:
    facts = one.trial.facts
    yield "command", plain(redacted(shlex.join(map(str, facts.command))))
    yield "parameters", plain(json.dumps(redacted_values(facts.params)))
    if facts.derived is not None:
        yield "lineage", derivation_text(facts.derived)
    yield "slots", plain(", ".join(one.slots)) or "unknown"
    yield from described(one.origin)


def _different(one: Reproduction) -> Iterator[tuple[str, str]]:
    for difference in one.differences[:MOST_SHOWN]:
        yield difference.name, f"recorded {difference.there}, here {difference.here}"
    more = len(one.differences) - MOST_SHOWN
    if more > 0:
        yield f"and {more} more", ", ".join(difference.name for difference in one.differences[MOST_SHOWN:])
    if one.missing:
        yield "data", f"not available: {plain(one.missing)}"


def _no_difference(one: Reproduction) -> str:
    if not one.origin:
        return "Its code, packages and machine were not recorded, so they cannot be compared with this environment."
    return "This environment is the same as the recorded one."
