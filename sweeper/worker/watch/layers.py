"""Choose the tensors to watch, and find their layers in the order of the first forward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch

from sweeper.errors import UsageError
from sweeper.record.events import Parameters
from sweeper.worker.watch.forward.networks import DataFlow, networks_of
from sweeper.worker.watch.forward.wrapping import Hook, Safely, unsafely
from sweeper.worker.watch.shards import add_up, local, shardings_of

_COMPILED = "_orig_mod."
NAMED = 8
"""Maximum number of tensors without an optimizer that are named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A watched tensor. It has an update ratio if it did not start at zero."""

    name: str
    tensor: torch.nn.Parameter
    has_ratio: bool


def unwrapped(model: torch.nn.Module) -> torch.nn.Module:
    """Return the model inside DataParallel or DistributedDataParallel."""
    wrappers = (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)
    while isinstance(model, wrappers):
        model = model.module
    return model


def choose(
    model: torch.nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    *,
    layers: Sequence[str] | None,
    include_bias: bool,
    layers_only: bool,
) -> tuple[list[list[Watched]], dict[str, str]]:
    """Return the watched tensors of each optimizer, and the reasons for tensors that are left out.

    Args:
        model: the model.
        optimizers: its optimizers.
        layers: shell patterns for names of modules or tensors; None for all.
        include_bias: also watch biases.
        layers_only: leave out tensors that are no layers, such as embeddings and normalisation.

    Raises:
        UsageError: a pattern of `layers` matches nothing.
    """
    owner = {id(p): i for i, one in enumerate(optimizers) for group in one.param_groups for p in group["params"]}
    modules = set(layer_modules(model))
    chosen: list[list[Watched]] = [[] for _ in optimizers]
    left_out: dict[str, str] = {}
    unmatched = set(layers or ())
    for name, tensor in _named(model, include_bias=include_bias):
        matched = {pattern for pattern in layers or () if _matches(name, pattern)}
        unmatched -= matched
        is_layer = _dims(tensor) > 1 and name.rpartition(".")[0] in modules
        if (layers is not None and not matched) or (layers_only and not is_layer):
            continue
        if (reason := _unwatchable(tensor, owned=id(tensor) in owner)) is not None:
            left_out[name] = f"not watched: {reason}"
            continue
        starts_at_zero = bool(tensor.numel()) and not _has_nonzero(tensor)
        if starts_at_zero:
            left_out[name] = "no update ratio: starts at zero"
        chosen[owner[id(tensor)]].append(Watched(name=name, tensor=tensor, has_ratio=not starts_at_zero))
    if unmatched:
        some = ", ".join(name for name, _ in _named(model, include_bias=include_bias)[:3])
        message = (
            f"watch(layers=...): expected patterns for names of modules or tensors, such as {some}; "
            f"no name matches {', '.join(sorted(unmatched))}"
        )
        raise UsageError(message)
    return chosen, left_out


class ForwardOrder:
    """Records the order in which the first forward pass calls the layers, and which layers feed each other.

    Hooks do not run in compiled code, so the first pass of a model with compiled parts runs uncompiled.
    """

    def __init__(self, model: torch.nn.Module, safely: Safely = unsafely) -> None:
        self.modules = layer_modules(model)
        self._safely = safely
        self.is_compiled = _has_compiled_parts(model)
        self._met: list[str] = []
        self._flow = DataFlow()
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []
        for name, module in self.modules.items():
            if isinstance(module, torch.jit.ScriptModule):  # it takes no hooks
                continue
            self._hooks.append(module.register_forward_pre_hook(self._meets(name), with_kwargs=True))
            self._hooks.append(module.register_forward_hook(self._leaves(name)))
        self._eager: Any = torch.compiler.set_stance("force_eager") if self.is_compiled else None

    def met_any(self, layers: Sequence[str]) -> bool:
        """Return whether a forward pass called any of the layers; a layer may be used by another without a call."""
        return not layers or bool(self._met)

    def close_if_complete(self) -> None:
        """Remove the hooks once a forward pass has called layers."""
        if self._met:
            self.close()

    def close(self) -> None:
        """Remove the hooks and keep the order."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        if self._eager is not None:
            self._eager.__exit__(None, None, None)  # restore the stance
            self._eager = None

    def layers(self, tensors: Sequence[str]) -> Layers:
        """Return the layers that own a watched tensor, in the order of the data flow."""
        self.close()
        owners = [tensor.rpartition(".")[0] for tensor in tensors]
        order = _in_order(list(self.modules), self._met)
        along, networks = networks_of(order, parents := self._flow.parents(), called=self._met)
        kept = [(name, network) for name, network in zip(along, networks, strict=True) if name in owners]
        position = {name: index for index, (name, _) in enumerate(kept)}
        return Layers(
            names=tuple(name for name, _ in kept),
            networks=tuple(network for _, network in kept),
            layer_of=tuple(position.get(owner, -1) for owner in owners),
            fed=frozenset(name for name, above in parents.items() if above),
        )

    def _meets(self, name: str) -> Callable[..., None]:
        def meet(_: object, args: object, kwargs: object) -> None:
            if name not in self._met:
                self._met.append(name)
            self._safely(self._flow.enters, name, (args, kwargs))

        return Hook(meet)

    def _leaves(self, name: str) -> Callable[..., None]:
        def leave(_: object, __: object, output: object) -> None:
            self._safely(self._flow.leaves, name, output)

        return Hook(leave)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """The layers that own a watched tensor, in the order of the data flow.

    Attributes:
        names: the names of the layers.
        networks: the network of each layer.
        layer_of: for each watched tensor, the position of its layer, or -1.
        fed: the names of layers with an input from another layer.
    """

    names: tuple[str, ...]
    networks: tuple[int, ...]
    layer_of: tuple[int, ...]
    fed: frozenset[str]


