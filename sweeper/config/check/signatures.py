"""Check that the arguments of a trainer function match the parameters of the sweep."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from inspect import Parameter, Signature

from sweeper.config.read.node import Complaint, Node, found, plain
from sweeper.errors import SpecError
from sweeper.mistakes import listed, one_of, suggested

Functions = Callable[[str], Signature]
"""Returns the signature of the function of a name. Raises SpecError if there is no such function."""

GIVEN = ("trial", "seed")
"""Names of arguments that receive the trial and its seed."""


def function_of(root: Node) -> str | None:
    """Return the name of the sweep's trainer if it is a function; otherwise None."""
    trainer = found(root, "trainer")
    name = plain(trainer) if trainer else None
    return name if isinstance(name, str) and ":" in name else None


def complaints_about_call(root: Node, functions: Functions) -> Iterator[Complaint]:
    """Find parameters that the function does not take, and arguments without a parameter or default."""
    name = function_of(root)
    if name is None:
        return
    try:
        signature = functions(name)
    except SpecError as error:
        mistake = error.mistakes[0]
        yield Complaint(path=("trainer",), expected=mistake.expected, got=mistake.got, hint=mistake.hint)
        return
    yield from _refused(root, name, signature)
    parameters = found(root, "parameters")
    given = parameters.children() if parameters else {}
    needed = [key for key, one in signature.parameters.items() if one.default is one.empty and _is_parameter(one)]
    missing = [key for key in needed if key not in given]
    if missing:
        hint = "add it under parameters, or give it a default"
        expected = f"a parameter for each argument of {name}"
        yield Complaint(path=("trainer",), expected=expected, got=f"none named {listed(missing)}", hint=hint)
    for key in needed:
        if found(root, "parameters", key, "when"):
            expected = f"a default for {key} in {name}, because not every trial has it"
            yield Complaint(path=("parameters", key, "when"), expected=expected, got="none")
    if positional := [key for key, one in signature.parameters.items() if one.kind is one.POSITIONAL_ONLY]:
        got = f"{listed(positional)} before the /"
        yield Complaint(path=("trainer",), expected=f"arguments of {name} that can be passed by name", got=got)


def _is_parameter(argument: Parameter) -> bool:
    return argument.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY) and argument.name not in GIVEN


def _refused(root: Node, name: str, signature: Signature) -> Iterator[Complaint]:
    """Find parameters that the function does not take. A function of the trial only reads them from the trial."""
    arguments = signature.parameters
    takes_all = any(argument.kind is Parameter.VAR_KEYWORD for argument in arguments.values())
    if takes_all or ("trial" in arguments and not arguments.keys() - set(GIVEN)):
        return
    kinds = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    named = [key for key, argument in arguments.items() if argument.kind not in kinds and key not in GIVEN]
    parameters = found(root, "parameters")
    for key in parameters.children() if parameters else ():
        if key not in named:
            names = one_of(named or ["no arguments"], key, "its definition lists them").replace(" or ", " and ")
            expected, hint = f"an argument of {name}", suggested(key, named) or f"it takes {names}"
            yield Complaint(path=("parameters", key), expected=expected, got=f"the unknown name {key}", hint=hint)
