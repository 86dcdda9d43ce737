"""The command line: `sweeper run | status | why | tensorboard`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.errors import SweeperError, UsageError
from sweeper.record.layout import SweepDir

if TYPE_CHECKING:
    from rich.console import Console

    from sweeper.spec.model import Figures

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command line; returns the exit code. A user's mistake is one clear sentence, never a traceback."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run_command(options)
    except SweeperError as error:
        print(error, file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sweeper", description="Sweeps that stop stalled runs early, and say why.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run a sweep file, or go on with it")
    run.add_argument("file", type=Path, metavar="FILE")
    run.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="lr=1e-4, parameters.lr.values=[1e-5,3e-5], ...")
    run.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="where runs are kept (runs)")
    run.add_argument("--workers", type=_positive, metavar="N", help="trials at a time (as many as fit)")
    run.add_argument("--profile", metavar="NAME", help="a profile of the file (the first that fits this machine)")
    run.set_defaults(run_command=_run)

    status = commands.add_parser("status", help="what became of each trial, from the record alone")
    status.add_argument("run", type=Path, metavar="RUN")
    status.add_argument("--json", action="store_true", help="for programs")
    status.set_defaults(run_command=_status)

    why = commands.add_parser("why", help="the receipt of one trial: how it ended, and on what evidence")
    why.add_argument("run", type=Path, metavar="RUN")
    why.add_argument("number", type=int, metavar="NUMBER")
    why.set_defaults(run_command=_why)

    board = commands.add_parser("tensorboard", help="look at a run in TensorBoard")
    board.add_argument("run", type=Path, metavar="RUN")
    board.add_argument("--host", default="127.0.0.1", help="address to listen on (loopback)")
    board.add_argument("--port", type=int, default=6006, help="port (6006; 0 takes a free one)")
    board.set_defaults(run_command=_tensorboard)
    return parser


def _run(options: argparse.Namespace) -> int:
    from sweeper.executors.devices import cores, cuda_devices
    from sweeper.executors.local import LocalExecutor, local_slots
    from sweeper.orchestrator.opening import open_run
    from sweeper.orchestrator.provenance import provenance
    from sweeper.orchestrator.run import Orchestrator
    from sweeper.rules import rules_of
    from sweeper.search import search_for
    from sweeper.spec import load
    from sweeper.trainers import TRAINERS
    from sweeper.views.live import show

    devices, own_cores = cuda_devices(os.environ), cores()
    trainers = {name: trainer.defaults for name, trainer in TRAINERS.items()}
    spec = load(
        options.file,
        overrides=options.overrides,
        profile=options.profile,
        has_cuda=bool(devices),
        trainers=trainers,
    )
    _say_profile(spec.profile, spec.profile_description)
    run = open_run(
        spec,
        text=options.file.read_bytes(),
        runs=options.runs,
        provenance=lambda: provenance(folder=options.file.absolute().parent, devices=devices, cores=own_cores),
        say=_say,
    )
    resources = spec.resources
    slots = local_slots(
        devices=devices, cores=own_cores, workers=options.workers, gpus=resources.gpus, cpus=resources.cpus
    )
    with show(sys.stdout) as view:
        orchestrator = Orchestrator(
            run,
            executor=LocalExecutor(slots),
            search=search_for(spec),
            rules=rules_of(spec.early_stop),
            show=view,
        )
        outcome = orchestrator.run()
    run.lease.release()
    _print_ranking(run.directory)
    if outcome == "interrupted":
        _say(f"Interrupted. The same command goes on from here: {run.directory.path} has the checkpoints.")
    return {"complete": OK, "failed": FAILED}.get(outcome, INTERRUPTED)


def _status(options: argparse.Namespace) -> int:
    from sweeper.views.status import read_sweep, to_json
    from sweeper.views.table import status_table

    sweep = read_sweep(_existing(options.run))
    if options.json:
        print(json.dumps(to_json(sweep), indent=1))
    else:
        console = _console()
        console.print(status_table(sweep, width=console.width))
    return OK


def _why(options: argparse.Namespace) -> int:
    from sweeper.record.trial import read_trial
    from sweeper.views.receipt import receipt

    directory = _existing(options.run).trial(options.number)
    if not directory.facts.exists():
        numbers = [trial.number for trial in _existing(options.run).trials()]
        known = f"{min(numbers)} to {max(numbers)}" if numbers else "none yet"
        message = f"{options.run}: expected the number of a trial ({known}), got {options.number}"
        raise UsageError(message)
    print(receipt(read_trial(directory)))
    return OK


def _tensorboard(options: argparse.Namespace) -> int:
    from sweeper.record.lease import is_held
    from sweeper.views.process import project

    run = _existing(options.run)
    if not is_held(run.views_lease):
        figures = _figures_of(run)
        project(run, figures.every_steps, figures.max_layers)
    plugins = "images=10000,histograms=10000,scalars=10000,text=1000,hparams=1000"
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(run.tensorboard)]
    os.execv(  # noqa: S606 - TensorBoard takes this process's place, so that Ctrl-C reaches it alone
        sys.executable,
        [*command, "--host", options.host, "--port", str(options.port), "--samples_per_plugin", plugins],
    )


def _figures_of(run: SweepDir) -> Figures:
    """What the sweep file asks of the pictures; a trial that was run alone has none."""
    from sweeper.record.layout import read_json
    from sweeper.spec.model import Figures, SweepSpec

    spec = read_json(run.spec).get("spec")
    return SweepSpec.from_json(spec).figures if isinstance(spec, dict) and spec else Figures()


def _existing(path: Path) -> SweepDir:
    run = SweepDir(path)
    if not run.spec.exists():
        message = f"{path}: expected the directory of a run (it has a spec.json), as in runs/warmup"
        raise UsageError(message)
    return run


def _print_ranking(run: SweepDir) -> None:
    from sweeper.views.ranking import ranking, ranking_text
    from sweeper.views.status import read_sweep

    console, sweep = _console(), read_sweep(run)
    if console.is_terminal:
        console.print(ranking(sweep, width=console.width))
    else:
        print(ranking_text(sweep))


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False)


def _say(line: str) -> None:
    print(line, flush=True)


def _say_profile(name: str | None, description: str) -> None:
    if name is not None:
        _say(f"profile {name}: {description}" if description else f"profile {name}")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        message = f"expected a number above 0, got {text}"
        raise argparse.ArgumentTypeError(message)
    return value


if __name__ == "__main__":
    sys.exit(main())