def parameters_of(model: torch.nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> Parameters:
    """Return how many parameters of the model are trained, frozen, or in no optimizer."""
    own = dict(_named(model, include_bias=True))
    owned = {id(p): p for one in optimizers for group in one.param_groups for p in group["params"]}
    trained, frozen, unowned = [], 0, {}
    for name, tensor in own.items():
        size = _size(tensor)
        if not tensor.requires_grad:
            frozen += size
        elif id(tensor) in owned:
            trained.append(tensor)
        else:
            unowned[name] = size
    ours = {id(tensor) for tensor in own.values()}
    floating = [tensor.dtype for tensor in trained if tensor.dtype.is_floating_point]
    return Parameters(
        trained=sum(map(_size, trained)),
        frozen=frozen,
        unowned=sum(unowned.values()),
        foreign=sum(_size(p) for key, p in owned.items() if key not in ours),
        resolution=max((torch.finfo(dtype).eps for dtype in floating), default=float("nan")),
        names=tuple(unowned)[:NAMED],
    )


def layer_modules(model: torch.nn.Module) -> dict[str, torch.nn.Module]:
    """Return the modules that own a tensor with at least two dimensions; no embeddings and no tied copies."""
    seen: set[int] = set()
    layers: dict[str, torch.nn.Module] = {}
    for name, module in model.named_modules():
        own = [p for p in module.parameters(recurse=False) if id(p) not in seen]
        seen.update(id(p) for p in own)
        if any(_dims(p) > 1 for p in own) and not isinstance(module, torch.nn.Embedding | torch.nn.EmbeddingBag):
            layers[name.replace(_COMPILED, "")] = module
    return layers


def _dims(tensor: torch.Tensor) -> int:
    """Return the number of dimensions; 0 for a tensor without a shape so far."""
    without_shape: bool = torch.nn.parameter.is_lazy(tensor)
    return 0 if without_shape else tensor.dim()


def _size(tensor: torch.Tensor) -> int:
    """Return the number of entries; 0 for a tensor without a shape so far."""
    without_shape: bool = torch.nn.parameter.is_lazy(tensor)
    return 0 if without_shape else tensor.numel()


def _named(model: torch.nn.Module, *, include_bias: bool) -> list[tuple[str, torch.nn.Parameter]]:
    named = [(name.replace(_COMPILED, ""), tensor) for name, tensor in model.named_parameters()]
    return [(name, tensor) for name, tensor in named if include_bias or not name.endswith("bias")]


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")


def _unwatchable(tensor: torch.nn.Parameter, *, owned: bool) -> str | None:
    if torch.nn.parameter.is_lazy(tensor):
        return "it has no shape before the first forward pass; call watch after one"
    if not tensor.requires_grad:
        return "frozen"
    if not owned:
        return "in none of the optimizers given"
    if not tensor.dtype.is_floating_point:
        return f"its entries are {tensor.dtype}, not real numbers"
    if any(placement.is_partial() for placement in getattr(tensor, "placements", ())):
        return "it is a partial sum, and other ranks have the rest"
    if hasattr(tensor, "_is_flat_param") or hasattr(tensor, "_fsdp_flattened"):
        return "FSDP1 keeps parts of it on other ranks; use fully_shard (FSDP2) instead"
    return None


def _has_nonzero(tensor: torch.Tensor) -> bool:
    """Return whether any entry on any rank is not zero."""
    count = local(tensor).count_nonzero().double().reshape(1, 1)
    return bool(add_up(count, shardings_of([tensor])).item())


def _has_compiled_parts(model: torch.nn.Module) -> bool:
    return any(
        hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None
        for module in model.modules()
    )


def _in_order(registered: Sequence[str], met: Sequence[str]) -> list[str]:
    """Return the modules in the order of calls; one without a call (`MultiheadAttention.out_proj`) keeps its place."""
    order = list(met)
    for index, name in enumerate(registered):
        if name not in order:
            order.insert(order.index(registered[index - 1]) + 1 if index else 0, name)
    return order
