"""The command line: `sweeper run | exec | status | why | backtest | tensorboard`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.errors import SweeperError, UsageError
from sweeper.record.layout import SweepDir, new_name

if TYPE_CHECKING:
    from rich.console import Console

    from sweeper.record.trial import Trial
    from sweeper.spec import EarlyStop
    from sweeper.spec.model import Figures

OK, FAILED, USAGE, PRUNED, INTERRUPTED = 0, 1, 2, 3, 130


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

    single = commands.add_parser(
        "exec", help="run one command, watched as a sweep's trial is", usage="%(prog)s [OPTION ...] -- COMMAND ..."
    )
    single.add_argument("--early-stop", metavar="FILE", help="its rules, or none (the rule stalled)")
    single.add_argument("--name", metavar="NAME", help="of the run, to go on with it (made of script and time)")
    single.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="where runs are kept (runs)")
    single.add_argument("--metric", default="loss/train", metavar="NAME", help="what the run is valued by (loss/train)")
    single.add_argument("--goal", default="minimize", choices=["minimize", "maximize"], help="(minimize)")
    single.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="run as it is")
    single.set_defaults(run_command=_exec)

    status = commands.add_parser("status", help="what became of each trial, from the record alone")
    status.add_argument("run", type=Path, metavar="RUN")
    status.add_argument("--json", action="store_true", help="for programs")
    status.set_defaults(run_command=_status)

    why = commands.add_parser("why", help="the receipt of one trial: how it ended, and on what evidence")
    why.add_argument("run", type=Path, metavar="RUN")
    why.add_argument("number", type=int, metavar="NUMBER")
    why.set_defaults(run_command=_why)

    test = commands.add_parser("backtest", help="replay rules and pruners over recorded runs, and count their errors")
    test.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="directories of runs, or of TensorBoard logs")
    test.add_argument("--rules", metavar="FILE", help="its rules, or none (every built-in rule with its defaults)")
    test.add_argument("--metric", metavar="NAME", help="the objective (the run's own)")
    test.add_argument("--goal", choices=["minimize", "maximize"], help="(that of the run's own metric)")
    test.add_argument("--start", type=float, metavar="VALUE", help="the objective before training (from the record)")
    test.add_argument("--each", action="store_true", help="each run, before all of them together")
    test.add_argument("--trials", action="store_true", help="each trial, and where it would have been stopped")
    test.add_argument("--json", action="store_true", help="for programs")
    test.set_defaults(run_command=_backtest)

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


def _exec(options: argparse.Namespace) -> int:
    from sweeper.executors.devices import cores, cuda_devices
    from sweeper.executors.local import WHOLE_MACHINE, LocalExecutor
    from sweeper.orchestrator.opening import open_run
    from sweeper.orchestrator.provenance import provenance
    from sweeper.orchestrator.run import Orchestrator
    from sweeper.record.fold import State
    from sweeper.record.trial import read_trial
    from sweeper.rules import rules_of
    from sweeper.search import search_for
    from sweeper.spec import as_file, single
    from sweeper.views.passthrough import Passthrough
    from sweeper.views.receipt import receipt

    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        message = "sweeper exec: expected a command, got none; as in `sweeper exec -- python train.py`"
        raise UsageError(message)
    script = next((word for word in command if word.endswith(".py")), command[0])
    spec = single(
        command,
        name=options.name if options.name is not None else new_name(Path(script).stem),
        metric=options.metric,
        goal=options.goal,
        early_stop=options.early_stop,
    )
    run = open_run(
        spec,
        text=as_file(spec).encode(),
        runs=options.runs,
        provenance=lambda: provenance(folder=Path.cwd(), devices=cuda_devices(os.environ), cores=cores()),
        say=_say,
    )
    before = [read_trial(trial) for trial in run.directory.trials()]
    seen = max((trial.control.attempt for trial in before if trial.state is not State.RUNNING), default=0)
    view = Passthrough(sys.stdout.buffer, sys.stderr, seen=seen)
    if any(trial.state in (State.COMPLETE, State.PRUNED) for trial in before):
        view.say(f"{run.directory.path} has ended already; give another --name to run it anew")
    else:
        view.say(f"the record is {run.directory.path}")
        view.say(_rules_text(spec.early_stop))
        Orchestrator(
            run,
            executor=LocalExecutor([WHOLE_MACHINE]),
            search=search_for(spec),
            rules=rules_of(spec.early_stop),
            show=view,
        ).run()
    run.lease.release()
    trial = read_trial(run.directory.trial(0))
    view.write(f"\n{receipt(trial)}")
    if not trial.state.ended:
        view.say(f"interrupted; with --name {spec.name} the same command goes on")
    view.say(f"see it with `sweeper tensorboard {run.directory.path}`")
    return _exit_code(trial)


def _rules_text(early_stop: EarlyStop | None) -> str:
    if early_stop is None or not early_stop.rules:
        return "no rule may stop it"
    rules = early_stop.model_dump()["rules"]
    texts = [
        f"{name} ({', '.join(f'{k} {v}' for k, v in settings.items())})" for r in rules for name, settings in r.items()
    ]
    return f"stopped early if {' or '.join(texts)}; --early-stop none switches that off"


def _exit_code(trial: Trial) -> int:
    """Of the only trial of a run, as a shell sees it: the command's own code, unless a rule or a person ended it."""
    from sweeper.record.fold import State

    match trial.state:
        case State.PRUNED:
            return PRUNED
        case State.COMPLETE | State.FAIL:
            ended = trial.exits.get(trial.control.attempt)
            code = None if ended is None else ended.code
            return FAILED if code is None or (code == OK and trial.state is State.FAIL) else code
        case _:
            return INTERRUPTED


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
    from sweeper.views.wording import folded

    directory = _existing(options.run).trial(options.number)
    if not directory.facts.exists():
        numbers = [trial.number for trial in _existing(options.run).trials()]
        known = f"{min(numbers)} to {max(numbers)}" if numbers else "none yet"
        message = f"{options.run}: expected the number of a trial ({known}), got {options.number}"
        raise UsageError(message)
    print(folded(receipt(read_trial(directory)), sys.stdout))
    return OK


def _backtest(options: argparse.Namespace) -> int:
    from sweeper.backtest import arms, backtest, read_recording, to_json
    from sweeper.backtest.table import WIDTH, report_table
    from sweeper.spec import rules_of_file

    rules = None if options.rules is None else rules_of_file(options.rules)
    recordings = [
        read_recording(run, metric=options.metric, goal=options.goal, start=options.start) for run in options.runs
    ]
    report = backtest(recordings, arms(rules))
    if options.json:
        print(json.dumps(to_json(report), indent=1))
    else:
        # As wide as the table needs, also where the output goes into a file, for which rich takes 80 columns.
        console = _console() if sys.stdout.isatty() else _console(width=WIDTH)
        console.print(report_table(report, each=options.each, trials=options.trials))
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


def _console(width: int | None = None) -> Console:
    from rich.console import Console

    return Console(highlight=False, width=width)


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
