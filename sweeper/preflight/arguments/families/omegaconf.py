"""OmegaConf without Hydra: `OmegaConf.merge(OmegaConf.load("config.yaml"), OmegaConf.from_cli())`."""

from __future__ import annotations

from pathlib import Path

from sweeper.preflight.arguments.configs import config_from_file, flattened, override_from
from sweeper.preflight.arguments.fields import flat_fields
from sweeper.preflight.arguments.model import Argument, Arguments, Passing
from sweeper.preflight.arguments.options import Manner, argument_of
from sweeper.preflight.arguments.script import Script
from sweeper.preflight.arguments.values import name_of


def read(script: Script) -> Arguments | None:
    """Return the values that a script reads by OmegaConf and from its command line; None if it does not do so."""
    if not any(script.calls("from_cli")):
        return None
    found: dict[str, Argument] = {}
    to_do: list[str] = []
    unread: list[str] = []
    for module, call in script.calls("load", "create", "structured"):
        if "omegaconf" not in script.origin(call.func, module).lower() or not call.args:
            continue
        value, kind = script.value(call.args[0], module), name_of(call.func)
        if kind == "load" and not isinstance(value, str) and "config" in script.given:
            value = script.given["config"]
        definition = script.definition(name_of(call.args[0]), module)
        if kind == "load" and isinstance(value, str):
            path = next((one for one in (Path(value), script.folder / value) if one.is_file()), Path(value))
            entries = flattened(config_from_file(path, to_do))
            found |= {name: override_from(name, item) for name, item in entries}
        elif kind == "create" and isinstance(value, dict):
            found |= {name: override_from(name, item) for name, item in flattened(value)}
        elif definition is not None:
            fields = flat_fields(definition[1], definition[0], script)
            found |= {one.name: argument_of(one, Manner(lists=True)) for one in fields}
        else:
            unread.append(module.where(call))
    return Arguments(
        family="OmegaConf",
        passing=Passing.OVERRIDES,
        arguments=tuple(found.values()),
        used=tuple(name for name in script.given if name == "config" and name not in found),
        to_do=tuple(to_do),
        unread=tuple(unread),
    )
