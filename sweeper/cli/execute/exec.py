"""`sweeper exec -- COMMAND`: one run without a sweep."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.cli.arguments import Commands, add_command, add_runs, whole
from sweeper.cli.exit_codes import FAILED, INTERRUPTED, OK, PRUNED
from sweeper.cli.messages import say
from sweeper.errors import UsageError
from sweeper.record.storage.layout import new_name

if TYPE_CHECKING:
    from sweeper.config import EarlyStop
    from sweeper.record.trial import TrialRecord


def add(commands: Commands) -> None:
    """Its arguments."""
    parser = add_command(
        commands,
        "exec",
        "Run one command without a sweep, watched like a trial",
        usage="%(prog)s [OPTION ...] -- COMMAND ...",
    )
    parser.add_argument(
        "--early-stop",
        metavar="RULES",
        help="rules that may stop the run: auto, none, or a file with rules (default: auto)",
    )
    parser.add_argument("--name", metavar="NAME", help="run name; reuse it to resume (default: script name and time)")
    add_runs(parser)
    parser.add_argument(
        "--watch",
        action=argparse.BooleanOptionalAction,
        help="watch a PyTorch script that does not use sweeper (default: for Python commands)",
    )
    parser.add_argument(
        "--metric",
        metavar="NAME",
        help="metric of the run (default: loss/train; loss/backward for a script that does not use sweeper)",
    )
    parser.add_argument(
        "--goal",
        default="minimize",
        choices=["minimize", "maximize"],
        help="direction of the metric (default: minimize)",
    )
    parser.add_argument("--retry", type=whole, metavar="N", help="maximum number of retries (default: 2)")
    parser.add_argument(
        "--retry-on", metavar="CAUSE,...", help="causes of failure after which to retry (default: killed,lost,hung)"
    )
    parser.add_argument(
        "--hang-after-s",
        type=float,
        metavar="S",
        help="seconds without a step after which the command is killed as hung (default: never)",
    )
    parser.add_argument(
        "--on-spike",
        choices=["record", "skip", "off"],
        help="what to do at a step with a spike of the loss or gradient (default: record)",
    )
    parser.add_argument(
        "--resume-args",
        metavar="ARGS",
        help="arguments for later attempts if their file exists, as in '--resume ${trial:dir}/last.pt' (default: none)",
    )
    parser.add_argument(
        "--output-limit-mb",
        type=float,
        metavar="MB",
        help="limit of the recorded output; beyond it, the middle is removed (default: 100)",
    )
    parser.add_argument(
        "command", nargs=argparse.REMAINDER, metavar="COMMAND", help="command and its arguments, passed on unchanged"
    )
    parser.set_defaults(run_command=_exec, survive_disconnect=True)


def _exec(options: argparse.Namespace) -> int:
    from sweeper.config import command_as_file, sweep_of_command
    from sweeper.executors.gpus.devices import cores, cuda_devices
    from sweeper.executors.machine import Machine, executor_of_command
    from sweeper.orchestrator.loop import Orchestrator
    from sweeper.orchestrator.opening import open_run
    from sweeper.preflight.provenance import provenance
    from sweeper.record.reader import read_trial
    from sweeper.record.trial import State
    from sweeper.results.receipt import receipt
    from sweeper.results.restart import has_checkpoint, own_checkpoint
    from sweeper.rules import rules_of
    from sweeper.search import search_for
    from sweeper.views.terminal.passthrough import Passthrough

    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        message = "sweeper exec: expected a command, got none; as in `sweeper exec -- python train.py`"
        raise UsageError(message)
    machine = Machine(devices=cuda_devices(os.environ), cores=cores(), environment=os.environ)
    script = next((word for word in command if word.endswith(".py")), command[0])
    watch = _is_python(command) if options.watch is None else options.watch
    others = {**({"watch": "auto"} if watch else {}), **_care(options)}
    spec = sweep_of_command(
        command,
        name=options.name if options.name is not None else new_name(Path(script).stem),
        metric=_default_metric(script, watch=watch) if options.metric is None else options.metric,
        goal=options.goal,
        early_stop=options.early_stop,
        other_keys=others,
    )
    run = open_run(
        spec,
        text=command_as_file(spec).encode(),
        runs=options.runs,
        provenance=lambda: provenance(folder=Path.cwd(), devices=machine.devices, cores=machine.cores),
        say=say,
    )
    before = [read_trial(trial) for trial in run.directory.trials()]
    seen = max((trial.newest.number for trial in before if trial.state is not State.RUNNING), default=0)
    view = Passthrough(sys.stdout.buffer, sys.stderr, seen=seen)
    if any(trial.state in (State.COMPLETE, State.PRUNED) for trial in before):
        view.say(f"{run.directory.path} has ended already; give another --name to run it anew")
    else:
        view.say(f"the record is {run.directory.path}")
        view.say(_rules_text(spec.early_stop))
        Orchestrator(
            run,
            executor=executor_of_command(machine, run.directory.path),
            search=search_for(spec),
            rules=rules_of(spec.early_stop, spec.score),
            display=view,
        ).run()
    run.lease.release()
    trial = read_trial(run.directory.trial(0))
    view.write(f"\n{receipt(trial, resume_args=spec.resume_args)}")
    if not trial.state.ended:
        goes_on = has_checkpoint(trial) or own_checkpoint(trial, spec.resume_args)
        again = "goes on" if goes_on else "starts it again"
        view.say(f"interrupted; with --name {spec.name} the same command {again}")
    view.say(f"see it with `sweeper tensorboard {run.directory.path}`")
    return _exit_code(trial)


def _care(options: argparse.Namespace) -> dict[str, object]:
    """How the command is watched over, as far as that is said."""
    on = None if options.retry_on is None else [word.strip() for word in options.retry_on.split(",")]
    retry = {name: value for name, value in (("max", options.retry), ("on", on)) if value is not None}
    hang = {} if options.hang_after_s is None else {"hang_after_s": options.hang_after_s}
    limit = {} if options.output_limit_mb is None else {"output_limit_mb": options.output_limit_mb}
    resume = {} if options.resume_args is None else {"resume_args": _words(options.resume_args)}
    spike = {} if options.on_spike is None else {"on_spike": options.on_spike}
    return {**({"retry": retry} if retry else {}), **hang, **limit, **resume, **spike}


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f"--resume-args: expected words as a shell takes them, got {text!r}: {error}") from None


PYTHON = re.compile(r"(python|pypy)[\d.]*|torchrun|accelerate|deepspeed")
"""Names of commands that run a Python program."""


def _is_python(command: Sequence[str]) -> bool:
    """Whether a command runs a Python program, as far as its words show."""
    return any(word.endswith(".py") or PYTHON.fullmatch(Path(word).name) for word in command)


def _default_metric(script: str, *, watch: bool) -> str:
    return "loss/backward" if watch and not _uses_sweeper(script) else "loss/train"


def _uses_sweeper(script: str) -> bool:
    """Whether a script imports sweeper, so that it reports by itself."""
    try:
        text = Path(script).read_text(encoding="utf-8", errors="replace")
        imports = r"^\s*(from|import\s+([\w.]+(\s+as\s+\w+)?\s*,\s*)*)\s*sweeper\b"  # `import torch, sweeper` too
        return re.search(imports, text, re.MULTILINE) is not None
    except OSError:
        return False


def _rules_text(early_stop: EarlyStop | None) -> str:
    """Return which rules may stop the run, and how to switch them off."""
    from sweeper.config import Mode
    from sweeper.rules.diagnoses import STOPPING
    from sweeper.rules.settings import AUTO, shortened

    if early_stop is None or not early_stop.rules:
        return "no rule may stop it"
    preset = ""
    changed: list[str] = []
    others: list[str] = []
    for entry in shortened(early_stop.rules):
        if isinstance(entry, str):
            preset = f"early_stop: {AUTO} ({', '.join(STOPPING)})"
            continue
        given = ", ".join(f"{key} {value}" for key, value in entry.model_dump(exclude_defaults=True).items())
        text = f"{entry.name} ({given})" if given else entry.name
        (changed if preset and entry.name in STOPPING else others).append(text)
    preset += f" with {', '.join(changed)}" if changed else ""
    head = "rules in observe mode" if early_stop.mode is Mode.OBSERVE else "rules that may stop the run"
    return f"{head}: {' or '.join(filter(None, [preset, *others]))}; --early-stop none switches them off"


def _exit_code(trial: TrialRecord) -> int:
    """Of the only trial of a run, as a shell sees it: the command's own code, unless a rule or a person ended it."""
    from sweeper.record.trial import State

    match trial.state:
        case State.PRUNED:
            return PRUNED
        case State.COMPLETE | State.FAIL:
            ended = trial.newest.exit
            code = None if ended is None else ended.code
            return FAILED if code is None or (code == OK and trial.state is State.FAIL) else code
        case _:
            return INTERRUPTED
