"""Translate the keys of W&B's sweep files, or refuse them.

No key is ignored silently. A key without effect on the results is reported in a note, and any other key without a
counterpart is a mistake, with what to write instead. https://docs.wandb.ai/models/sweeps/sweep-config-keys
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path as File

from sweeper.config.model.parameters import Distribution
from sweeper.config.model.shapes import MOST_EXPONENT
from sweeper.config.model.sweep import Method, as_name
from sweeper.config.read.naming import with_title
from sweeper.config.read.node import Complaint, Node, Path, found, grafted, plain, without
from sweeper.config.read.yaml_text import TextSource, parsed
from sweeper.mistakes import listed, shown
from sweeper.rules.pruner_settings import PrunerSettings
from sweeper.rules.settings import RULES

UNUSED: Mapping[Path, str] = {
    **{(key,): "is not used: it is for W&B's server" for key in ("entity", "project", "apiVersion", "kind")},
    ("controller",): "is not used: sweeper run is the controller",
    ("metric", "impute_while_running"): "is not used: the search method decides how a running trial counts",
}
"""Keys that have no effect here, and why."""

REFUSED: Mapping[str, str] = {
    "job": "write command or program, and executor for where it runs",
    "image_uri": "write command or program; docs/docker.md explains trials in containers",
    "scheduler": "write method: tpe, gp, cmaes or qmc",
    "metrics": "write metric: {name: ..., goal: ...} with the metric to rank by; metrics: {NAME: SOURCE} is something "
    "else here, where the values of a script that reports none are read",
}
"""Keys that are refused, and what to write instead."""

TRANSLATED = ("log_uniform", "q_log_uniform", "inv_log_uniform", "inv_log_uniform_values")
"""Distributions that are translated: their bounds are exponents of e, or inverses, of the values."""

EARLY_TERMINATE = ("type", "min_iter", "max_iter", "s", "eta", "strict")
EXAMPLE = "early_terminate: {type: hyperband, min_iter: 3}"
LEAST_REDUCTION = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """A sweep in sweeper's keys, with notes about what was translated, and complaints about what was refused."""

    root: Node
    notes: tuple[str, ...] = ()
    complaints: tuple[Complaint, ...] = ()

    def then(self, root: Node, *, note: str = "", complaint: Complaint | None = None) -> Translation:
        """Return this translation with another root, and one more note or complaint."""
        notes = (*self.notes, note) if note else self.notes
        return Translation(root=root, notes=notes, complaints=(*self.complaints, *([complaint] if complaint else [])))


def translated(root: Node) -> Translation:
    """Translate W&B's own keys and distributions in a sweep file."""
    translation = Translation(root=root)
    for path, why in UNUSED.items():
        if (node := found(translation.root, *path)) is not None:
            translation = translation.then(_pruned(translation.root, path), note=_note(node.where, path, why))
    for key, hint in REFUSED.items():
        # A list of metrics is W&B's, a mapping is sweeper's own.
        if (node := root.child(key)) is not None and not (key == "metrics" and isinstance(node.value, Mapping)):
            complaint = Complaint(path=(key,), expected="a key of the sweep", got="a key of W&B only", hint=hint)
            translation = translation.then(without(translation.root, [key]), complaint=complaint)
    return _parameters(_early_terminate(translation))


