"""Find, before anything starts, what would make every trial of a command fail, or all of them alike.

On this machine, what is not there is a mistake. For trials on other machines (Slurm, Ray) it is a warning.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sweeper.config import Choice, Complaint, Constant, Local, Remark, SweepSpec, not_passed
from sweeper.errors import UsageError
from sweeper.integrations.names import is_same_name, metric_name
from sweeper.mistakes import listed, shown
from sweeper.orchestrator.trial_command import command_of
from sweeper.preflight.arguments import arguments_of
from sweeper.preflight.command.defaults import outputs_by_default
from sweeper.preflight.command.interpreter import lacking
from sweeper.preflight.command.places import complaints_about_places
from sweeper.preflight.command.program import DEFAULT_COMMAND, Program, program_of, words_of
from sweeper.preflight.command.texts import Texts, texts_of
from sweeper.preflight.draft.metric import INFERRED
from sweeper.record.values.command_line import LONGEST_WORD, why_too_long
from sweeper.record.values.params import argument_of
from sweeper.rules.needs import closest_metric

Finding = Complaint | Remark
Keys = tuple[str | int, ...]
WANDB = "wandb"
"""The package that `watch: auto` replaces where it is missing."""
OF_TRAINERS = ("loss/train", "gradient/norm", "learning_rate")
"""What the callbacks of Trainers report, whatever the script logs."""


def findings(spec: SweepSpec, keys: frozenset[str], environment: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Yield what is wrong with the command of a sweep, and what is probably wrong.

    Args:
        spec: the sweep.
        keys: the keys that its file has.
        environment: the environment of the trials.
    """
    if spec.trainer is not None:
        return
    program = program_of(words_of(spec, environment))
    places = list(complaints_about_places(program, environment))
    is_here = isinstance(spec.executor, Local)
    yield from places if is_here else map(_elsewhere, places)
    yield from _too_long(spec)
    texts = texts_of(program)
    if is_here and not places:
        yield from lacking(program, texts, environment, provided=() if spec.watch is None else (WANDB,))
    if not (places and program.script in [None, program.executable]):
        yield from _not_passed(spec, program, texts)
        yield from _without_trial(spec, keys, program, texts)
        yield from _not_logged(spec, keys, program)
        yield from outputs_by_default(spec, program)


def _too_long(spec: SweepSpec) -> Iterator[Complaint]:
    """Find a value with which an argument of the command is longer than Linux accepts."""
    longest = {name: max(_values(one), key=_size) for name, one in spec.parameters.items() if _values(one)}
    if sum(map(_size, longest.values())) < LONGEST_WORD // 8:  # as JSON, a character takes up to 6 bytes
        return
    if why := why_too_long(command_of(spec, longest, spec.seeds[0])):
        name = max(longest, key=lambda name: _size(longest[name]))
        expected = f"values that fit into an argument of at most {LONGEST_WORD:,} bytes"
        reason, _, hint = why.partition("; ")
        yield Complaint(path=("parameters", name), expected=expected, got=reason, hint=hint)


def _values(parameter: object) -> Sequence[object]:
    if isinstance(parameter, Choice):
        return parameter.values
    return [parameter.value] if isinstance(parameter, Constant) else []


def _size(value: object) -> int:
    return len(argument_of(value))


def _elsewhere(complaint: Complaint) -> Remark:
    hint = f"; {complaint.hint}" if complaint.hint else ""
    text = f"expected {complaint.expected}, got {complaint.got} on this machine{hint}"
    return Remark(path=complaint.path, text=text)


