"""What W&B's sweep files say in words of their own: taken for what it means here, and said, or refused.

Nothing is passed over in silence: what changes nothing that is computed is said in a note, what would is a mistake,
with what to write instead. https://docs.wandb.ai/models/sweeps/sweep-config-keys
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path as File

from sweeper.config.model.parameters import Distribution
from sweeper.config.model.sweep import Method, as_name
from sweeper.config.read.node import Complaint, Node, Path, found, grafted, plain, without
from sweeper.config.read.yaml_text import TextSource, parsed
from sweeper.mistakes import listed, shown
from sweeper.rules.settings import RULES, PrunerSettings

UNUSED: Mapping[Path, str] = {
    **{(key,): "is for W&B's server, and not used" for key in ("entity", "project", "apiVersion", "kind")},
    ("controller",): "is not used: the process of sweeper run is the controller",
    ("metric", "target"): "is not used: the sweep goes on when it is reached; budget bounds what it spends",
    ("metric", "impute"): "is not used: a failed trial is told to the search as failed",
    ("metric", "impute_while_running"): "is not used: how a running trial counts is the method's",
}
"""Keys that are taken, and why they change nothing."""

REFUSED: Mapping[str, str] = {
    "job": "write command or program; executor says where it runs",
    "image_uri": "write command or program; docs/docker.md has trials in containers",
    "scheduler": "write method: tpe, gp, cmaes or qmc, which are Optuna's",
    "metrics": "write metric: {name: ..., goal: ...}, with the one to rank by",
}
"""Keys that would change what is run, and what to write."""

TAKEN = ("log_uniform", "q_log_uniform", "inv_log_uniform", "inv_log_uniform_values")
"""Distributions by the exponents of e, or the inverses, of their values."""

EARLY_TERMINATE = ("type", "min_iter", "max_iter", "s", "eta", "strict")
LEAST_REDUCTION = 2
MOST_EXPONENT = 700
"""Of e, in a float."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A file in our words, what is said about that, and what is wrong with it."""

    root: Node
    notes: tuple[str, ...] = ()
    complaints: tuple[Complaint, ...] = ()

    def then(self, root: Node, *, note: str = "", complaint: Complaint | None = None) -> Taken:
        """This, going on with another root, and what is to be said of it."""
        notes = (*self.notes, note) if note else self.notes
        return Taken(root=root, notes=notes, complaints=(*self.complaints, *([complaint] if complaint else [])))


def translated(root: Node) -> Taken:
    """The file with W&B's own keys and distributions in ours."""
    taken = Taken(root=root)
    for path, why in UNUSED.items():
        if (node := found(taken.root, *path)) is not None:
            taken = taken.then(_pruned(taken.root, path), note=_note(node.where, path, why))
    for key, hint in REFUSED.items():
        if root.child(key) is not None:
            complaint = Complaint(path=(key,), expected="a key of the sweep", got="one of W&B's alone", hint=hint)
            taken = taken.then(without(taken.root, [key]), complaint=complaint)
    return _parameters(_early_terminate(taken))


def completed(root: Node, file: str) -> Taken:
    """The resolved sweep with what W&B's files may leave out: a name, and where nothing needs one, a metric."""
    taken = Taken(root=root)
    if root.child("name") is None:
        name = as_name(File(file).stem)
        text = f"is not given, so it is that of the file, {name}"
        taken = taken.then(_given(root, "name", f"'{name}'"), note=_note(file, ("name",), text))
    if root.child("metric") is None and not _needs_metric(root):
        text = "is not given: trials rank by their lowest loss/train; write metric: {name: ..., goal: ...}"
        taken = taken.then(_given(taken.root, "metric", "{name: loss/train}"), note=_note(file, ("metric",), text))
    command, program = root.child("command"), root.child("program")
    if command and program and "${program}" not in map(plain, _items(command)):
        taken = taken.then(taken.root, note=_note(program.where, ("program",), "is not used: command does not name it"))
    return taken


def _needs_metric(root: Node) -> bool:
    """Whether the method looks at values, or a rule compares trials by them."""
    method = root.child("method")
    rules = found(root, "early_stop", "rules")
    named = {name for rule in _items(rules) for name in rule.children()} if rules else set()
    pruners = [name for name in named if issubclass(RULES.get(name, object), PrunerSettings)]
    looking = set(Method) - {Method.GRID, Method.RANDOM, Method.QMC}
    return bool(pruners) or (method is not None and plain(method) in list(looking))


# ---- early_terminate -------------------------------------------------------------------------------------------------


