"""Hydra: the YAML files under `@hydra.main(config_path, config_name)`, composed by their defaults lists.

Structured configurations of the `ConfigStore` take part as files do. Searches in packages (`pkg://`) are not followed.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sweeper.preflight.arguments.configs import config_from_file, flattened, override_from
from sweeper.preflight.arguments.fields import flat_fields
from sweeper.preflight.arguments.model import Argument, ArgumentKind, Arguments, Passing
from sweeper.preflight.arguments.script import Module, Script
from sweeper.preflight.arguments.values import name_of

OUTPUT = "hydra.run.dir=${trial:dir}/hydra"
"""Hydra's own directory of a run: without it, all trials of a second would share one."""
PACKAGE = re.compile(r"^#\s*@package\s+(\S+)", re.MULTILINE)
DEEPEST = 16


def read(script: Script) -> Arguments | None:
    """Return the values of the configuration of a Hydra application; None if the script is none."""
    for module in script.places:
        for function in module.definitions.values():
            for decorator in function.decorator_list:
                if isinstance(decorator, ast.Call) and _is_main(decorator, module):
                    return _of_main(decorator, module, script)
    return None


def _is_main(decorator: ast.Call, module: Module) -> bool:
    name = ast.unparse(decorator.func)
    return name == "hydra.main" or (name == "main" and module.imported.get("main", "").startswith("hydra"))


def _of_main(decorator: ast.Call, module: Module, script: Script) -> Arguments:
    names = ("config_path", "config_name", "version_base")
    given = dict(zip(names, decorator.args, strict=False)) | {w.arg: w.value for w in decorator.keywords if w.arg}
    folder, name = (script.value(given[key], module) if key in given else None for key in names[:2])
    made = Arguments(family="Hydra", passing=Passing.OVERRIDES, after=(OUTPUT,))
    if not (isinstance(name, str) and (folder is None or isinstance(folder, str))):
        to_do = "the name of the configuration is not in @hydra.main: write its values as parameters"
        return _with(made, [], [to_do])
    composer = _composed(name.removesuffix(".yaml"), module.path.parent / folder if folder else None, _stored(script))
    return _with(made, list(composer.arguments()), composer.to_do)


def _with(made: Arguments, arguments: Sequence[Argument], to_do: Sequence[str]) -> Arguments:
    return replace(made, arguments=tuple(arguments), to_do=tuple(to_do))


def _stored(script: Script) -> dict[str, dict[str, object]]:
    """Return the configurations that the script puts into Hydra's store, by their path in it."""
    found: dict[str, dict[str, object]] = {}
    for module, call in script.calls("store"):
        words = {word.arg: word.value for word in call.keywords if word.arg}
        names = [script.value(words[key], module) if key in words else "" for key in ("group", "name")]
        node = words.get("node")
        if not names[1] or not all(isinstance(name, str) for name in names):
            continue
        definition = script.definition(name_of(node), module)
        values = script.value(node, module)
        entries: dict[str, object] = dict(values) if isinstance(values, dict) else {}
        for one in flat_fields(definition[1], definition[0], script) if definition is not None else ():
            default = "???" if one.required else one.default
            if one.name == "defaults":
                entries["defaults"] = default
            else:
                _put(entries, one.name.split("."), default)
        found["/".join(str(name) for name in names if name)] = entries
    return found


def _composed(name: str, folder: Path | None, stored: Mapping[str, dict[str, object]]) -> _Composer:
    """Compose the configuration of a name, again whenever a configuration in it overrides the option of a group."""
    overridden: dict[str, str] = {}
    composer = _Composer(folder, stored)
    for _ in range(DEEPEST):
        composer = _Composer(folder, stored, overridden=overridden)
        composer.include(name, "", at_root=True)
        if composer.overriding == overridden:
            break
        overridden = composer.overriding
    return composer


