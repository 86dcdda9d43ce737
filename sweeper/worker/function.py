"""A function as a trainer: `python -m sweeper.worker.function PACKAGE.MODULE:FUNCTION`, under `sweeper run` or alone.

1. The trial is opened around the call; `sweeper.trial()` within it is that trial.
2. The argument named `trial` is given the trial, one named `seed` its seed, every other one the parameter of its name.
   A function that takes no parameter by name reads them from `trial.params`.
3. What it returns is reported after the last step: a number as the sweep's metric, a mapping as metrics by their names.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sweeper.errors import SweeperError, UsageError
from sweeper.worker.trial import trial as open_trial

GIVEN = ("trial", "seed")
"""Arguments that are no parameters of the sweep."""
PLAIN = (str, int, float, bool, type(None))


def main() -> int:
    """Run the trial of this process; returns the exit code."""
    try:
        name = sys.argv[1]
        function = function_of(name)
        signature = inspect.signature(function)
        with open_trial(defaults=defaults_of(signature)) as trial:
            given = {"trial": trial, "seed": trial.seed}
            trial.conclude(function(**arguments_of(name, signature, given, trial.params)))
    except SweeperError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def function_of(name: str) -> Callable[..., object]:
    """What `package.module:function` names.

    Raises:
        UsageError: there is no such module, or nothing in it of that name that can be called.
    """
    module, _, attribute = name.partition(":")
    try:
        loaded = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise  # the module is there, and what it imports is not
        raise UsageError(f"trainer {name}: expected a module {module}, got none in {Path.cwd()}") from None
    function = getattr(loaded, attribute, None)
    if not callable(function):
        got = "none" if function is None else f"a {type(function).__name__}"
        raise UsageError(f"trainer {name}: expected a function {attribute} in {loaded.__file__}, got {got}")
    return function  # type: ignore[no-any-return]  # of a module that nobody knows


def defaults_of(signature: inspect.Signature) -> dict[str, object]:
    """The defaults of the parameters among the arguments, as far as a record can hold them."""
    return {
        name: argument.default
        for name, argument in signature.parameters.items()
        if name not in GIVEN and isinstance(argument.default, PLAIN)
    }


def arguments_of(
    name: str, signature: inspect.Signature, given: Mapping[str, Any], params: Mapping[str, Any]
) -> dict[str, Any]:
    """What the function is called with.

    Raises:
        UsageError: it does not take a parameter, or needs what is none.
    """
    called = {key: value for key, value in given.items() if key in signature.parameters}
    if signature.parameters.keys() != {"trial"} and signature.parameters.keys() != {"trial", "seed"}:
        called |= params
    try:
        signature.bind(**called)
    except TypeError as error:
        raise UsageError(f"trainer {name}: expected an argument for each parameter, got {error}") from None
    return called


if __name__ == "__main__":
    sys.exit(main())
