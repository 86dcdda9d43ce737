"""The hyperparameters of `text-classification`: names, defaults and limits. Imports the standard library only."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType

from sweeper.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The hyperparameters of one trial, with the trainer's defaults.

    The default model is the smallest BERT that behaves like a deep one: 12 layers, trained on one core in a minute.
    """

    lr: float = 3e-4
    warmup_fraction: float = 0.1
    epochs: int = 5
    batch_size: int = 16
    clip: float = 1.0
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-6
    weight_decay: float = 0.0
    bias_correction: bool = False
    hidden_size: int = 64
    num_hidden_layers: int = 12
    num_attention_heads: int = 2
    max_length: int = 48
    dropout: float = 0.1
    pretrained: str | None = None
    precision: str = "auto"
    compile: bool = False
    log_every: int = 10
    eval_every: int = 0
    dataset: tuple[str, ...] = ("20newsgroups", "synthetic-topics")
    tokenizer: tuple[str, ...] = ("bert-base-uncased", "wordpiece")


DEFAULTS: Mapping[str, object] = MappingProxyType(
    {
        field.name: list(field.default) if isinstance(field.default, tuple) else field.default
        for field in fields(Settings)
    }
)
"""The default of each hyperparameter, as a JSON value."""


@dataclass(frozen=True, slots=True)
class Limit:
    """The valid values of a hyperparameter: a description for messages, and a predicate."""

    expected: str
    holds: Callable[[object], bool]


def _is_number(value: object, at_least: float, below: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and at_least <= value < below


def _is_count(value: object, at_least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= at_least


def _is_names(value: object) -> bool:
    return isinstance(value, tuple) and bool(value) and all(isinstance(name, str) and name for name in value)


SMALLEST = math.ulp(0.0)
ABOVE_0 = Limit("a number above 0", lambda value: _is_number(value, SMALLEST, math.inf))
FROM_0 = Limit("a number from 0", lambda value: _is_number(value, 0, math.inf))
FROM_0_BELOW_1 = Limit("a number from 0 to below 1", lambda value: _is_number(value, 0, 1))
FROM_0_TO_1 = Limit("a number from 0 to 1", lambda value: _is_number(value, 0, math.nextafter(1, 2)))
FROM_1 = Limit("a whole number from 1", lambda value: _is_count(value, 1))
YES_OR_NO = Limit("true or false", lambda value: isinstance(value, bool))
NAMES = Limit("a name, or a list of names", _is_names)
LIMITS: Mapping[str, Limit] = MappingProxyType(
    {
        "lr": ABOVE_0,
        "warmup_fraction": FROM_0_TO_1,
        "epochs": FROM_1,
        "batch_size": FROM_1,
        "clip": Limit("a number above 0 (.inf: no clipping)", lambda value: ABOVE_0.holds(value) or value == math.inf),
        "beta1": FROM_0_BELOW_1,
        "beta2": FROM_0_BELOW_1,
        "eps": ABOVE_0,
        "weight_decay": FROM_0,
        "bias_correction": YES_OR_NO,
        "hidden_size": FROM_1,
        "num_hidden_layers": FROM_1,
        "num_attention_heads": FROM_1,
        "max_length": Limit(
            "a whole number from 3 to 512, BERT's positions",
            lambda value: _is_count(value, 3) and _is_number(value, 3, 513),
        ),
        "dropout": FROM_0_BELOW_1,
        "pretrained": Limit(
            "a name, a directory or null", lambda value: value is None or (isinstance(value, str) and value != "")
        ),
        "precision": Limit('"auto", "fp32" or "bf16"', lambda value: value in ("auto", "fp32", "bf16")),
        "compile": YES_OR_NO,
        "log_every": FROM_1,
        "eval_every": Limit("a whole number from 0 (0: each epoch only)", lambda value: _is_count(value, 0)),
        "dataset": NAMES,
        "tokenizer": NAMES,
    }
)


def parse(params: Mapping[str, object]) -> Settings:
    """Return the settings of a trial, with defaults for parameters that are not given.

    Raises:
        UsageError: a parameter is unknown or invalid. The message names all of them.
    """
    given = {name: _names(value) if name in {"dataset", "tokenizer"} else value for name, value in params.items()}
    mistakes = [mistake for name, value in given.items() if (mistake := _mistake(name, value))]
    if not mistakes:
        settings = Settings(**given)  # type: ignore[arg-type]  # each value was checked against its limit
        mistakes = _joint_mistakes(settings)
        if not mistakes:
            return settings
    raise UsageError("\n".join(mistakes))


def _names(value: object) -> object:
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


def _mistake(name: str, value: object) -> str:
    if name not in LIMITS:
        close = difflib.get_close_matches(name, LIMITS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(LIMITS)}"
        return f"{name}: not a hyperparameter of text-classification; {hint}"
    if LIMITS[name].holds(value):
        return ""
    return f"{name}: expected {LIMITS[name].expected}, got {value!r}"


def _joint_mistakes(settings: Settings) -> list[str]:
    if settings.pretrained is None and settings.hidden_size % settings.num_attention_heads:
        multiple = f"a multiple of num_attention_heads ({settings.num_attention_heads})"
        return [f"hidden_size: expected {multiple}, got {settings.hidden_size}"]
    return []
