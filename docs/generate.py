"""Write the generated pages of the site: commands, keys, diagnoses, and results of benchmarks.

    python docs/generate.py FOLDER

`make docs` calls it. The pages repeat what the code and the benchmarks define; the reference explains it.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import get_args

from pydantic import BaseModel

from sweeper.cli import _parser
from sweeper.config import SweepSpec
from sweeper.config.model.executors import EXECUTORS
from sweeper.rules.base import RuleSettings
from sweeper.rules.diagnoses import DIAGNOSES
from sweeper.rules.settings import RULES

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
"""Results of benchmarks, which become pages of the site unchanged."""
WIDTH = "100"
"""The width of a command's help, in columns."""
OURS = ("profile_description",)
"""Keys of the resolved sweep that are not allowed in a file."""


def write_pages(folder: Path) -> None:
    """Write the pages into the folder. An unchanged page is not written, so that Sphinx does not build it again."""
    folder.mkdir(exist_ok=True)
    measured = {path.name: path.read_text(encoding="utf-8") for path in RESULTS.glob("*.md")}
    pages = {"commands.md": commands_page(), "keys.md": keys_page(), "diagnoses.md": diagnoses_page(), **measured}
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


# ---- commands --------------------------------------------------------------------------------------------------------


def commands_page() -> str:
    """Return a page with the help of every command, as `sweeper COMMAND --help` prints it."""
    parts = [
        "# Commands",
        "",
        "This page has the output of `sweeper COMMAND --help`. The [reference](../reference/commands.md) has examples.",
    ]
    for name, one in commands().items():
        parts += ["", f"## `sweeper {name}`", "", "```text", _help(one).rstrip(), "```"]
    return "\n".join(parts) + "\n"


def commands() -> Mapping[str, argparse.ArgumentParser]:
    """Return the parsers of the commands, by name, in the order of the help."""
    (action,) = (a for a in _parser()[0]._actions if isinstance(a, argparse._SubParsersAction))  # noqa: SLF001 - no public way
    return dict(action.choices)


def _help(one: argparse.ArgumentParser) -> str:
    before, os.environ["COLUMNS"] = os.environ.get("COLUMNS"), WIDTH
    try:
        return one.format_help()
    finally:
        os.environ.pop("COLUMNS")
        if before is not None:
            os.environ["COLUMNS"] = before


# ---- keys and rules --------------------------------------------------------------------------------------------------


def keys_page() -> str:
    """Return a page with every key of a sweep file and its default, and every executor and rule with its settings."""
    own = {name: kind for name, kind in RULES.items() if name not in DIAGNOSES}
    conditions = {name: kind for name, kind in own.items() if issubclass(kind, RuleSettings)}
    pruners = {name: kind for name, kind in own.items() if name not in conditions}
    parts = [
        "# Keys and defaults",
        "",
        "This page lists the keys of a sweep file, from the models that check it. The reference explains them:",
        "[the sweep file](../reference/sweep-file.md), [early-stop rules](../reference/early-stop.md).",
        "Without `early_stop` no trial is stopped; with it, these are its defaults. The diagnoses have",
        "[a page of their own](diagnoses.md).",
        "",
        *_table("key", SweepSpec),
        *_section("Executors", "The keys of `executor`, by its `type`.", EXECUTORS),
        *_section("Conditions", "Rules on one trial, under `early_stop.rules`.", conditions),
        *_section("Pruners", "Rules that compare trials by the objective, in the same list.", pruners),
    ]
    return "\n".join(parts)


def diagnoses_page() -> str:
    """Return a page with every diagnosis: when it holds, its effect, what it reads, its source, and what to do."""
    rows = [
        f"| [`{name}`](#{name.replace('_', '-')}) | {_first(kind)} | {kind.effect.value} |"
        for name, kind in DIAGNOSES.items()
    ]
    parts = [
        "# Diagnoses",
        "",
        "These are the ways in which a training fails that sweeper knows. Every trial is diagnosed, whether or not",
        "it is stopped. `early_stop: auto` stops a trial when a class that *stops* begins to hold.",
        "[Verdicts](../verdicts.md) measures how often the diagnoses are right.",
        "",
        "| class | holds when | by default |",
        "|---|---|---|",
        *rows,
        "",
    ]
    for name, kind in DIAGNOSES.items():
        reads = " and ".join(" or ".join(sorted(one)) for one in kind.reads)
        parts += [
            f"## `{name}`",
            "",
            inspect.cleandoc(kind.__doc__ or "").replace("``", "`"),
            "",
            f"- By default it {kind.effect.value}. It reads {reads}.",
            f"- What to do: {kind.advice}.",
            f"- Source: {kind.source}.",
            "",
            *_table("setting", kind),
        ]
    return "\n".join(parts)


def _first(kind: type[BaseModel]) -> str:
    """Return the first paragraph of a docstring on one line."""
    paragraph, _, _ = inspect.cleandoc(kind.__doc__ or "").partition("\n\n")
    return " ".join(paragraph.split()).replace("``", "`")


def _section(title: str, text: str, kinds: Mapping[str, type[BaseModel]]) -> list[str]:
    parts = [f"## {title}", "", text, ""]
    for name, kind in kinds.items():
        parts += [
            f"### `{name}`",
            "",
            inspect.cleandoc(kind.__doc__ or "").replace("``", "`"),
            "",
            *_table("key", kind),
        ]
    return parts


def _table(head: str, model: type[BaseModel]) -> list[str]:
    rows = [f"| `{key}` | {default} |" for key, default in keys(model) if key not in OURS]
    return [f"| {head} | default |", "|---|---|", *rows, ""] if rows else []


def keys(model: type[BaseModel], before: str = "") -> Iterator[tuple[str, str]]:
    """Yield the keys of a model with their defaults; nested keys are joined by dots, as in `metric.goal`."""
    for name, field in model.model_fields.items():
        inner = [one for one in (field.annotation, *get_args(field.annotation)) if _is_model(one)]
        if len(inner) == 1:
            yield from keys(inner[0], f"{before}{name}.")
        else:
            required = field.is_required()
            yield before + name, "required" if required else _shown(field.get_default(call_default_factory=True))


def _is_model(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _shown(default: object) -> str:
    """Return a default as a sweep file would have it."""
    plain = default.model_dump(mode="json") if isinstance(default, BaseModel) else default
    return "none" if plain in (None, "", (), {}) else f"`{json.dumps(plain, default=_rule)}`"


def _rule(default: object) -> object:
    return {name: {} for name, kind in RULES.items() if isinstance(default, kind)}


if __name__ == "__main__":
    write_pages(Path(sys.argv[1]))
