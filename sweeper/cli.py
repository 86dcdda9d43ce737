"""The command line: `sweeper run | plan | exec | status | why | revive | add | backtest | calibrate | tensorboard`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.errors import SweeperError, Unwritable, UsageError
from sweeper.record.layout import SweepDir, TrialDir, new_name

if TYPE_CHECKING:
    from rich.console import Console

    from sweeper.orchestrator.opening import Run
    from sweeper.record.events import Event
    from sweeper.record.trial import Trial
    from sweeper.spec import EarlyStop
    from sweeper.spec.model import Figures

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - it has no public name

OK, FAILED, USAGE, PRUNED, INTERRUPTED = 0, 1, 2, 3, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command line; returns the exit code. A user's mistake is one clear sentence, never a traceback."""
    try:
        from sweeper.views.unattended import unattended

        options = _parser().parse_args(arguments)
        with unattended() if options.unattended else nullcontext():
            code: int = options.run_command(options)
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where it can be said that nobody reads it
    except SweeperError as error:
        _warn(str(error))
        return USAGE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:  # a disk says no where nobody expected it
        print(_in_words(error), file=sys.stderr)
        return USAGE
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sweeper", description="Sweeps that stop stalled runs early, and say why.")
    parser.set_defaults(unattended=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run a sweep file, or go on with it")
    run.add_argument("file", type=Path, metavar="FILE")
    run.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="lr=1e-4, parameters.lr.values=[1e-5,3e-5], ...")
    run.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="where runs are kept (runs)")
    run.add_argument("--workers", type=_positive, metavar="N", help="trials at a time (as many as fit)")
    run.add_argument("--profile", metavar="NAME", help="a profile of the file (the first that fits this machine)")
    run.add_argument(
        "--share", action="store_true", help="use GPUs and cores that others use too (they are waited for)"
    )
    run.set_defaults(run_command=_run, unattended=True)

    planned = commands.add_parser("plan", help="what a sweep file is going to do; starts nothing, writes nothing")
    planned.add_argument("file", type=Path, metavar="FILE")
    planned.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="as for run")
    planned.add_argument("--profile", metavar="NAME", help="a profile of the file (the first that fits this machine)")
    planned.add_argument(
        "--against", type=Path, nargs="+", default=[], metavar="RUN", help="recorded runs to learn from"
    )
    planned.add_argument("--examples", type=_positive, metavar="N", help="training examples (of the prepared data)")
    planned.set_defaults(run_command=_plan)

    single = commands.add_parser(
        "exec", help="run one command, watched as a sweep's trial is", usage="%(prog)s [OPTION ...] -- COMMAND ..."
    )
    single.add_argument("--early-stop", metavar="FILE", help="its rules, or none (the rule stalled)")
    single.add_argument("--name", metavar="NAME", help="of the run, to go on with it (made of script and time)")
    single.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="where runs are kept (runs)")
    single.add_argument("--metric", default="loss/train", metavar="NAME", help="what the run is valued by (loss/train)")
    single.add_argument("--goal", default="minimize", choices=["minimize", "maximize"], help="(minimize)")
    single.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="run as it is")
    single.set_defaults(run_command=_exec, unattended=True)

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
    board.add_argument("--port", type=_port, help="port (from 6006 on the first that is free; 0 takes any free one)")
    board.set_defaults(run_command=_tensorboard)
    _add_commands_to_a_run(commands)
    _add_commands_on_verdicts(commands)
    return parser


def _add_commands_to_a_run(commands: Commands) -> None:
    revive = commands.add_parser("revive", help="let a pruned trial go on from its checkpoint; no rule stops it again")
    revive.add_argument("run", type=Path, metavar="RUN")
    revive.add_argument("number", type=int, metavar="NUMBER")
    revive.add_argument("--workers", type=_positive, metavar="N", help="trials at a time, where nothing runs the sweep")
    revive.set_defaults(run_command=_revive, unattended=True)

    add = commands.add_parser("add", help="add a configuration to a sweep, whether or not it runs")
    add.add_argument("run", type=Path, metavar="RUN")
    add.add_argument("parameters", nargs="+", metavar="NAME=VALUE", help="of each parameter that varies: lr=1e-4 ...")
    add.add_argument("--workers", type=_positive, metavar="N", help="trials at a time, where nothing runs the sweep")
    add.set_defaults(run_command=_add, unattended=True)


