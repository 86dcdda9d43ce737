"""Find the metrics that a script logs, and one that it prints, in its source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence

from sweeper.preflight.arguments.script import Module, Script
from sweeper.preflight.arguments.values import dotted, name_of

NAMED = frozenset({"add_scalar", "log_metric", "report", "log", "log_value", "scalar", "track"})
"""Calls with the name of a metric as the first argument."""
MAPPED = frozenset({"report", "log", "log_metrics", "log_dict", "log_scalars"})
"""Calls with a mapping of metrics as the first argument."""
UNIVERSAL = ("lr", "learning_rate", "epoch", "step", "steps", "iter", "iteration", "time", "global_step", "momentum")
"""What is logged but measures no success."""
WORDS = (
    "loss",
    "acc",
    "accuracy",
    "f1",
    "perplexity",
    "ppl",
    "auc",
    "error",
    "reward",
    "return",
    "bleu",
    "iou",
    "rmse",
)
NUMBER = r"([0-9.eE+-]+)"


def logged_metrics(script: Script) -> tuple[str, ...]:
    """Return the names of the metrics that the script logs or reports, in the order of its lines.

    They are read from `trial.report`, `wandb.log`, `Run.log`, `self.log`, `add_scalar`, `mlflow.log_metric`,
    `accelerator.log` and the like, and from `compute_metrics` of a transformers `Trainer`.
    """
    found = [name for module in script.modules for name in _in(module)]
    found += _of_trainer(script)
    return tuple(
        name for name in dict.fromkeys(found) if name.isprintable() and name.rpartition("/")[2] not in UNIVERSAL
    )


def printed_metric(script: Script) -> tuple[str, str] | None:
    """Return a metric that the script prints, as its name and a regular expression of its value; None if there is none.

    A metric of held-out data is preferred, and of several the last.
    """
    labels = [
        _label(before)
        for module in script.modules
        for call in module.calls
        if name_of(call.func) in ("print", "info", "write", "echo", "tqdm") and call.args
        for before in _printed(call)
    ]
    good = [label for label in labels if any(word in label.lower() for word in WORDS)]
    held_out = [label for label in good if re.search(r"test|val|eval|dev", label.lower())]
    if not good:
        return None
    label = (held_out or good)[-1]
    kind = "accuracy" if "acc" in label.lower() else next(word for word in WORDS if word in label.lower())
    return f"{kind}/{'test' if held_out else 'train'}", re.escape(label).replace(r"\ ", " ") + NUMBER


def _in(module: Module) -> Iterator[str]:
    made = list(_made(module.nodes))
    loops = dict(_loops(module.nodes))
    for call in module.calls:
        name, node = name_of(call.func), call.args[0] if call.args else None
        if node is None or not isinstance(call.func, ast.Attribute) or dotted(call.func) in ("math.log", "np.log"):
            continue
        if name == "add_scalars" and len(call.args) > 1:
            tags = list(_names(node, loops))
            yield from (f"{tag}/{key}" for tag in tags for key in _keys(call.args[1], made, loops))
        elif name in MAPPED and isinstance(node, ast.Dict | ast.Name | ast.Call):
            yield from _keys(node, made, loops)
        elif name in NAMED and (name == "report" or len(call.args) + len(call.keywords) > 1):
            yield from _names(node, loops)


def _keys(node: ast.expr, made: Sequence[tuple[str, ast.expr]], loops: dict[str, tuple[str, ...]]) -> Iterator[str]:
    """Return the keys of a mapping, given in place or by the name that it was assigned to."""
    if isinstance(node, ast.Name):
        for inner in [value for name, value in made if name == node.id]:
            yield from _keys(inner, (), loops) if isinstance(inner, ast.Dict | ast.Call) else _names(inner, loops)
        return
    if isinstance(node, ast.Call):
        yield from (word.arg for word in node.keywords if word.arg and name_of(node.func) == "dict")
        return
    for key, value in zip(node.keys, node.values, strict=True) if isinstance(node, ast.Dict) else ():
        yield from _keys(value, made, loops) if key is None else _names(key, loops)


def _names(node: ast.expr, loops: dict[str, tuple[str, ...]]) -> Iterator[str]:
    """Return the texts that an expression stands for: itself, or one for each value of the loop that it uses."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    if isinstance(node, ast.JoinedStr):
        texts = [""]
        for part in node.values:
            inner = part.value if isinstance(part, ast.FormattedValue) else part
            if isinstance(inner, ast.Constant):
                texts = [text + str(inner.value) for text in texts]
            elif isinstance(inner, ast.Name) and inner.id in loops:
                texts = [text + value for text in texts for value in loops[inner.id]]
            else:
                return
        yield from texts


