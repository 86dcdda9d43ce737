"""One byte of a record is altered: what its readers print is as before, or names the damaged file.

python -m tests.faults.damage TRIES SEED RUN ...      prints what was silent, and on standard error the outcomes
"""

from __future__ import annotations

import gc
import json
import random
import string
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sweeper.record.storage.layout import SweepDir
from tests.faults.small import says

COVERED = (
    "spec.json",
    "log.jsonl",
    "search.jsonl",
    "ended.jsonl",
    "inbox/*.json",
    "trials/*/trial.json",
    "trials/*/control.jsonl",
    "trials/*/attempts/*/claim",
    "trials/*/attempts/*/events.jsonl",
    "trials/*/attempts/*/exit.json",
    "trials/*/attempts/*/layers.f32",
    "trials/*/checkpoints/*.pt",
)
"""The files of a record that have checksums."""


def covered(run: SweepDir) -> list[Path]:
    """Return the files of a run that have checksums."""
    return [path for pattern in COVERED for path in sorted(run.path.glob(pattern)) if path.stat().st_size]


def altered(data: bytes, chance: random.Random) -> tuple[str, bytes]:
    """Return bytes of which one was flipped, replaced, removed, inserted or doubled, and in words what was done."""
    place = chance.randrange(len(data))
    before, byte, after = data[:place], data[place : place + 1], data[place + 1 :]
    printable = chance.choice(string.printable).encode()
    digit = chance.choice(string.digits).encode()
    how, middle = chance.choice(
        [
            ("flipped", bytes([byte[0] ^ 1 << chance.randrange(8)])),
            ("replaced", printable),
            ("digit", digit if byte.isdigit() else bytes([byte[0] ^ 1])),
            ("removed", b""),
            ("inserted", printable + byte),
            ("inserted", bytes([chance.randrange(256)]) + byte),
            ("doubled", byte + byte),
        ]
    )
    return f"{how} at {place} ({byte!r} became {middle!r})", before + middle + after


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What the readers print about a run: `status --json`, and `why` of each trial."""

    by_command: dict[str, tuple[int, str, str]]

    @classmethod
    def of(cls, run: SweepDir) -> Answers:
        commands = {"status": ("status", str(run.path), "--json")}
        for number in range(len(list(run.path.glob("trials/*")))):
            commands[f"why {number}"] = ("why", str(run.path), str(number))
        return cls(by_command={name: says(*command) for name, command in commands.items()})

    def silent(self, undamaged: Answers, path: Path) -> Iterator[str]:
        """Yield the commands that print something else than before, and do not name the damaged file."""
        for name, (code, out, err) in self.by_command.items():
            whole = "".join((out + err).split())  # lines are folded, and names with them
            if (code, out, err) != undamaged.by_command[name] and str(path) not in whole:
                yield f"{name}: {_difference(undamaged.by_command[name][1], out)}"


def _difference(before: str, after: str) -> str:
    lines = [line for line in after.splitlines() if line not in before.splitlines()]
    return " | ".join(line.strip() for line in lines)[:300]


def harm(run: SweepDir, undamaged: Answers, chance: random.Random) -> tuple[str, list[str]]:
    """Alter one byte of a run, let all readers read it, and put the byte back.

    Returns:
        ``equal``, ``named`` or ``silent``, and what was silent.
    """
    path = chance.choice(covered(run))
    whole = path.read_bytes()
    how, changed = altered(whole, chance)
    if changed == whole:
        return "equal", []
    path.write_bytes(changed)
    try:
        answers = Answers.of(run)
        code, out, err = says("verify", str(run.path), "--json")
        silent = list(answers.silent(undamaged, path))
        is_cache = path.name == "ended.jsonl"
        found = {str(one["file"]) for kind in ("damage", "harmless") for one in json.loads(out)[kind]} if out else {err}
        if not is_cache and str(path) not in found and not _is_space_at_the_end(whole, changed):
            silent.append(f"verify: exit code {code}, {found}")
    finally:
        path.write_bytes(whole)
    outcome = "silent" if silent else "equal" if answers == undamaged else "named"
    return outcome, [f"{path.relative_to(run.path)}: {how}: {one}" for one in silent]


def _is_space_at_the_end(before: bytes, after: bytes) -> bool:
    """Whether only space around the checksum or after it differs, which is not part of the record."""
    start = len(before) - 40
    return before[:start] == after[:start] and b"".join(before.split()) == b"".join(after.split())


def main() -> int:
    """Alter bytes of runs; return 1 if the runs are not as they were in the end."""
    tries, seed, *names = sys.argv[1:]
    runs, chance, outcomes = [SweepDir(Path(name)) for name in names], random.Random(int(seed)), Counter[str]()
    undamaged = [Answers.of(run) for run in runs]
    for _ in range(int(tries)):
        index = chance.randrange(len(runs))
        outcome, silent = harm(runs[index], undamaged[index], chance)
        outcomes[outcome] += 1
        gc.unfreeze()  # each command excludes what it has made from garbage collection, because it ends soon
        print(*silent, sep="\n", end="\n" if silent else "", flush=True)  # noqa: T201 - it is the answer
    print(dict(outcomes), file=sys.stderr)  # noqa: T201 - as above
    return int([Answers.of(run) for run in runs] != undamaged)


if __name__ == "__main__":
    sys.exit(main())
