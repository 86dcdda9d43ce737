"""Commands from other terminals to the orchestrator of a run: a file each, moved in whole, removed once carried out.

An orchestrator that dies in between carries a command out again; each of them says what is to be, so twice is once.
"""

from __future__ import annotations

import getpass
import os
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from sweeper.errors import RecordError
from sweeper.record.storage.layout import SweepDir, read_json, write_json


def send(run: SweepDir, command: Mapping[str, object]) -> None:
    """Leave a command; they are carried out in the order of their times."""
    run.inbox.mkdir(exist_ok=True)
    write_json(run.inbox / f"{time.time_ns():020d}-{os.getpid()}.json", command)


def person() -> str:
    """Who calls this, for the record."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        name = f"user {os.getuid()}"
    return f"{name} on {socket.gethostname()}"


def received(run: SweepDir) -> Iterator[tuple[Path, Mapping[str, object]]]:
    """The commands that wait, oldest first, each with the file to unlink; one that cannot be read is an empty one."""
    try:
        paths = sorted(path for path in run.inbox.iterdir() if path.suffix == ".json" and path.name[0] != ".")
    except FileNotFoundError:
        return
    for path in paths:
        try:
            yield path, read_json(path)
        except RecordError:
            yield path, {}
