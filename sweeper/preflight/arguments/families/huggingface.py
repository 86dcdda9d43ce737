"""transformers' `HfArgumentParser((ModelArguments, TrainingArguments))`, and the fields of `TrainingArguments`."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from sweeper.preflight.arguments.fields import Field, fields_of
from sweeper.preflight.arguments.model import Argument, ArgumentKind, Arguments, Passing
from sweeper.preflight.arguments.options import Manner, argument_of
from sweeper.preflight.arguments.script import Module, Script
from sweeper.preflight.arguments.values import name_of

MANNER = Manner(values=True)
LIBRARY = ("TrainingArguments", "Seq2SeqTrainingArguments")
"""Classes of arguments that come from transformers; those of trl (`SFTConfig`, ...) are derived from them."""
TRL = ("SFTConfig", "DPOConfig", "GRPOConfig", "RewardConfig", "KTOConfig", "ORPOConfig", "CPOConfig")
RATES = {"DPOConfig": 1e-6, "GRPOConfig": 1e-6, "KTOConfig": 1e-6, "ORPOConfig": 1e-6, "CPOConfig": 1e-6}
"""trl's own default learning rates, where they are not those of transformers."""
SWEPT: tuple[tuple[str, object, str], ...] = (
    ("learning_rate", 5e-5, "initial learning rate"),
    ("lr_scheduler_type", "linear", "shape of the learning rate over time"),
    ("warmup_steps", 0, "steps of warm-up"),
    ("weight_decay", 0.0, "weight decay"),
    ("per_device_train_batch_size", 8, "batch size of one device"),
    ("gradient_accumulation_steps", 1, "micro-batches of one optimizer step"),
    ("num_train_epochs", 3.0, "epochs"),
    ("max_grad_norm", 1.0, "gradients are clipped to this norm"),
    ("adam_beta1", 0.9, "beta1 of AdamW"),
    ("adam_beta2", 0.999, "beta2 of AdamW"),
    ("label_smoothing_factor", 0.0, "label smoothing"),
)
"""Fields of `TrainingArguments` that sweeps usually vary, their defaults in transformers, and what they are."""
PARTS = ("do_train", "do_eval")
"""Switches of `TrainingArguments` that are off by default, and without which many scripts do nothing."""
SCHEDULES = ("linear", "cosine", "constant", "constant_with_warmup")


def read(script: Script) -> Arguments | None:
    """Return the arguments of a script that uses HfArgumentParser; None if it does not."""
    calls = [*script.calls("HfArgumentParser", "TrlParser", "H4ArgumentParser")]
    if not calls:
        return None
    module, call = calls[0]
    node = call.args[0] if call.args else next((word.value for word in call.keywords if word.arg), None)
    node = module.resolved(node)
    classes = list(node.elts) if isinstance(node, ast.Tuple | ast.List) else [node] if node is not None else []
    found: dict[str, Argument] = {}
    unread = []
    for one in classes:
        arguments = list(_of_class(name_of(one), module, script))
        found |= {argument.name: argument for argument in arguments}
        unread += [] if arguments else [module.where(one)]
    return Arguments(
        family="HfArgumentParser",
        passing=Passing.FLAGS,
        arguments=tuple(found.values()),
        before=tuple(f"--{name}=True" for name in PARTS if name not in found and _asks_for(name, script)),
        unread=tuple(unread),
    )


def _asks_for(name: str, script: Script) -> bool:
    """Return whether the script reads a field of its training arguments, such as `training_args.do_train`."""
    return any(isinstance(node, ast.Attribute) and node.attr == name for one in script.modules for node in one.nodes)


def _of_class(name: str, module: Module, script: Script) -> Iterator[Argument]:
    found = script.definition(name, module)
    bases: list[str] = []
    if found is not None and isinstance(found[1], ast.ClassDef):
        bases = [module.imported.get(name_of(base), name_of(base)).rpartition(".")[2] for base in found[1].bases]
    own = [] if found is None else [_argument(field) for field in fields_of(found[1], found[0], script)]
    original = module.imported.get(name, name).rpartition(".")[2]
    library = next((base for base in (original, *bases) if base in LIBRARY or base in TRL), "")
    if library:
        names = {argument.name for argument in own}
        yield from (argument for argument in _of_library(library) if argument.name not in names)
    yield from own


def _argument(field: Field) -> Argument:
    return argument_of(field, MANNER)


def _of_library(name: str) -> Iterator[Argument]:
    option = ArgumentKind.OPTION
    yield Argument(name="output_dir", kind=option, required=True, help="where checkpoints are written")
    for key, default, text in SWEPT:
        value = RATES.get(name, 2e-5 if name == "SFTConfig" else default) if key == "learning_rate" else default
        choices = SCHEDULES if key == "lr_scheduler_type" else ()
        yield Argument(name=key, kind=option, default=value, choices=choices, help=text)
    yield Argument(name="seed", kind=option, default=42, help="seed")