def completed(root: Node, file: str, named: Callable[[str], str] = lambda name: name) -> Translation:
    """Fill in what W&B's files may leave out: the name and, if neither the method nor a rule needs it, the metric.

    Args:
        root: the sweep.
        file: the sweep file, as it should appear in messages.
        named: returns the name of a sweep that has none of its own, given one made from its file.
    """
    translation = Translation(root=root)
    if root.child("name") is None:
        name = named(as_name(File(file).stem))
        text = f"is not given, so the sweep is named after its file: {name}"
        translation = translation.then(_given(root, "name", f"'{name}'"), note=_note(file, ("name",), text))
    elif (titled := with_title(root)) is not None:
        made = titled.children()["name"]
        text = f"is kept as the title, and the directory of the run is {made.value}"
        translation = translation.then(titled, note=_note(made.where, ("name",), text))
    root = translation.root
    method = root.child("method")
    endless = [one for one in Method if one not in (Method.GRID, Method.PBT)]  # a population has its turns
    sampled = method is not None and plain(method) in endless
    limits = [root.child("run_cap"), found(root, "budget", "trials"), found(root, "budget", "hours")]
    if sampled and method and all(limit is None for limit in [*limits, found(root, "budget", "gpu_hours")]):
        text = (
            f"is not given, so {plain(method)} proposes trials until the sweep is stopped; run_cap or budget limits it"
        )
        translation = translation.then(root, note=_note(method.where, ("run_cap",), text))
    if root.child("metric") is None and root.child("objectives") is None and not _needs_metric(root):
        text = "is not given, so trials are ranked by their lowest loss/train; write metric: {name: ..., goal: ...}"
        read = list(sources.children()) if (sources := root.child("metrics")) is not None else []
        if read and "loss/train" not in read:
            text += f" with a name of metrics, such as {read[0]}"
        translation = translation.then(
            _given(translation.root, "metric", "{name: loss/train}"), note=_note(file, ("metric",), text)
        )
    command, program = root.child("command"), root.child("program")
    if command and program and "${program}" not in map(plain, _items(command)):
        text = "is not used: command does not contain ${program}"
        translation = translation.then(translation.root, note=_note(program.where, ("program",), text))
    return translation


def _needs_metric(root: Node) -> bool:
    """Return whether the method uses the metric, or a rule compares trials by it."""
    method = root.child("method")
    rules = found(root, "early_stop", "rules")
    named = {name for rule in _items(rules) for name in rule.children()} if rules else set()
    pruners = [name for name in named if issubclass(RULES.get(name, object), PrunerSettings)]
    using_metric = set(Method) - {Method.GRID, Method.RANDOM, Method.QMC}
    return bool(pruners) or (method is not None and plain(method) in list(using_metric))


# ---- early_terminate -------------------------------------------------------------------------------------------------


def _early_terminate(translation: Translation) -> Translation:
    node = translation.root.child("early_terminate")
    if node is None:
        return translation
    root = without(translation.root, ["early_terminate"])
    if translation.root.child("early_stop") is not None:
        expected = "only one of early_stop and W&B's early_terminate"
        return translation.then(root, complaint=Complaint(path=("early_terminate",), expected=expected, got="both"))
    complaint = next(_complaints_about_hyperband(node), None)
    if complaint is not None:
        return translation.then(root, complaint=complaint)
    data = plain(node)
    assert isinstance(data, dict)  # noqa: S101 - it has no complaint
    eta = int(data.get("eta", 3))
    bands = "max_iter" in data and "s" in data  # W&B does not read min_iter then
    rungs = f"rungs: {_bands(data['max_iter'], int(data['s']), eta)}" if bands else f"min_resource: {data['min_iter']}"
    rules = f"{{rules: [{{successive_halving: {{{rungs}, reduction_factor: {eta}}}}}]}}"
    text = f"is translated to early_stop: {rules}"
    text += (
        "; min_iter is not used, because W&B makes the rungs from max_iter and s"
        if bands and "min_iter" in data
        else ""
    )
    text += "; strict is not used: one in eta trials of each rung continues" if "strict" in data else ""
    return translation.then(_given(root, "early_stop", rules, node), note=_note(node.where, ("early_terminate",), text))


def _complaints_about_hyperband(node: Node) -> Iterator[Complaint]:
    """Find what prevents a translation of W&B's Hyperband, which has no brackets, to successive halving."""
    data, top = plain(node), ("early_terminate",)
    hint = "early_stop: {rules: [...]} has median, percentile, hyperband and more"
    kind = data.get("type") if isinstance(data, dict) else data
    if kind == "hyperband" and not isinstance(data, dict):
        expected, hint = "a mapping with the type and its settings", f"write {EXAMPLE}"
        yield Complaint(path=top, expected=expected, got="only the type", hint=hint)
        return
    if not isinstance(data, dict) or kind != "hyperband":
        hint = f"write {EXAMPLE}; {hint}"
        got = "nothing" if kind is None else shown(kind)
        yield Complaint(path=(*top, "type"), expected="hyperband, W&B's only type", got=got, hint=hint)
        return
    for key in [key for key in data if key not in EARLY_TERMINATE]:
        yield Complaint(path=(*top, key), expected=f"one of {listed(EARLY_TERMINATE)}", got="an unknown key", hint=hint)
    for key, least in (("eta", LEAST_REDUCTION), ("min_iter", 1), ("max_iter", 1), ("s", 1)):
        value = data.get(key, least)
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < 1 << 31 or value % 1:
            yield Complaint(path=(*top, key), expected=f"a whole number of {least} or more", got=shown(value))
    if "min_iter" not in data and not {"max_iter", "s"} <= data.keys():
        got = listed(data).replace(" or ", " and ")
        yield Complaint(path=top, expected="min_iter, or max_iter and s", got=got, hint=f"write {EXAMPLE}")
    elif {"max_iter", "s"} <= data.keys() and data["max_iter"] < data.get("eta", 3):
        yield Complaint(path=(*top, "max_iter"), expected="eta or more", got=shown(data["max_iter"]))