def _add_commands_on_verdicts(commands: Commands) -> None:
    calibrate = commands.add_parser("calibrate", help="the thresholds that recorded learners allow a rule")
    calibrate.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="recorded with no rule, or only observed")
    calibrate.add_argument("--alpha", type=_part, default=0.05, help="the part of learners it may condemn (0.05)")
    calibrate.add_argument("--rules", metavar="FILE", help="with the rules to calibrate (the rule stalled)")
    calibrate.set_defaults(run_command=_calibrate)

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


def _run(options: argparse.Namespace) -> int:
    from sweeper.executors.devices import cores, cuda_devices
    from sweeper.orchestrator.opening import open_run
    from sweeper.orchestrator.provenance import provenance
    from sweeper.spec import load
    from sweeper.trainers import TRAINERS

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
    return _orchestrate(run, devices=devices, own_cores=own_cores, workers=options.workers, share=options.share)


def _plan(options: argparse.Namespace) -> int:
    from sweeper.executors.devices import cuda_devices
    from sweeper.orchestrator.preflight import examples_of, preflight_text, recorded
    from sweeper.spec import load
    from sweeper.trainers import TRAINERS

    spec = load(
        options.file,
        overrides=options.overrides,
        profile=options.profile,
        has_cuda=bool(cuda_devices(os.environ)),
        trainers={name: trainer.defaults for name, trainer in TRAINERS.items()},
    )
    runs = {run.resolve(): _existing(run) for run in options.against}  # each counts once
    against = [trial for run in runs.values() for trial in recorded(run)]
    examples = examples_of(spec, options.examples)
    print(preflight_text(spec, examples=examples, against=against), end="")
    return OK


def _orchestrate(run: Run, *, devices: Sequence[str], own_cores: int, workers: int | None, share: bool = False) -> int:
    """Run what is left of an opened run on this machine, and print the ranking."""
    from sweeper.executors.machine import Machine, executor_of
    from sweeper.orchestrator.run import Orchestrator
    from sweeper.orchestrator.slots import measured_peak_mb
    from sweeper.record.fold import State
    from sweeper.record.trial import read_trials
    from sweeper.rules import rules_of
    from sweeper.search import search_for
    from sweeper.spec import Launch
    from sweeper.views.live import show
    from sweeper.views.wording import counted

    try:
        executor = executor_of(
            Machine(devices=devices, cores=own_cores, environment=os.environ),
            run.directory.path,
            run.spec.resources,
            workers=workers,
            share=share,
            preload=run.spec.launch is Launch.PRELOAD,
            peak_mb=measured_peak_mb(trial for trial, _ in read_trials(run.directory)[0]),
        )
    except UsageError:
        run.lease.release()
        raise
    with show(sys.stdout) as view:
        orchestrator = Orchestrator(
            run,
            executor=executor,
            search=search_for(run.spec),
            rules=rules_of(run.spec.early_stop),
            show=view,
        )
        try:
            outcome = orchestrator.run()
        except BrokenPipeError:
            raise
        except OSError as error:
            running = sum(trial.state is State.RUNNING for trial in orchestrator.trials)
            left = f"{counted(running, 'trial runs', 'trials run')} on, and the next call takes over"
            raise Unwritable(f"{_in_words(error)}.\nThe sweep ends here; {left}") from error
    run.lease.release()
    _print_ranking(run.directory)
    for line in orchestrator.known_of_rules:
        _say(f"\n{line}")
    if outcome == "interrupted":
        _say(f"Interrupted. The same command goes on from here: {run.directory.path} has the checkpoints.")
    return {"complete": OK, "spent": OK, "failed": FAILED}.get(outcome, INTERRUPTED)


def _revive(options: argparse.Namespace) -> int:
    from sweeper.record.fold import State
    from sweeper.record.trial import read_trial

    run = _existing(options.run)
    trial = read_trial(_trial(run, options.number))
    if trial.state is not State.PRUNED:
        message = f"{options.run}: expected the number of a pruned trial, got {options.number}, which is "
        raise UsageError(message + trial.state.value)
    return _command(run, {"do": "revive", "number": options.number}, workers=options.workers)


