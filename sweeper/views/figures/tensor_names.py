"""The order and the short names of tensors in a picture; pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sweeper.record.events import Watching
from sweeper.results.wording import plain

LONGEST = 21


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorOrder:
    """Tensors in depth order: indices into the record's columns, short names, and the block of each.

    `left_out` says in words that layers are omitted; empty if none are.
    """

    order: tuple[int, ...]
    names: tuple[str, ...]
    blocks: tuple[str, ...]
    left_out: str = ""


@dataclass(frozen=True, slots=True)
class _NameParts:
    """The parts of a tensor's name: ``encoder.layer`` ``3`` ``attention.self.query``."""

    head: tuple[str, ...]
    block: tuple[str, ...]
    tail: tuple[str, ...]


def spread(count: int, most: int) -> tuple[int, ...]:
    """Return at most `most` (at least 2) of the indices below `count`, evenly spaced, with the first and the last."""
    if count <= most:
        return tuple(range(count))
    return tuple(round(i * (count - 1) / (most - 1)) for i in range(most))


def left_out(count: int, most: int) -> str:
    """Return in words how many layers `spread` keeps; empty if it keeps all."""
    return f"{most} of {count} layers shown" if count > most else ""


def tensor_order(watching: Watching, most: int) -> TensorOrder:
    """Return the tensors of at most `most` layers in depth order.

    A tensor that belongs to no layer comes after the layer registered before it. Tensors registered before the first
    layer, such as embeddings, come first.
    """
    keys, last = [], -1
    for index, layer in enumerate(watching.layer_of):
        last = layer if layer >= 0 else last
        keys.append((last, index))
    keys.sort()
    parts = _split_all([watching.tensors[index] for _, index in keys])
    kept = {-1, *spread(len(watching.layers), most)}
    shown = [
        (index, name, ".".join(part.block))
        for (layer, index), name, part in zip(keys, _short(parts), parts, strict=True)
        if layer in kept
    ]
    order, names, blocks = zip(*shown, strict=True) if shown else ((), (), ())
    return TensorOrder(order=order, names=names, blocks=blocks, left_out=left_out(len(watching.layers), most))


def layer_names(layers: Sequence[str]) -> list[str]:
    """Return a short unique name for each layer."""
    return _short(_split_all(layers))


def _split_all(names: Sequence[str]) -> list[_NameParts]:
    return [_split(plain(name).encode("ascii", "replace").decode().split(".")) for name in names]


def _split(path: Sequence[str]) -> _NameParts:
    """Split a name; its numbers are its block: ``1.0`` in ``stages.1.blocks.0.conv``."""
    trimmed = list(path[:-1]) if path[-1] == "weight" and len(path) > 1 else list(path)
    numbers = [i for i, part in enumerate(trimmed) if part.isdecimal()]
    if not numbers:
        return _NameParts((), (), tuple(trimmed))
    head, tail = trimmed[: numbers[0]], trimmed[numbers[-1] + 1 :]
    return _NameParts(tuple(head), tuple(trimmed[i] for i in numbers), tuple(tail))


_FORMS: Sequence[Callable[[_NameParts], tuple[str, ...]]] = (
    lambda part: (*part.block, *part.tail[-1 if part.block else -2 :]),
    lambda part: (*part.block, *part.tail[:1], *part.tail[1:][-1:]),
    lambda part: (*part.block, *part.tail),
    lambda part: (*part.head[-1:], *part.block, *part.tail[-1:]),
    lambda part: (*part.head[:1], *part.block, *part.tail),
    lambda part: (*part.head, *part.block, *part.tail),
)


def _short(parts: Sequence[_NameParts]) -> list[str]:
    """Return for each name the shortest form that no other name has."""
    names = [""] * len(parts)
    open_ = list(range(len(parts)))
    for form in _FORMS:
        taken = Counter(form(part) for part in parts)
        for index in open_:
            names[index] = ".".join(form(parts[index]))
        open_ = [index for index in open_ if taken[form(parts[index])] > 1]
    return [_cut(name) for name in names]


def _cut(name: str) -> str:
    """Shorten a name to `LONGEST` characters: first the containers, then the end of the name."""
    if len(name) > LONGEST:
        *containers, last = name.split(".")
        name = ".".join([*(part[:3] for part in containers), last])
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"
