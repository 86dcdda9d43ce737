"""Run a function as a trainer: `python -m sweeper.worker.function PACKAGE.MODULE:FUNCTION`, with or without a sweep.

1. The trial is opened around the call. Inside the function, `sweeper.trial()` returns that trial.
2. An argument named `trial` receives the trial, an argument named `seed` its seed, and every other argument the
   parameter of its name. A function that takes only `trial` (and `seed`) reads the parameters from `trial.params`.
3. The return value is reported after the last step: a number as the sweep's metric, a mapping as metrics by name. What
   counts as a number is the same as in `Trial.report`.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sweeper.errors import SweeperError, UsageError
from sweeper.worker.opening import trial as open_trial
from sweeper.worker.scalars import described, number_of
from sweeper.worker.trial import Trial, recorder_of

GIVEN = ("trial", "seed")
"""Names of arguments that do not receive a parameter of the sweep."""
PLAIN = (str, int, float, bool, type(None))
"""Types of defaults that the record can hold."""


def main() -> int:
    """Run the trial of this process, and return the exit code."""
    try:
        name = sys.argv[1]
        function = function_of(name)
        signature = inspect.signature(function)
        with open_trial(defaults=defaults_of(signature)) as trial:
            given = {"trial": trial, "seed": trial.seed}
            report_returned(trial, function(**arguments_of(name, signature, given, trial.params)))
    except SweeperError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def function_of(name: str) -> Callable[..., object]:
    """Import and return the function `package.module:function`.

    Raises:
        UsageError: there is no such module, or it has no function of that name.
    """
    module, _, attribute = name.partition(":")
    try:
        loaded = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise  # the module exists, but imports one that does not
        raise UsageError(f"trainer {name}: there is no module {module}, in {Path.cwd()} or installed") from None
    function = getattr(loaded, attribute, None)
    if not callable(function):
        got = "nothing of that name" if function is None else f"a {type(function).__name__}"
        raise UsageError(f"trainer {name}: expected a function {attribute} in {loaded.__file__}, got {got}")
    return function  # type: ignore[no-any-return]  # the module has no known types


def defaults_of(signature: inspect.Signature) -> dict[str, object]:
    """Return the defaults of a function's parameters, without those that the record cannot hold."""
    return {
        name: argument.default
        for name, argument in signature.parameters.items()
        if name not in GIVEN and isinstance(argument.default, PLAIN)
    }


def arguments_of(
    name: str, signature: inspect.Signature, given: Mapping[str, Any], params: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the keyword arguments to call the function with.

    Args:
        name: the name of the trainer, for messages.
        signature: the signature of the function.
        given: the trial and the seed by argument name; only those that the function takes are passed.
        params: the parameters of the trial; all are passed, unless the function takes only the trial.

    Raises:
        UsageError: the function does not take one of the parameters, or has an argument that nothing is passed for.
    """
    arguments = {key: value for key, value in given.items() if key in signature.parameters}
    if signature.parameters.keys() != {"trial"} and signature.parameters.keys() != {"trial", "seed"}:
        arguments |= params
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise UsageError(f"trainer {name}: its arguments do not match the sweep's parameters: {error}") from None
    return arguments


def report_returned(trial: Trial, returned: object) -> None:
    """Report the return value of a trainer's function as metrics of the last step.

    Args:
        trial: the trial that the function ran in.
        returned: a number, which is reported as the sweep's metric; with several objectives, a tuple or list with a
            number for each, in the order of the sweep file; a mapping of numbers by metric name; or None. Other
            values, such as a model, are noted in the record instead.

    Raises:
        UsageError: the sweep's metric is not a number, or one number was returned for several objectives, and the
            function has not reported it either. The other numbers are reported before.
    """
    recorder = recorder_of(trial)
    metric = recorder.facts.metric or "value"
    objectives = [one.name for one in recorder.facts.objectives]
    if isinstance(returned, Mapping):
        values: dict[str, object] = {str(name): value for name, value in returned.items()}
    elif objectives and isinstance(returned, tuple | list) and len(returned) == len(objectives):
        values = dict(zip(objectives, returned, strict=True))
    else:
        values = {} if returned is None else {metric: returned}
    numbers: dict[str, Any] = {name: value for name, value in values.items() if number_of(value) is not None}
    if numbers:
        trial.report(numbers, step=max(recorder.last_step, 0))
    missing = [name for name in objectives if name not in recorder.reported]
    if missing and returned is not None and not isinstance(returned, Mapping):
        expected = f"a tuple or a mapping with a number for each of {', '.join(objectives)}"
        raise UsageError(f"the trainer returned no {' and no '.join(missing)}: expected {expected}")
    for name in values.keys() - numbers.keys():
        got = described(values[name])
        if name == metric and metric not in recorder.reported:
            raise UsageError(f"the trainer returned {name}: expected a number, got {got}")
        trial.note(f"the trainer returned {name}: expected a number, got {got}, so it was not reported")


if __name__ == "__main__":
    sys.exit(main())