def _bands(most: int, count: int, eta: int) -> list[int]:
    """Return W&B's bands: `most` divided by `eta` up to `count` times, as long as they are at least 1."""
    band, bands = float(most), list[int]()
    for _ in range(count):
        band /= eta
        if band < 1:
            break
        bands.insert(0, int(band))
    return bands


# ---- parameters ------------------------------------------------------------------------------------------------------


def _parameters(translation: Translation) -> Translation:
    parameters = translation.root.child("parameters")
    for name, node in (parameters.children() if parameters else {}).items():
        translation = _parameter(translation, name, node)
    return translation


def _parameter(translation: Translation, name: str, node: Node) -> Translation:
    path = ("parameters", name)
    data = plain(node)
    ours = _in_values(data) if isinstance(data, dict) else None
    if not isinstance(data, dict) or ours is None:
        return translation
    distribution, least, most = ours
    text = f"is translated from {data['distribution']} to {distribution} from {least:.3g} to {most:.3g}"
    root = translation.root
    for key, value in (("distribution", distribution.value), ("min", repr(least)), ("max", repr(most))):
        root = grafted(root, (*path, key), _node(value, node, (*path, key)))
    return translation.then(root, note=_note(node.where, path, text))


def _in_values(data: Mapping[str, object]) -> tuple[Distribution, float, float] | None:
    """Return the distribution and bounds of the values, for a W&B distribution given by exponents of e or by inverses.

    Return None for any other distribution, and for bounds such as 1e-5 and 1e-2, which a user meant as the values
    themselves.
    """
    least, most = data.get("min"), data.get("max")
    if any(isinstance(bound, bool) or not isinstance(bound, int | float) for bound in (least, most)):
        return None
    assert isinstance(least, int | float)  # noqa: S101 - for mypy: it was checked above
    assert isinstance(most, int | float)  # noqa: S101 - the same
    match data.get("distribution"):
        case "inv_log_uniform_values":
            return Distribution.LOG_UNIFORM, least, most
        case "log_uniform" | "q_log_uniform" | "inv_log_uniform" if 0 <= least <= most <= 1:
            return None
        case "log_uniform" | "q_log_uniform" as name if max(abs(least), abs(most)) <= MOST_EXPONENT:
            kind = Distribution.LOG_UNIFORM if name == "log_uniform" else Distribution.Q_LOG_UNIFORM
            return kind, math.exp(least), math.exp(most)
        case "inv_log_uniform" if max(abs(least), abs(most)) <= MOST_EXPONENT:
            return Distribution.LOG_UNIFORM, math.exp(-most), math.exp(-least)
        case _:
            return None


# ---- nodes -----------------------------------------------------------------------------------------------------------


def _items(node: Node) -> tuple[Node, ...]:
    return node.value if isinstance(node.value, tuple) else ()


def _pruned(root: Node, path: Path) -> Node:
    """Return the tree without the node at a path."""
    *above, last = path
    parent = found(root, *above)
    return root if parent is None else grafted(root, tuple(above), without(parent, [str(last)]))


def _given(root: Node, key: str, text: str, at: Node | None = None) -> Node:
    """Return the sweep with one more key at the position of the node `at`."""
    return grafted(root, (key,), _node(text, at or root, (key,)))


def _node(text: str, at: Node, path: Path) -> Node:
    return parsed(text, TextSource(at.where, numbered=False, key=path))[0]


def _note(where: str, path: Path, text: str) -> str:
    return f"{where}: {'.'.join(map(str, path))} {text}"
