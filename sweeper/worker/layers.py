"""Which tensors of a model are watched, and which layers they make, in the order of the first forward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

_COMPILED = "_orig_mod."


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One watched tensor. `rated`: it did not start at zero, so that its update ratio means something."""

    name: str
    tensor: torch.nn.Parameter
    rated: bool


def choose(model: torch.nn.Module, *, include_bias: bool) -> tuple[list[Watched], dict[str, str]]:
    """Every trainable tensor except biases (or with them), and what was left out of what, with the reason."""
    named = [
        (name.replace(_COMPILED, ""), tensor)
        for name, tensor in model.named_parameters()
        if include_bias or not name.endswith("bias")
    ]
    left_out = {name: "not watched: frozen" for name, tensor in named if not tensor.requires_grad}
    trainable = [(name, tensor) for name, tensor in named if tensor.requires_grad]
    if not trainable:
        return [], left_out
    filled = torch.stack([torch.count_nonzero(tensor.detach()) for _, tensor in trainable]).tolist()
    left_out |= {
        name: "no update ratio: starts at zero" for (name, _), count in zip(trainable, filled, strict=True) if not count
    }
    watched = [
        Watched(name=name, tensor=tensor, rated=bool(count))
        for (name, tensor), count in zip(trainable, filled, strict=True)
    ]
    return watched, left_out


@dataclass(slots=True)
class ForwardOrder:
    """Notes in which order the first forward pass meets the modules that are layers."""

    model: torch.nn.Module
    _met: list[str] = field(default_factory=list)
    _hooks: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name, module in _layers(self.model).items():
            self._hooks.append(module.register_forward_pre_hook(self._meets(name)))

    def close(self) -> None:
        """Take the hooks off; what was met stays known."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def layers(self, tensors: Sequence[str]) -> tuple[list[str], list[int]]:
        """The layers that own a watched tensor, in forward order, and for each tensor its layer or -1."""
        self.close()
        owners = [tensor.rpartition(".")[0] for tensor in tensors]
        candidates = _layers(self.model)
        order = [name for name in _in_order(list(candidates), self._met) if name in owners]
        position = {name: index for index, name in enumerate(order)}
        return order, [position.get(owner, -1) for owner in owners]

    def _meets(self, name: str) -> Callable[..., None]:
        def meet(*_: Any) -> None:
            if name not in self._met:
                self._met.append(name)

        return meet


def _layers(model: torch.nn.Module) -> dict[str, torch.nn.Module]:
    """Modules that own a tensor of two or more dimensions first, by name: no embeddings, norms or tied copies."""
    seen: set[int] = set()
    layers: dict[str, torch.nn.Module] = {}
    for name, module in model.named_modules():
        own = [p for p in module.parameters(recurse=False) if id(p) not in seen]
        seen.update(id(p) for p in own)
        if any(p.dim() > 1 for p in own) and not isinstance(module, torch.nn.Embedding | torch.nn.EmbeddingBag):
            layers[name.replace(_COMPILED, "")] = module
    return layers


def _in_order(registered: Sequence[str], met: Sequence[str]) -> list[str]:
    """The modules as met; one that was never called itself (`MultiheadAttention.out_proj`) follows its predecessor."""
    order = list(met)
    for index, name in enumerate(registered):
        if name not in order:
            order.insert(order.index(registered[index - 1]) + 1 if index else 0, name)
    return order