def _not_passed(spec: SweepSpec, program: Program, texts: Texts) -> Iterator[Finding]:
    """Find varied parameters that the command does not pass on, so that trials would be alike."""
    missing = not_passed(spec.command or DEFAULT_COMMAND, _varied(spec))
    if not missing or texts.reads_trial or (spec.watch is not None and WANDB in texts.imports):
        return
    names = listed(missing).replace(" or ", " and ")
    if program.code is not None and not program.is_python:
        hint = """write 'exec python train.py "$@"' after -c, and then a name such as train, and "${args}\""""
    else:
        hint = f'add "${{args}}" for all parameters, or ${{params:{missing[0]}}} for one'
    if WANDB in texts.imports:
        hint += "; for a script that reads them from wandb.config, write watch: auto"
    else:
        hint += "; a script may also read them by sweeper.trial()"
    alone = len(missing) == len(_varied(spec))
    why = "all trials would run with the same settings" if alone else "trials that differ in it would be alike"
    if texts.is_complete:
        got = f"none: {why}"
        yield Complaint(path=("command",), expected=f"a macro that passes {names}", got=got, hint=hint)
    else:
        text = f"no macro passes {names}, so {why}, unless the program reads them from the trial's directory; {hint}"
        yield Remark(path=("command",), text=text)


def _varied(spec: SweepSpec) -> list[str]:
    """Return the parameters that differ between trials; none if only one configuration runs."""
    if spec.run_cap == 1 or spec.budget.trials == 1:
        return []
    return [name for name, one in spec.parameters.items() if not isinstance(one, Constant) and not _is_single(one)]


def _is_single(parameter: object) -> bool:
    return isinstance(parameter, Choice) and len(parameter.values) == 1


def _without_trial(spec: SweepSpec, keys: frozenset[str], program: Program, texts: Texts) -> Iterator[Remark]:
    """Warn of a script that opens no trial, although the metric or a rule needs what a trial reports."""
    rules = [rule.name for rule in spec.early_stop.rules] if spec.early_stop is not None else []
    ranking = next((key for key in ("metric", "objectives") if key in keys), None)
    needs_one = ranking is not None or rules
    # A value may be a callback, as LightningCLI takes it.
    is_named = "sweeper." in " ".join([*(spec.command or ()), str(spec.parameters)])
    is_known = texts.is_complete and texts.sources and not is_named
    if not needs_one or not is_known or spec.watch is not None or spec.metrics or texts.may_open_trial:
        return
    rules_too = f", and no rule can fire ({listed(rules).replace(' or ', ' and ')})" if rules else ""
    names = listed(shown(goal.name) for goal in spec.goals).replace(" or ", " and ")
    lost = f"nothing reports {names}: trials cannot be ranked{rules_too}"
    script = Path(program.script.text).name if program.script is not None and program.script.text else "the script"
    text = (
        f"{script} never opens a trial, so {lost}; "
        "write watch: auto, or metrics: {NAME: SOURCE}, or call sweeper.trial() in the script"
    )
    yield Remark(path=(ranking or "early_stop",), text=text)


def _not_logged(spec: SweepSpec, keys: frozenset[str], program: Program) -> Iterator[Remark]:
    """Warn of a metric that an unmodified script does not log, if the names of some that it logs can be read."""
    script = program.script.text if program.script is not None else None
    if spec.watch is None or script is None:
        return
    named: list[tuple[Keys, str]] = [(("metric", "name"), spec.metric.name)] if "metric" in keys else []
    named += [(("objectives", index, "name"), one.name) for index, one in enumerate(spec.objectives)]
    named += [(("constraints", index, "name"), one.name) for index, one in enumerate(spec.constraints)]
    for path, metric in named:
        if metric not in spec.metrics:
            yield from _not_logged_by(script, metric, path)


def _not_logged_by(script: str, metric: str, path: Keys) -> Iterator[Remark]:
    """Warn of one metric, named at this path of the sweep file."""
    if not script.endswith(".py") or metric == INFERRED or metric.startswith(f"{INFERRED}/"):
        return
    try:
        logged = arguments_of(Path(script), {}).metrics
    except UsageError:
        return
    known = {*logged, *map(metric_name, logged), *OF_TRAINERS}
    if not logged or metric in known or any(is_same_name(metric, name) for name in logged):
        return
    close = closest_metric(metric, frozenset(logged))
    hint = f" (did you mean {close}?)" if close else ""
    names = listed(logged).replace(" or ", " and ")
    text = f"{Path(script).name} logs {names}, as far as its source shows{hint}; {INFERRED} is always recorded"
    yield Remark(path=path, text=text)
