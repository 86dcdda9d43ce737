"""LightningCLI: the parameters of the module and the data module, with `fit` and an optional `--config`."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

from sweeper.preflight.arguments.configs import argument_from, config_from_file, flattened
from sweeper.preflight.arguments.fields import flat_fields
from sweeper.preflight.arguments.model import Argument, ArgumentKind, Arguments, Passing, judged
from sweeper.preflight.arguments.options import Manner, argument_of
from sweeper.preflight.arguments.script import Module, Script
from sweeper.preflight.arguments.values import name_of

MANNER = Manner(lists=True)
GROUPS = ("model", "data", "optimizer", "lr_scheduler", "trainer")
ROOT = Argument(name="trainer.default_root_dir", kind=ArgumentKind.OPTION, required=True)
"""Where Lightning writes logs and checkpoints."""


def read(script: Script) -> Arguments | None:
    """Return the arguments of a script that uses LightningCLI; None if it does not."""
    names = {"LightningCLI", *_subclasses(script)}
    calls = [(module, call) for module, call in script.calls(*names) if not _is_super(call)]
    if not calls:
        return None
    module, call = calls[0]
    words = dict(zip(("model_class", "datamodule_class"), call.args, strict=False))
    words |= {word.arg: word.value for word in call.keywords if word.arg}
    found: dict[str, Argument] = {}
    to_do: list[str] = []
    unread: list[str] = []
    for group, key in (("model", "model_class"), ("data", "datamodule_class")):
        if key in words:
            options = _of_class(words[key], group, module, script)
            unread += [] if options else [module.where(words[key])]
            found |= {one.name: one for one in options}
    given = script.value(words.get("trainer_defaults"), module)
    entries = dict(flattened(given, "trainer.")) if isinstance(given, dict) else {}
    entries |= _defaults(script)
    path = _config(words, module, script)
    if path is not None:
        entries |= dict(flattened(config_from_file(path, to_do)))
    for name, value in entries.items():
        if name.partition(".")[0] in GROUPS:
            found[name] = argument_from(name, value)
    if "model_class" not in words and path is None:
        to_do.append("the script takes its model from a file: name one, as in `sweeper init SCRIPT config=config.yaml`")
    runs = script.value(words.get("run"), module) is not False
    from_user = "config" in script.given and path is not None
    return Arguments(
        family="LightningCLI",
        passing=Passing.FLAGS,
        arguments=(*_without_links(found, script).values(), ROOT, *_seed(words, module, script)),
        before=(*(("fit",) if runs else ()), *((f"--config={path}",) if from_user else ())),
        used=("config",) if from_user else (),
        to_do=tuple(to_do),
        unread=tuple(unread),
    )


def _subclasses(script: Script) -> set[str]:
    classes = [node for module in script.modules for node in module.definitions.values()]
    return {
        one.name
        for one in classes
        if isinstance(one, ast.ClassDef) and any(name_of(base) == "LightningCLI" for base in one.bases)
    }


def _is_super(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and name_of(call.func.value) == "super"


def _of_class(node: ast.expr, group: str, module: Module, script: Script) -> list[Argument]:
    found = script.definition(name_of(node), module)
    if found is None:
        return []
    fields = flat_fields(found[1], found[0], script)
    return [argument_of(replace(one, name=f"{group}.{one.name}"), MANNER) for one in fields]


def _config(words: dict[str, ast.expr], module: Module, script: Script) -> Path | None:
    """Return the configuration file that the user names, or that the script reads by default."""
    if "config" in script.given:
        return Path(script.given["config"])
    settings = script.value(words.get("parser_kwargs"), module)
    if isinstance(settings, dict):
        settings = settings.get("fit", settings)
        files = settings.get("default_config_files", []) if isinstance(settings, dict) else []
        return next((Path(file) for file in files if isinstance(file, str) and Path(file).is_file()), None)
    return None


def _defaults(script: Script) -> dict[str, object]:
    """Return the values of `parser.set_defaults({"model.lr": 0.1})`."""
    found: dict[str, object] = {}
    for module, call in script.calls("set_defaults"):
        values = script.value(call.args[0], module) if call.args else None
        found |= {str(key): value for key, value in values.items()} if isinstance(values, dict) else {}
    return found


def _without_links(found: dict[str, Argument], script: Script) -> dict[str, Argument]:
    """Return the arguments without those that `parser.link_arguments` computes from others."""
    targets = {
        str(script.value(call.args[1], module)) for module, call in script.calls("link_arguments") if call.args[1:]
    }
    return {name: one for name, one in found.items() if name not in targets}


def _seed(words: dict[str, ast.expr], module: Module, script: Script) -> list[Argument]:
    default = script.value(words.get("seed_everything_default"), module)
    if default is False:
        return []
    value = default if type(default) is int else 0
    return [judged(Argument(name="seed_everything", kind=ArgumentKind.OPTION, default=value))]
