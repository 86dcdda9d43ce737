"""A script that reads all its settings from a file: `yaml.safe_load(open(args.config))`.

sweeper writes such a file for each trial (`${args_json_file}`; JSON is YAML): the values of the original are the
parameters of the sweep.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from sweeper.preflight.arguments.configs import WORDS_OF_YAML_1_1, argument_from, config_from_file, flattened
from sweeper.preflight.arguments.model import Argument, ArgumentKind, Arguments, Passing
from sweeper.preflight.arguments.reading import CONFIGS
from sweeper.preflight.arguments.roles import is_output, is_seed
from sweeper.preflight.arguments.script import Script
from sweeper.preflight.arguments.values import dotted, name_of

READERS: Mapping[str, tuple[str, ...]] = {
    "yaml": ("load", "safe_load", "full_load", "unsafe_load"),
    "json": ("load", "loads"),
    "ruamel": ("load",),
    "omegaconf": ("load",),
    "tomllib": ("load", "loads"),
    "tomli": ("load", "loads"),
    "toml": ("load", "loads"),
}
NAMES = frozenset(
    {
        *("config", "cfg", "conf", "config_file", "cfg_file", "config_path", "cfg_path", "configs", "c", "opt"),
        *("params", "params_file", "hparams", "yaml", "yaml_file", "yaml_path", "settings", "experiment"),
    }
)
"""Arguments that name a file of settings."""
FILE = "${args_json_file}"


def instead(script: Script, read: Arguments | None) -> Arguments | None:
    """Return the values of the file that the script reads, if they are what a sweep would vary; None otherwise.

    Args:
        script: the script.
        read: the arguments of its command line, if it has any. If they include numbers to vary, they count.
    """
    if not _reads_a_file(script):
        return None
    arguments = read.arguments if read is not None else ()
    named = next((one for one in arguments if _names_a_file(one)), None)
    if read is not None and (named is None or any(_is_swept(one) for one in arguments)):
        return None
    if named is not None:
        given = script.given.get(named.name) or script.given.get(named.name.replace("-", "_"))
        path, words, used = given or named.default, _words(named), named.name
    elif _takes_first_word(script):
        path, words, used = script.given.get("config"), (FILE,), "config"
        if path is None:
            needed = Argument(name="config", kind=ArgumentKind.POSITIONAL, required=True)
            return Arguments(family="a file of settings", passing=Passing.FILE, arguments=(needed,))
    else:
        return _fixed(script)
    if path is None:
        return None if read is None else replace(read, arguments=tuple(_needed(one, named) for one in arguments))
    return _of_file(Path(str(path)), words, used, read, script)


def _of_file(path: Path, words: tuple[str, ...], used: str, read: Arguments | None, script: Script) -> Arguments:
    beside = [one for one in read.arguments if one.name != used] if read is not None else []
    to_do = list(read.to_do) if read is not None else []
    found = next((one for one in (path, script.folder / path) if one.is_file()), path)
    config = config_from_file(found, to_do)
    if path.suffix == ".toml":
        to_do.append(f"{FILE} is JSON, and the script reads TOML: let it read JSON as well")
    parameters = [_parameter(name, value, to_do) for name, value in flattened(config)]
    # Only options that need a word, such as a seed or an output directory, stay in the command.
    kept = [one for one in beside if is_seed(one) or is_output(one) or one.required]
    return Arguments(
        family=str(path),
        passing=Passing.FILE,
        arguments=(*parameters, *kept),
        before=(*(read.before if read is not None else ()), *words),
        used=(used, used.replace("-", "_")),
        unread=read.unread if read is not None else (),
        to_do=tuple(to_do),
    )


def _parameter(name: str, value: object, to_do: list[str]) -> Argument:
    """Return a value of the file as a parameter. The file of a trial replaces the original, so none is left out."""
    if isinstance(value, str) and value.lower() in WORDS_OF_YAML_1_1:
        to_do.append(f"{name} is `{value}`: write true, false or the quoted text")
    if name == "seed":
        to_do.append("seed cannot be in the file of a trial: let the script take it as an option, --seed=${trial:seed}")
    made = argument_from(name, value, ArgumentKind.PARAMETER)
    if made.left_out.startswith("is a list of"):
        to_do.append(
            f"{name} is a list of lists or mappings, which no parameter can be: let the script read it elsewhere"
        )
        return made
    if is_output(made):
        to_do.append(
            f"{name} is the same directory for all trials: let the script add its own, as in $SWEEPER_TRIAL_DIR"
        )
    return replace(made, default=value, left_out="", required=value == "???")


def _fixed(script: Script) -> Arguments | None:
    """Return what to do about a script that reads a file of a fixed name."""
    names = [
        value
        for module in script.modules
        for call in module.calls
        if name_of(call.func) in ("open", "Path", "load", "read_text") and call.args
        if isinstance(value := script.value(call.args[0], module), str) and value.endswith(CONFIGS)
    ]
    if not names:
        return None
    reason = (
        f"the script reads {names[0]} whatever its command line says: let it take the path from its first argument, "
    )
    to_do = f"{reason}open(sys.argv[1]), and write this file anew"
    return Arguments(family="a file of settings", passing=Passing.NOTHING, to_do=(to_do,))


def _reads_a_file(script: Script) -> bool:
    return any(
        name_of(call.func) in READERS.get(script.origin(call.func, module).split(".")[0].lower(), ())
        for module in script.modules
        for call in module.calls
    )


def _names_a_file(one: Argument) -> bool:
    name = one.name.replace("-", "_").lower()
    is_file = isinstance(one.default, str) and one.default.endswith(CONFIGS)
    return name in NAMES or name.endswith(("_config", "_cfg")) or is_file


def _is_swept(one: Argument) -> bool:
    """Return whether an option is a number that a sweep may vary."""
    is_number = isinstance(one.default, int | float) and not isinstance(one.default, bool)
    name = one.name.replace("-", "_").lower()
    is_setting = name in ("local_rank", "gpu", "gpus", "port", "num_workers", "workers", "nodes", "rank", "verbose")
    return is_number and not one.left_out and not is_seed(one) and not is_setting


def _words(named: Argument) -> tuple[str, ...]:
    if named.kind is ArgumentKind.POSITIONAL:
        return (FILE,)
    return (f"{'-' if named.short else '--'}{named.name}", FILE)


def _takes_first_word(script: Script) -> bool:
    """Return whether the script reads its first argument by `sys.argv[1]`."""
    subscripts = (node for node in script.own.nodes if isinstance(node, ast.Subscript))
    return any(dotted(one.value) in ("sys.argv", "argv") and ast.unparse(one.slice) == "1" for one in subscripts)


def _needed(one: Argument, named: Argument | None) -> Argument:
    return replace(one, required=True, left_out="") if one is named else one
