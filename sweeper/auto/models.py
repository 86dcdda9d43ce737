"""Find the models that optimizers train, among the objects of the process."""

from __future__ import annotations

import dis
import gc
import itertools
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import CodeType, FrameType

import torch
from torch import nn

from sweeper.worker.watch.layers import unwrapped

_OPTIMIZED = 1
"""The flag of the code of functions, `inspect.CO_OPTIMIZED`."""
_NO_KEY = re.compile(r"\W")
_TORCH = os.path.dirname(torch.__file__)  # noqa: PTH120 - compared with names of files as text
_SWEEPER = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What optimizers train.

    Attributes:
        models: the outermost modules, by name.
        outside: the number of trained tensors that belong to no module.
    """

    models: Mapping[str, nn.Module]
    outside: int

    @property
    def model(self) -> nn.Module | None:
        """All models as one; None without a model."""
        if len(self.models) == 1:
            return next(iter(self.models.values()))
        return nn.ModuleDict(dict(self.models)) if self.models else None


def find_models(
    optimizers: Sequence[torch.optim.Optimizer], frame: FrameType | None, called: nn.Module | None = None
) -> Found:
    """Return the outermost modules that own the parameters of the optimizers.

    Args:
        optimizers: the optimizers.
        frame: the frame of the script's call, to find the names of its variables.
        called: a module that the script is calling. The garbage collector does not list it after `gc.freeze`.
    """
    trained = {id(p): p for one in optimizers for group in one.param_groups for p in group["params"]}
    listed = [found for found in gc.get_objects() if issubclass(type(found), nn.Module)]
    modules = list({id(module): module for module in [*listed, *(() if called is None else called.modules())]}.values())
    del listed
    owned = {id(module): _owned(module, trained) for module in modules}
    inner = {id(child) for module in modules if owned[id(module)] for child in module.children()}
    outer = [module for module in modules if owned[id(module)] and id(module) not in inner]
    # A second module may share the layers of a model, such as a feature extractor made from its children.
    outer.sort(key=lambda module: -len(owned[id(module)]))
    position = {key: index for index, key in enumerate(trained)}
    chosen: list[nn.Module] = []
    covered: set[int] = set()
    for module in outer:
        if not owned[id(module)] <= covered:
            covered |= owned[id(module)]
            chosen.append(module)
    chosen.sort(key=lambda module: min(position[key] for key in owned[id(module)]))
    names = variable_names(frame, chosen)
    models: dict[str, nn.Module] = {}
    for index, module in enumerate(chosen):
        name = _NO_KEY.sub("_", names.get(id(module), f"{type(module).__name__}_{index}".lower()))
        models[name if name not in models and not hasattr(nn.ModuleDict, name) else f"{name}_{index}"] = unwrapped(
            module
        )
    return Found(models=models, outside=len(trained.keys() - covered))


def _owned(module: nn.Module, trained: Mapping[int, object]) -> set[int]:
    try:
        return {id(p) for p in module.parameters() if id(p) in trained}
    except Exception:  # noqa: BLE001 - a module of the script that is only half made, or has parameters of its own kind
        return set()


def variable_names(frame: FrameType | None, objects: Iterable[object]) -> dict[int, str]:
    """Return the names of the script's variables that hold these objects, by the id of the object.

    An attribute of `self` counts too: `self.net` is `net`.
    """
    wanted = {id(one) for one in objects}
    names: dict[int, str] = {}
    for name, value in _variables(frame):
        if id(value) in wanted and not name.startswith("_"):
            names.setdefault(id(value), name)
    return names


def _variables(frame: FrameType | None) -> Iterator[tuple[str, object]]:
    yield from list(vars(sys.modules["__main__"]).items())
    while frame is not None:
        if not _is_library(frame.f_code.co_filename):
            variables = _locals_of(frame)
            own = variables.pop("self", None)
            yield from variables.items()
            yield from list(getattr(own, "__dict__", {}).items())
            if isinstance(own, nn.Module):
                yield from own.named_children()
        frame = frame.f_back


def _locals_of(frame: FrameType) -> dict[str, object]:
    """Return the local variables of a frame, and leave no trace in it.

    Before Python 3.13, a function has one dict for `locals()` and `f_locals`. It would keep the objects alive until the
    function returns, and the dict of a function that calls `locals()` would change.
    """
    code = frame.f_code
    if sys.version_info >= (3, 13) or not code.co_flags & _OPTIMIZED:
        return dict(frame.f_locals)
    if _calls_locals(code):
        return {}
    shared = frame.f_locals
    variables = dict(shared)
    shared.clear()
    return variables


def _calls_locals(code: CodeType) -> bool:
    """Whether the code has the call `locals()` or `vars()`, without an argument."""
    if not {"locals", "vars"} & set(code.co_names):
        return False
    steps = [step for step in dis.get_instructions(code) if step.opname != "PRECALL"]
    return any(
        one.opname == "LOAD_GLOBAL" and one.argval in ("locals", "vars") and after.opname == "CALL" and after.arg == 0
        for one, after in itertools.pairwise(steps)
    )


def _is_library(file: str) -> bool:
    """Whether a file of Python code belongs to a library; a library's names for the script's objects mean nothing."""
    return f"{os.sep}site-packages{os.sep}" in file or file.startswith((_TORCH, _SWEEPER))