@dataclass
class _Composer:
    """Compose a configuration from files.

    Attributes:
        folder: the folder of the files; None if there is none.
        stored: configurations that are no files.
        config: what was composed so far.
        groups: the chosen option of each group.
        overridden: the options of groups that entries such as `override /model: resnet` choose, as they are known.
        overriding: the same, as they were found.
        to_do: what could not be read.
    """

    folder: Path | None
    stored: Mapping[str, dict[str, object]]
    config: dict[str, object] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    overridden: Mapping[str, str] = field(default_factory=dict)
    overriding: dict[str, str] = field(default_factory=dict)
    to_do: list[str] = field(default_factory=list)

    def arguments(self) -> Iterator[Argument]:
        """Return the groups as arguments with their options as choices, then all values."""
        for group, option in self.groups.items():
            options = self.options(group)
            text = f"configuration group: the values {group}.* below are those of {option}"
            if len(options) > 1 and "/" not in group:
                yield Argument(name=group, kind=ArgumentKind.OPTION, default=option, choices=tuple(options), help=text)
        values = (override_from(name, value) for name, value in flattened(self.config))
        yield from (one for one in values if one.name not in self.groups)

    def options(self, group: str) -> list[str]:
        """Return the names of the options of a group."""
        files = sorted(file.stem for file in (self.folder / group).glob("*.yaml")) if self.folder is not None else []
        stored = [name.rpartition("/")[2] for name in self.stored if name.rpartition("/")[0] == group]
        return list(dict.fromkeys([*files, *stored]))

    def include(
        self, path: str, package: str, *, at_root: bool = False, depth: int = 0, optional: bool = False
    ) -> None:
        """Merge a configuration, and what its defaults list names, into the whole."""
        file = None if self.folder is None else self.folder / f"{path}.yaml"
        if path in self.stored:
            values = dict(self.stored[path])
        elif file is not None and file.is_file():
            values = config_from_file(file, self.to_do)
            directive = PACKAGE.search(file.read_text(encoding="utf-8", errors="replace"))
            package = package if directive is None else directive[1].replace("_global_", "").replace("_group_", package)
        else:
            where = "" if self.folder is None else f" in {self.folder}"
            self.to_do += (
                [] if optional else [f"no configuration {path} was found{where}: write its values as parameters"]
            )
            return
        defaults = values.pop("defaults", [])
        entries = [entry for entry in defaults if isinstance(entry, str | dict)] if isinstance(defaults, list) else []
        self.overriding |= dict(_overrides(entries))
        merged = False
        for entry in entries if depth < DEEPEST else ():
            if entry == "_self_":
                self.merge(values, package, at_root=at_root)
                merged = True
            else:
                self.default(entry, path, package, depth)
        if not merged:
            self.merge(values, package, at_root=at_root)

    def default(self, entry: str | Mapping[str, object], path: str, package: str, depth: int) -> None:
        """Follow one entry of the defaults list of the configuration at a path."""
        beside, _, _ = path.rpartition("/")
        if isinstance(entry, str):
            name, _, own = entry.partition("@")
            target = name[1:] if name.startswith("/") else "/".join(part for part in (beside, name) if part)
            self.include(target.removesuffix(".yaml"), _package(own, package), depth=depth + 1)
            return
        for key, option in entry.items():
            words = key.split()
            if "override" in words:
                continue
            group, _, own = words[-1].partition("@")
            full = group[1:] if group.startswith("/") else "/".join(part for part in (beside, group) if part)
            if full.partition("/")[0] == "hydra" or option is None:
                continue
            chosen = self.overridden.get(full, option)
            inside = f"{package}." if package and not group.startswith("/") else ""
            name = own or full.removeprefix(f"{beside}/" if beside and inside else "").replace("/", ".")
            for one in chosen if isinstance(chosen, list) else [chosen]:
                if isinstance(chosen, str) and not own:
                    self.groups[full] = chosen
                target = f"{full}/{str(one).removesuffix('.yaml')}"
                self.include(
                    target,
                    _package(own, package) if own else f"{inside}{name}",
                    depth=depth + 1,
                    optional="optional" in words,
                )

    def merge(self, values: Mapping[str, object], package: str, *, at_root: bool) -> None:
        """Merge the values of one configuration into the whole."""
        kept = {key: value for key, value in values.items() if not (key == "hydra" and (at_root or not package))}
        for name, value in flattened(kept):
            _put(self.config, [*(package.split(".") if package else []), *name.split(".")], value)


def _overrides(entries: Sequence[str | Mapping[str, object]]) -> Iterator[tuple[str, str]]:
    """Return the options that entries such as `override /model: resnet` choose."""
    for entry in entries:
        for key, option in entry.items() if isinstance(entry, Mapping) else ():
            if "override" in key.split():
                yield key.split()[-1].lstrip("/"), str(option)


def _package(own: str, package: str) -> str:
    if own in ("_here_", ""):
        return package
    if own.startswith("_global_"):
        return own.removeprefix("_global_").lstrip(".")
    return f"{package}.{own}" if package else own


def _put(config: MutableMapping[str, object], path: Sequence[str], value: object) -> None:
    *groups, last = path
    for group in groups:
        inner = config.get(group)
        if not isinstance(inner, dict):
            inner = config[group] = {}
        config = inner
    config[last] = value