def _made(nodes: Sequence[ast.AST]) -> Iterator[tuple[str, ast.expr]]:
    """Return each name that a mapping is assigned to, or that gets one more key, with that mapping or key."""
    for node in nodes:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Dict() | ast.Call() as value):
                yield name, value
            case ast.Assign(targets=[ast.Subscript(value=ast.Name(id=name), slice=key)]):
                yield name, key
            case _:
                continue


def _loops(nodes: Sequence[ast.AST]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Return the names of loops over literal texts, such as `for split in ("train", "val")`."""
    for node in nodes:
        if (
            isinstance(node, ast.For)
            and isinstance(node.target, ast.Name)
            and isinstance(node.iter, ast.Tuple | ast.List)
        ):
            values = [item.value for item in node.iter.elts if isinstance(item, ast.Constant)]
            if values and len(values) == len(node.iter.elts):
                yield node.target.id, tuple(map(str, values))


def _of_trainer(script: Script) -> Iterator[str]:
    """Return the metrics that a transformers `Trainer` logs at an evaluation: `eval_loss`, and those computed."""
    trainers = [call for _, call in script.calls("Trainer", "Seq2SeqTrainer", "SFTTrainer")]
    evaluated = [call for call in trainers if any(word.arg == "eval_dataset" for word in call.keywords)]
    if not script.imports("transformers", "trl") or not evaluated:
        return
    yield "eval_loss"
    for call in evaluated:
        for word in call.keywords:
            if word.arg == "compute_metrics":
                found = script.definition(name_of(word.value), script.own)
                returned = [one.value for one in ast.walk(found[1]) if isinstance(one, ast.Return)] if found else []
                for node in returned:
                    if isinstance(node, ast.Dict):
                        yield from (f"eval_{name}" for name in _keys(node, (), {}))


def _printed(call: ast.Call) -> Iterator[str]:
    """Return the text before each value that a call prints: in an f-string, by `format`, by `%`, or as words."""
    match call.args[0]:
        case ast.JoinedStr(values=parts):
            yield from _before_values(parts)
        case ast.Call(func=ast.Attribute(value=ast.Constant(value=str(text)), attr="format")):
            yield from re.split(r"\{[^{}]*\}", text)[:-1]
        case ast.BinOp(left=ast.Constant(value=str(text)), op=ast.Mod()):
            yield from re.split(r"%[-+ #0-9.]*[a-zA-Z]", text)[:-1]
        case ast.Constant(value=str(text)) if len(call.args) > 1 and not isinstance(call.args[1], ast.Constant):
            yield f"{text} "


def _before_values(parts: Sequence[ast.expr]) -> Iterator[str]:
    before = ""
    for part in parts:
        if isinstance(part, ast.FormattedValue):
            yield before
        before = str(part.value) if isinstance(part, ast.Constant) else ""


def _label(before: str) -> str:
    """Return the end of a text that names the value behind it: `| test loss: ` is `test loss: `."""
    parts = re.split(r"[|,;\n\t]", before)
    return parts[-1].lstrip() if parts[-1].strip() else before.strip("|,; ")
