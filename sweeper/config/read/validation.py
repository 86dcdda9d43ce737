"""Translate pydantic's errors into mistakes: file, line, key, what was expected, what was found, and a similar name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sweeper.config.model.executors import EXECUTORS
from sweeper.config.model.parameters import FORMS, parameter_keys
from sweeper.config.model.population import Population
from sweeper.config.model.repair import RepairNames
from sweeper.config.model.resume import ResumeArgs
from sweeper.config.model.sources import SOURCES
from sweeper.config.model.sweep import (
    BudgetSettings,
    Checkpoint,
    ConstraintSettings,
    EarlyStop,
    FigureSettings,
    Method,
    Metric,
    Notify,
    ObjectiveSettings,
    Resources,
    RetrySettings,
)
from sweeper.config.read.node import Complaint, Node, Path, located, plain
from sweeper.config.read.profiles import CHOSEN_KEYS, Profile
from sweeper.errors import Mistake
from sweeper.mistakes import listed, one_of, shown, suggested
from sweeper.rules.settings import RULES

_SECTIONS: Mapping[str, type[BaseModel]] = {
    "metric": Metric,
    "population": Population,
    "early_stop": EarlyStop,
    "repair": RepairNames,
    "resources": Resources,
    "budget": BudgetSettings,
    "checkpoint": Checkpoint,
    "retry": RetrySettings,
    "resume_args": ResumeArgs,
    "figures": FigureSettings,
    "notify": Notify,
    **RULES,
    **EXECUTORS,
    **SOURCES,
}

_ENTRIES: Mapping[str, type[BaseModel]] = {"objectives": ObjectiveSettings, "constraints": ConstraintSettings}
"""The model of each entry of a list."""

_OF_METRIC = {"at": "the last step with all objectives counts", "impute": "a failed trial counts as the worst so far"}
"""Keys of `metric` that an objective does not have, and what applies instead."""

_EXPECTED: Mapping[str, str] = {
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "finite_number": "a finite number",
    "float_type": "a number",
    "greater_than": "a number above {gt}",
    "greater_than_equal": "at least {ge}",
    "int_type": "a whole number",
    "less_than": "a number below {lt}",
    "less_than_equal": "at most {le}",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "string_too_short": "text that is not empty",
    "string_type": "text",
    "too_short": "at least one entry",
    "tuple_type": "a list",
}
"""What was expected, by pydantic's error type. Names in braces are filled in from the error's context."""


def mistakes_in(root: Node, model: type[BaseModel]) -> Iterator[Mistake]:
    """Find the mistakes that make the data invalid for the model, one for each position."""
    try:
        model.model_validate(plain(root))
    except ValidationError as errors:
        for error in errors.errors(include_url=False):
            # Pydantic counts valid entries only, so it also calls a list of invalid entries too short.
            if error["type"] == "too_short" and error["input"]:
                continue
            yield located(root, _complaint(error, model))


def _complaint(error: ErrorDetails, model: type[BaseModel]) -> Complaint:
    path, got = document_path(error["loc"]), shown(error["input"])
    context = error.get("ctx", {})
    match error["type"]:
        case "sweep":
            return Complaint(
                path=path,
                expected=context["expected"],
                got=context["got"] or got,
                hint=context["hint"],
            )
        case "missing":
            hint = f"write {listed(Method)}" if path == ("method",) else ""
            return Complaint(path=path, expected="a value, because the key is required", got="nothing", hint=hint)
        case "extra_forbidden":
            return _unknown_key(path, _known_keys(error["loc"][:-1], model))
        case "enum":
            expected = context["expected"].replace("'", "")
            names = expected.replace(" or ", ", ").split(", ")
            hint = suggested(str(error["input"]), names)
            return Complaint(path=path, expected=one_of(names, error["input"]), got=got, hint=hint)
        case "string_type":
            quotable = isinstance(error["input"], bool | int | float)
            hint = f'quote it: "{shown(error["input"])}"' if quotable else ""
            return Complaint(path=path, expected="text", got=got, hint=hint)
        case other:
            expected = _EXPECTED.get(other, error["msg"]).format(**{k: shown(v) for k, v in context.items()})
            return Complaint(path=path, expected=expected, got=got)


def document_path(loc: Path) -> Path:
    """Return pydantic's location as a path in the file, which has no keys for a parameter's form or executor's type."""
    match loc:
        case ("parameters", name, str(form), *rest) if form in FORMS:
            return ("parameters", name, *rest)
        case ("executor", str(type_), *rest) if type_ in EXECUTORS:
            return ("executor", *rest)
        case _:
            return loc


def _known_keys(parent: Path, model: type[BaseModel]) -> tuple[str, ...]:
    if not parent:
        return tuple(key for key in model.model_fields if model is Profile or key not in CHOSEN_KEYS)
    if parent[0] == "parameters":
        return parameter_keys()
    section = _ENTRIES.get(str(parent[0])) if len(parent) > 1 else None
    section = section or _SECTIONS.get(str(parent[-1]))
    return tuple(section.model_fields) if section else ()


def _unknown_key(path: Path, known: tuple[str, ...]) -> Complaint:
    hint = suggested(str(path[-1]), known)
    names = one_of((key for key in known if key != path[-1]), path[-1])  # of another form, it may be a known key
    if path[0] == "objectives" and str(path[-1]) in _OF_METRIC:
        hint = f"{_OF_METRIC[str(path[-1])]}; {path[-1]} belongs to metric, with one objective"
    return Complaint(path=path, expected=f"one of {names}", got="an unknown key", hint=hint)
