"""Read configuration files of a script (YAML, JSON, TOML), and the arguments that their values become."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from sweeper.config import value_from_text, values_from_file
from sweeper.errors import UsageError
from sweeper.preflight.arguments.model import Argument, ArgumentKind, is_plain, judged

WORDS_OF_YAML_1_1 = frozenset({"yes", "no", "on", "off"})
"""Text that the YAML readers of most scripts take for true or false, unless it is quoted."""

SPECIAL = re.compile(r"[=,()\[\]{}'\"#\\$]|: |^\s|\s$")
"""Characters that mean something in an override, unless they are quoted."""


def config_from_file(path: Path, to_do: list[str]) -> dict[str, object]:
    """Return the mapping in a configuration file; empty if it cannot be read, and then `to_do` gets what to do."""
    try:
        if path.suffix == ".toml":
            return dict(tomllib.loads(path.read_text(encoding="utf-8")))
        values, mistakes = values_from_file(path)
    except (UsageError, OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        to_do.append(f"{path} could not be read ({error}): write its values as parameters")
        return {}
    to_do += [f"could not be read, so it is not in this file: {mistake}" for mistake in mistakes]
    if not isinstance(values, dict):
        to_do.append(f"{path} has no keys: write its values as parameters")
        return {}
    return values


def flattened(config: Mapping[str, object], before: str = "") -> Iterator[tuple[str, object]]:
    """Return the values of nested mappings under dotted names. Empty mappings are left out."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def argument_from(name: str, value: object, kind: ArgumentKind = ArgumentKind.OPTION) -> Argument:
    """Return the argument that a value of a configuration file becomes."""
    left_out = ""
    if value == "???":
        return Argument(name=name, kind=kind, required=True)
    if isinstance(value, str) and "${" in value:
        left_out = "is computed from other values"
    elif isinstance(value, str) and value.lower() in WORDS_OF_YAML_1_1:
        left_out = f"is `{value}`, which scripts read as text or as true or false: write it in command"
    elif value is None:
        left_out = "is null"
    elif isinstance(value, list) and not all(map(is_plain, value)):
        left_out = "is a list of lists or mappings"
    elif name.rpartition(".")[2].startswith("_") or name.endswith("class_path"):
        left_out = "says what is built, and not how"
    return judged(Argument(name=name, kind=kind, default=value, left_out=left_out), lists=True)


def override_from(name: str, value: object) -> Argument:
    """Return the argument that a value becomes as `name=value`, which Hydra and OmegaConf read as YAML."""
    made = argument_from(name, value)
    if made.left_out or made.required or not isinstance(value, str) or _is_read_as(value):
        return made
    return replace(made, left_out="is text that has to be quoted as an override: write it in command")


def _is_read_as(text: str) -> bool:
    """Return whether a text without quotes is read as itself."""
    try:
        return not SPECIAL.search(text) and (not text or value_from_text(text, "") == text)
    except UsageError:
        return False