def _early_terminate(taken: Taken) -> Taken:
    node = taken.root.child("early_terminate")
    if node is None:
        return taken
    root = without(taken.root, ["early_terminate"])
    if taken.root.child("early_stop") is not None:
        expected = "only one of early_stop and W&B's early_terminate"
        return taken.then(root, complaint=Complaint(path=("early_terminate",), expected=expected, got="both"))
    complaint = next(_complaints_about_hyperband(node), None)
    if complaint is not None:
        return taken.then(root, complaint=complaint)
    data = plain(node)
    assert isinstance(data, dict)  # noqa: S101 - it has no complaint
    eta = int(data.get("eta", 3))
    rung = data["min_iter"] if "min_iter" in data else _first_band(data["max_iter"], int(data["s"]), eta)
    rules = f"{{rules: [{{successive_halving: {{min_resource: {rung}, reduction_factor: {eta}}}}}]}}"
    text = f"is taken as early_stop: {rules}"
    text += "; max_iter ends no rungs: each evaluation eta times further is one" if "max_iter" in data else ""
    text += "; strict is not used: of each rung one in eta goes on" if "strict" in data else ""
    return taken.then(_given(root, "early_stop", rules, node), note=_note(node.where, ("early_terminate",), text))


def _complaints_about_hyperband(node: Node) -> Iterator[Complaint]:
    """What keeps W&B's Hyperband, which is successive halving without brackets, from being told in Optuna's words."""
    data, top = plain(node), ("early_terminate",)
    hint = "early_stop: {rules: [...]} has median, percentile, hyperband and more"
    kind = data.get("type") if isinstance(data, dict) else data
    if not isinstance(data, dict) or kind != "hyperband":
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
        yield Complaint(path=top, expected="min_iter, or max_iter and s", got=listed(data).replace(" or ", " and "))
    elif "min_iter" not in data and data["max_iter"] < data.get("eta", 3):
        yield Complaint(path=(*top, "max_iter"), expected="eta or more", got=shown(data["max_iter"]))


def _first_band(most: int, count: int, eta: int) -> int:
    """The first of W&B's bands: `most` divided by `eta`, at most `count` times, and at least 1."""
    band = float(most)
    for _ in range(count):
        if band / eta < 1:
            break
        band /= eta
    return int(band)


# ---- parameters ------------------------------------------------------------------------------------------------------


def _parameters(taken: Taken) -> Taken:
    parameters = taken.root.child("parameters")
    for name, node in (parameters.children() if parameters else {}).items():
        taken = _parameter(taken, name, node)
    return taken


def _parameter(taken: Taken, name: str, node: Node) -> Taken:
    path = ("parameters", name)
    if (probabilities := node.child("probabilities")) is not None:
        got, hint = shown(plain(probabilities)), "leave them out: a sampler here learns how often to try each value"
        complaint = Complaint(path=(*path, "probabilities"), expected="values alone", got=got, hint=hint)
        kept = without(node, ["probabilities", "distribution"])
        return taken.then(grafted(taken.root, path, kept), complaint=complaint)
    data = plain(node)
    ours = _in_values(data) if isinstance(data, dict) else None
    if not isinstance(data, dict) or ours is None:
        return taken
    distribution, least, most = ours
    text = f"is {distribution} from {least:.3g} to {most:.3g}, which is what {data['distribution']} means"
    root = taken.root
    for key, value in (("distribution", distribution.value), ("min", repr(least)), ("max", repr(most))):
        root = grafted(root, (*path, key), _node(value, node, (*path, key)))
    return taken.then(root, note=_note(node.where, path, text))


def _in_values(data: Mapping[str, object]) -> tuple[Distribution, float, float] | None:
    """The distribution and the bounds of the values, of one of W&B's that is given by exponents of e, or by inverses.

    None for any other, and where the bounds look like those of the values: who wrote 1e-5 and 1e-2 meant them.
    """
    least, most = data.get("min"), data.get("max")
    if any(isinstance(bound, bool) or not isinstance(bound, int | float) for bound in (least, most)):
        return None
    assert isinstance(least, int | float)  # noqa: S101 - for mypy: it was looked at
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
    """The tree without what stands at the path."""
    *above, last = path
    parent = found(root, *above)
    return root if parent is None else grafted(root, tuple(above), without(parent, [str(last)]))


def _given(root: Node, key: str, text: str, at: Node | None = None) -> Node:
    """The sweep with a key that it did not have, as if it had been written at a node."""
    return grafted(root, (key,), _node(text, at or root, (key,)))


def _node(text: str, at: Node, path: Path) -> Node:
    return parsed(text, TextSource(at.where, numbered=False, key=path))[0]


def _note(where: str, path: Path, text: str) -> str:
    return f"{where}: {'.'.join(map(str, path))} {text}"
