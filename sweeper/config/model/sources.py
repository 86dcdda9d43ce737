"""The sources of metrics that a script writes or prints without reporting them, under `metrics` in a sweep file.

A source is a mapping with one key, its kind: ``{tensorboard: TAG}``, ``{csv: {file: results/*.csv, column: f1}}``.
"""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    WrapSerializer,
)

from sweeper.mistakes import STRICT, listed, refused, shown, suggested

Text = Annotated[str, Field(min_length=1)]

TRIAL_DIR = re.compile(r"\$\{trial:dir\}/+|\$\{envvar:SWEEPER_TRIAL_DIR\}/+|\./+")
"""What a path of the script may begin with that means the trial's directory."""
VALUE, STEP = "value", "step"
"""The groups of a regular expression that are the number and its step."""
LONGEST_REGEX = 1_000


def _listed(patterns: object) -> object:
    return (patterns,) if isinstance(patterns, str) else patterns


def _below(pattern: str) -> str:
    """Return a pattern of files relative to the trial's directory."""
    relative = TRIAL_DIR.sub("", pattern, count=1) if TRIAL_DIR.match(pattern) else pattern
    if not relative or relative.startswith(("/", "~")) or ".." in PurePosixPath(relative).parts:
        expected = "a path below the trial's directory, such as results/*.csv or **/metrics.csv"
        raise refused(expected, hint="the script has this directory as ${trial:dir}, or in SWEEPER_TRIAL_DIR")
    return relative


Files = Annotated[
    tuple[Annotated[Text, AfterValidator(_below)], ...],
    Field(strict=False, min_length=1),
    BeforeValidator(_listed),
]
"""Patterns of paths below the trial's directory. `*` stands for any name or part of one, `**` for any folders."""


class MetricSource(BaseModel):
    """The base of all sources; `kind` is the key in a sweep file, `short` the setting that may be written alone."""

    model_config = STRICT
    kind: ClassVar[str]
    short: ClassVar[str]


class TensorBoardSource(MetricSource):
    """Read a scalar from TensorBoard's event files, for example `{tensorboard: val/acc}`.

    `tag` is the name in `add_scalar`. `file` chooses event files if several folders have the same tag.
    """

    kind = "tensorboard"
    short = "tag"
    tag: Text
    file: Files = ("**/*tfevents*",)


class WandbSource(MetricSource):
    """Read a key of `wandb.log` from the files of an offline run, for example `{wandb: val/acc}`."""

    kind = "wandb"
    short = "key"
    key: Text
    file: Files = ("**/*.wandb", "**/wandb-history.jsonl")


def _regex(pattern: str) -> str:
    if len(pattern) > LONGEST_REGEX:
        raise refused(f"a regular expression of at most {LONGEST_REGEX:,} characters", got=f"{len(pattern):,}")
    try:
        groups = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise refused(f"a regular expression ({error})", hint="in YAML, put it into single quotes") from None
    values = groups.groups - (STEP in groups.groupindex)
    if not values:
        hint = r"put the number into parentheses, for example 'loss: (\S+)'"
        raise refused(f"a regular expression with a group for the number, or one named {VALUE}", hint=hint)
    return pattern


class OutputSource(MetricSource):
    r"""Read a number from the lines that a trial prints, for example `{output: 'loss: (\S+)'}`.

    `regex` is a regular expression of Python. Its first group, or the group named `value`, is the number, and the group
    named `step`, if there is one, the step: `'epoch (?P<step>\d+): loss (\S+)'`.
    """

    kind = "output"
    short = "regex"
    regex: Annotated[Text, AfterValidator(_regex)]


class CsvSource(MetricSource):
    """Read a column of a CSV file that grows, for example `{csv: {file: results/*.csv, column: f1, step: epoch}}`.

    `step` is the column with the step. The first line of the file has the names of the columns.
    """

    kind = "csv"
    short = "column"
    column: Text
    file: Files = ("**/*.csv",)
    step: Text | None = None


class JsonSource(MetricSource):
    """Read a key of JSON lines, or of one JSON document, for example `{json: {file: log.jsonl, key: eval.bleu}}`.

    Dots in `key` lead into mappings and lists. `step` is the key of the step.
    """

    kind = "json"
    short = "key"
    key: Text
    file: Files = ("**/metrics.jsonl", "**/metrics.json")
    step: Text | None = None


SOURCES: Mapping[str, type[MetricSource]] = {
    kind.kind: kind for kind in (TensorBoardSource, WandbSource, OutputSource, CsvSource, JsonSource)
}
"""The settings of each source by its kind."""


def _named(source: object) -> object:
    """Return the source if it is a mapping with one key, the name of a kind."""
    if isinstance(source, MetricSource):
        return source
    expected = f"a mapping with one key, the kind of source: {listed(SOURCES)}"
    if not isinstance(source, Mapping):
        hint = f"write {{{source}: ...}}" if isinstance(source, str) and source in SOURCES else "{tensorboard: TAG}"
        raise refused(expected, hint=hint if hint.startswith("write") else f"for example {hint}")
    unknown = [name for name in source if name not in SOURCES]
    if unknown:
        raise refused(f"one of {listed(SOURCES)}", got=shown(unknown[0]), hint=_suggested(str(unknown[0])))
    if len(source) != 1:
        raise refused(expected, got=" and ".join(map(str, source)) or "nothing")
    return source


_FORMER = {"tb": "tensorboard", "stdout": "output", "regex": "output", "log": "output", "jsonl": "json", "tsv": "csv"}


def _suggested(name: str) -> str:
    return f"did you mean {_FORMER[name]}?" if name in _FORMER else suggested(name, SOURCES)


def _kind_of(source: object) -> str | None:
    if isinstance(source, MetricSource):
        return source.kind
    return str(next(iter(source))) if isinstance(source, Mapping) and source else None


def _settings(source: object) -> object:
    """Return the value of the one key; text stands for the setting that may be written alone."""
    if not isinstance(source, Mapping):
        return source
    kind, settings = next(iter(source.items()))
    if isinstance(settings, str):
        return {SOURCES[kind].short: settings}
    if not isinstance(settings, Mapping):
        named = SOURCES[kind].short
        expected = f"the {named} as text, or a mapping with {listed(SOURCES[kind].model_fields)}"
        raise refused(expected, got=shown(settings))
    return settings


def _wrapped(source: MetricSource, inner: SerializerFunctionWrapHandler) -> dict[str, Any]:
    return {source.kind: inner(source)}


if TYPE_CHECKING:
    AnySource = MetricSource
else:
    _KINDS = [Annotated[kind, BeforeValidator(_settings), Tag(name)] for name, kind in SOURCES.items()]
    AnySource = Annotated[
        functools.reduce(operator.or_, _KINDS),
        Discriminator(_kind_of),
        BeforeValidator(_named),
        WrapSerializer(_wrapped),
    ]
