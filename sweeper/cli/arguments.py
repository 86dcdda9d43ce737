"""What the arguments of commands have to be, and those that several commands share."""

from __future__ import annotations

import argparse
import difflib
import math
import os
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from sweeper.cli.setup.completers import completed_by, numbers, runs, sweep_files
from sweeper.errors import UsageError
from sweeper.record.storage.layout import SweepDir, TrialDir

if TYPE_CHECKING:
    from sweeper.config import SweepSpec
    from sweeper.executors.machine import Machine
    from sweeper.service.machine import SweepFile

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - it has no public name


Number = TypeVar("Number", int, float)

RUNS = Path("runs")

LOOKED_AT = 1000
"""Maximum number of entries of a folder in which a run is looked for that may be meant."""


def add_command(commands: Commands, name: str, does: str, **how: Any) -> argparse.ArgumentParser:
    """Add a command; `does` is a sentence in the imperative without its full stop, and `how` as for `add_parser`."""
    return commands.add_parser(name, help=does[:1].lower() + does[1:], description=f"{does}.", **how)


def add_file(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for a sweep file: the file, overrides of its keys, and its profile."""
    completed_by(parser.add_argument("file", type=Path, metavar="FILE", help="sweep file"), sweep_files)
    overrides = "overrides of the file, as in lr=1e-4 or parameters.lr.values=[1e-5,3e-5]"
    # Without a default of its own, argparse lists it among the required arguments.
    parser.add_argument("overrides", nargs="*", default=[], metavar="KEY=VALUE", help=overrides)
    parser.add_argument(
        "--profile", metavar="NAME", help="profile of the file (default: the first that fits this machine)"
    )


def source_of(options: argparse.Namespace) -> SweepFile:
    """The sweep file that the arguments of `add_file` name."""
    from sweeper.service.machine import SweepFile

    runs = getattr(options, "runs", RUNS)
    return SweepFile(file=options.file, overrides=options.overrides, profile=options.profile, runs=runs)


def spec_of(options: argparse.Namespace, devices: Sequence[str], *, inspect: bool = True) -> SweepSpec:
    """The sweep that the arguments of `add_file` name, on a machine with these CUDA devices.

    With `inspect`, what its command would run is checked too: whether it is there, and gets the parameters.

    Raises:
        UsageError: the file, its profile or its overrides are wrong.
    """
    from sweeper.cli.messages import warn
    from sweeper.service.machine import loaded

    return loaded(source_of(options), devices, say=warn, inspect=inspect)


def warn_of_variables(spec: SweepSpec) -> None:
    """Print a warning if the sweep cannot run here, because an environment variable that it names is not set."""
    from sweeper.cli.messages import warn
    from sweeper.service.machine import missing_variables

    if missing := missing_variables(spec):
        warn(missing)


def add_runs(parser: argparse.ArgumentParser) -> None:
    """Add the option for the directory of runs."""
    parser.add_argument("--runs", type=Path, default=RUNS, metavar="DIR", help="directory of the runs (default: runs)")


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add the argument for a run."""
    completed_by(
        parser.add_argument("run", type=Path, metavar="RUN", help="directory of a run, as in runs/warmup"), runs
    )


def add_slots(parser: argparse.ArgumentParser, *, starts: bool) -> None:
    """Add the options for the slots of a sweep; without `starts`, the command runs it only if no other process does."""
    only = "" if starts else ", if this command has to start the sweep itself"
    workers = f"number of concurrent trials{only} (default: as many as fit)"
    share = f"use cores and GPUs that are in use{only} (default: wait for them)"
    parser.add_argument("--workers", type=positive, metavar="N", help=workers)
    parser.add_argument("--share", action="store_true", help=share)


def machine_of(options: argparse.Namespace) -> Machine:
    """The machine of this process, with the slots that the options of `add_slots` allow."""
    from sweeper.executors.gpus.devices import cores, cuda_devices
    from sweeper.executors.machine import Machine

    return Machine(devices=cuda_devices(os.environ), cores=cores(), workers=options.workers, share=options.share)


def add_author(parser: argparse.ArgumentParser) -> None:
    """Add the options for who gives a command, and why."""
    parser.add_argument("--because", default="", metavar="TEXT", help="reason, for the record and the receipts")
    parser.add_argument(
        "--by", default="", metavar="NAME", help="who asks, for the record (default: the user and the host)"
    )


def add_trial(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for a trial: its run and its number."""
    add_run(parser)
    completed_by(parser.add_argument("number", type=whole, metavar="NUMBER", help="number of the trial"), numbers)


def existing(path: Path) -> SweepDir:
    """The run at a path.

    Raises:
        UsageError: there is none.
    """
    run = SweepDir(path)
    if not run.spec.exists():
        raise no_run(path)
    return run


def no_run(path: Path) -> UsageError:
    """The error for a path that is no run, with a run that may be meant, or one that exists, as an example."""
    found = sorted({str(one) for folder in (path.parent, RUNS) for one in _runs_in(folder)})
    expected = f"{path}: expected the directory of a run (it has a spec.json)"
    by_name = {Path(one).name: one for one in found}
    if near := difflib.get_close_matches(path.name, by_name, n=1):
        return UsageError(f"{expected}; did you mean {by_name[near[0]]}?")
    return UsageError(f"{expected}, as in {found[0] if found else 'runs/warmup'}")


def _runs_in(folder: Path) -> list[Path]:
    """The runs in a folder, of its first `LOOKED_AT` entries; none if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            paths = [folder / entry.name for entry in islice(entries, LOOKED_AT)]
            return [path for path in paths if SweepDir(path).spec.exists()]
    except OSError:
        return []


def existing_trial(run: SweepDir, number: int) -> TrialDir:
    """A trial of a run.

    Raises:
        UsageError: the run has no such trial.
    """
    from sweeper.service.commands import trial_of

    return trial_of(run, number)


def whole(text: str) -> int:
    """A whole number."""
    return _read(int, text, "a whole number")


def positive(text: str) -> int:
    """A whole number above 0."""
    value = _read(int, text, "a whole number above 0")
    if value < 1:
        message = f"expected a number above 0, got {text}"
        raise argparse.ArgumentTypeError(message)
    return value


def part(text: str) -> float:
    """A number between 0 and 1."""
    value = _read(float, text, "a part between 0 and 1")
    if not 0 < value < 1:
        message = f"expected a part between 0 and 1, got {text}"
        raise argparse.ArgumentTypeError(message)
    return value


def seconds(text: str) -> float:
    """A time of 0 seconds or more."""
    value = _read(float, text, "seconds, 0 or more")
    if not 0 <= value < math.inf:
        message = f"expected seconds, 0 or more, got {text}"
        raise argparse.ArgumentTypeError(message)
    return value


def port(text: str) -> int:
    """A port, 0 for any."""
    value = _read(int, text, "a port from 0 to 65535")
    if not 0 <= value < 1 << 16:
        message = f"expected a port from 0 to 65535, got {text}"
        raise argparse.ArgumentTypeError(message)
    return value


def _read(kind: Callable[[str], Number], text: str, expected: str) -> Number:
    """The number in a text; without this, argparse would print the name of a function of Python."""
    try:
        return kind(text)
    except ValueError:
        message = f"expected {expected}, got {text!r}"
        raise argparse.ArgumentTypeError(message) from None