def _add(options: argparse.Namespace) -> int:
    from sweeper.record.layout import read_json
    from sweeper.spec import SweepSpec, configuration

    run = _existing(options.run)
    spec = SweepSpec.from_json(read_json(run.spec)["spec"])  # type: ignore[arg-type]  # from_json says what is wrong
    params = configuration(spec, options.parameters)
    return _command(run, {"do": "add", "params": params}, workers=options.workers)


def _command(run: SweepDir, command: Mapping[str, object], *, workers: int | None) -> int:
    """Hand a command to the orchestrator of a run; where none is at work, become it."""
    from sweeper.executors.devices import cores, cuda_devices
    from sweeper.orchestrator.opening import reopen_run
    from sweeper.record import inbox
    from sweeper.record.lease import is_held

    inbox.send(run, command)
    if is_held(run.lease):
        _say(f"{run.path}: told the process that runs it; watch it there, or with `sweeper status {run.path}`")
        return OK
    return _orchestrate(reopen_run(run), devices=cuda_devices(os.environ), own_cores=cores(), workers=workers)


def _exec(options: argparse.Namespace) -> int:
    from sweeper.executors.devices import cores, cuda_devices
    from sweeper.executors.machine import Machine, executor_of_one
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
    machine = Machine(devices=cuda_devices(os.environ), cores=cores(), environment=os.environ)
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
        provenance=lambda: provenance(folder=Path.cwd(), devices=machine.devices, cores=machine.cores),
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
            executor=executor_of_one(machine, run.directory.path),
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
    from sweeper.spec import Mode, rule_name

    if early_stop is None or not early_stop.rules:
        return "no rule may stop it"
    texts = []
    for rule in early_stop.rules:
        changed = ", ".join(f"{key} {value}" for key, value in rule.model_dump(exclude_defaults=True).items())
        texts.append(f"{rule_name(rule)} ({changed})" if changed else rule_name(rule))
    verb = "watched by" if early_stop.mode is Mode.OBSERVE else "stopped early by"
    return f"{verb} {' or '.join(texts)}; --early-stop none switches that off"


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
    from sweeper.record.trial import read_trial, read_trials
    from sweeper.views.receipt import receipt
    from sweeper.views.wording import folded

    directory = _trial(_existing(options.run), options.number)
    read, _ = read_trials(_existing(options.run))
    siblings = [trial for trial, _ in read if trial.facts.number != options.number]
    print(folded(receipt(read_trial(directory), siblings), sys.stdout))
    return OK


def _calibrate(options: argparse.Namespace) -> int:
    from sweeper.rules.conformal import PROMISE, Family, calibrate
    from sweeper.spec import EarlyStop, RuleSettings, as_rules, rules_of_file
    from sweeper.views.wording import folded

    given = (EarlyStop() if options.rules is None else rules_of_file(options.rules)).rules
    learners, stalls = _learners_and_stalls(options.runs)
    found = [
        calibrate(rule, learners, stalls, options.alpha)
        if isinstance(rule, RuleSettings) and Family(rule).thresholds
        else None
        for rule in given
    ]
    calibrated = [one for one in found if one is not None]
    if not calibrated:
        expected = "expected a rule with a threshold from below: stalled, vanishing_gradient or update_ratio"
        raise UsageError(f"{options.rules}: {expected}, got none")
    for one in calibrated:
        print(folded(f"\n{one.text()}", sys.stdout))
    print(folded(f"\n{PROMISE.format(alpha=options.alpha)}", sys.stdout))
    if len(given) > 1:
        also = f"This is so for each of the {len(calibrated)} calibrated rules by itself, and for no other rule."
        print(folded(also, sys.stdout))
    rules = [rule if one is None else one.rule for rule, one in zip(given, found, strict=True)]
    print(f"\n{as_rules(rules)}", end="")
    return OK


def _learners_and_stalls(runs: Sequence[Path]) -> tuple[list[Sequence[Event]], list[Sequence[Event]]]:
    """The histories of the trials that ended by themselves, judged among those of their run; says what is left out."""
    from sweeper.backtest import read_recordings
    from sweeper.record.fold import State

    recordings = read_recordings({path.resolve(): path for path in runs}.values(), say=_warn)
    judged = [(recording.is_learner(case), case.events) for recording in recordings for case in recording.cases]
    learners = [events for learned, events in judged if learned]
    stalls = [events for learned, events in judged if not learned]
    left_out = sum((Counter(recording.left_out) for recording in recordings), Counter[str]())
    but = f" (left out: {', '.join(f'{count} {why}' for why, count in left_out.items())})" if left_out else ""
    _say(f"{len(learners)} learners and {len(stalls)} stalls, of trials that ended by themselves{but}")
    if left_out[State.PRUNED.value]:
        _say(
            "Whether those that were pruned would have learned is not known: the learners that are left are those that "
            "a rule spared, and say less of it. Calibrate on runs with early_stop.mode: observe, or without rules."
        )
    return learners, stalls


def _backtest(options: argparse.Namespace) -> int:
    from sweeper.backtest import arms, backtest, read_recordings, to_json
    from sweeper.backtest.table import WIDTH, report_table
    from sweeper.spec import rules_of_file

    rules = None if options.rules is None else rules_of_file(options.rules)
    recordings = read_recordings(options.runs, metric=options.metric, goal=options.goal, start=options.start, say=_warn)
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
    if options.port:
        _expect_free(options.host, options.port)
    if not is_held(run.views_lease):
        figures = _figures_of(run)
        try:
            project(run, figures.every_steps, figures.max_layers)
        except OSError as error:
            _warn(f"{run.tensorboard}: cannot be drawn anew ({error.strerror}); what was drawn before is shown")
    plugins = "images=10000,histograms=10000,scalars=10000,text=1000,hparams=1000"
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(run.tensorboard)]
    port = [] if options.port is None else ["--port", str(options.port)]  # unasked, TensorBoard takes the next free one
    os.execv(  # noqa: S606 - TensorBoard takes this process's place, so that Ctrl-C reaches it alone
        sys.executable,
        [*command, "--host", options.host, *port, "--samples_per_plugin", plugins],
    )


def _expect_free(host: str, port: int) -> None:
    import socket

    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.create_server(address, family=family):
            pass
    except OSError as error:
        advice = "take another with --port, or 0 for a free one"
        raise UsageError(f"expected that port {port} of {host} is free, got: {error.strerror}; {advice}") from error


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


def _trial(run: SweepDir, number: int) -> TrialDir:
    directory = run.trial(number)
    if directory.is_unmade or not directory.path.exists():
        numbers = [trial.number for trial in run.trials()]
        known = f"{min(numbers)} to {max(numbers)}" if numbers else "none yet"
        raise UsageError(f"{run.path}: expected the number of a trial ({known}), got {number}")
    return directory


def _print_ranking(run: SweepDir) -> None:
    from sweeper.views.ranking import ranking, ranking_text
    from sweeper.views.status import read_sweep

    console, sweep = _console(), read_sweep(run)
    if console.is_terminal:
        console.print(ranking(sweep, width=console.width))
    else:
        print(ranking_text(sweep))


def _in_words(error: OSError) -> str:
    if isinstance(error, SweeperError):
        return str(error)
    where = f"{error.filename}: " if error.filename is not None else ""
    return f"{where}{error.strerror or error}; make room, or mend it, then call again"


def _console(width: int | None = None) -> Console:
    from rich.console import Console

    return Console(highlight=False, width=width)


def _say(text: str) -> None:
    print(_plain(text), flush=True)


def _warn(text: str) -> None:
    print(_plain(text), file=sys.stderr, flush=True)


def _plain(text: str) -> str:
    """Lines that may quote what others wrote, so that none of it acts on a terminal."""
    from sweeper.views.wording import plain

    return "\n".join(plain(line) for line in text.split("\n"))


def _say_profile(name: str | None, description: str) -> None:
    if name is not None:
        _say(f"profile {name}: {description}" if description else f"profile {name}")


def _part(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        message = f"expected a part between 0 and 1, got {text}"
        raise argparse.ArgumentTypeError(message)
    return value


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value < 1 << 16:
        message = f"expected a port from 0 to 65535, got {text}"
        raise argparse.ArgumentTypeError(message)
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        message = f"expected a number above 0, got {text}"
        raise argparse.ArgumentTypeError(message)
    return value


if __name__ == "__main__":
    sys.exit(main())
