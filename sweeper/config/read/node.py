"""The values of a sweep file with their positions, so that every later mistake can name its line.

1. A node's `key` is its path in its own file, even after it was moved: the learning rate of a profile stays
   `profiles.gpu.parameters.lr` after the merge.
2. Nodes are immutable. `grafted` copies the mappings along one path and shares the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from sweeper.errors import Mistake
from sweeper.mistakes import shortened

Path: TypeAlias = tuple[str | int, ...]
Scalar: TypeAlias = bool | int | float | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A scalar, a mapping or a list, with its position (`file:line`) and its path of keys."""

    where: str
    key: Path
    value: Scalar | Mapping[str, Node] | tuple[Node, ...]

    def child(self, part: str | int) -> Node | None:
        """Return the child under a key or index, or None."""
        match self.value, part:
            case Mapping(), str(name):
                return self.children().get(name)
            case tuple(items), int(index) if 0 <= index < len(items):
                return items[index]
            case _:
                return None

    def children(self) -> Mapping[str, Node]:
        """Return the entries of a mapping; an empty mapping for any other node."""
        return self.value if isinstance(self.value, Mapping) else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """A mistake at a path in the data. `located` adds its line."""

    path: Path
    expected: str
    got: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """A warning about a path in the data: a sentence without a full stop."""

    path: Path
    text: str


def found(root: Node, *path: str | int) -> Node | None:
    """Return the node at a path, or None."""
    node: Node | None = root
    for part in path:
        node = node.child(part) if node else None
    return node


def plain(node: Node) -> object:
    """Return the data without positions: dictionaries, lists and scalars."""
    match node.value:
        case Mapping() as mapping:
            return {name: plain(child) for name, child in mapping.items()}
        case tuple() as items:
            return [plain(item) for item in items]
        case scalar:
            return scalar


def grafted(root: Node, path: Path, scion: Node) -> Node:
    """Return the tree with the node `scion` at a path. Mappings along the path are created, replacing other values."""
    if not path:
        return scion
    part, *rest = path
    below = root.child(part) or Node(where=scion.where, key=(*root.key, part), value={})
    child = grafted(below, tuple(rest), scion)
    if isinstance(root.value, tuple) and isinstance(part, int) and part < len(root.value):
        items = (*root.value[:part], child, *root.value[part + 1 :])
        return Node(where=root.where, key=root.key, value=items)
    where = root.where if isinstance(root.value, Mapping) else scion.where
    return Node(where=where, key=root.key, value={**root.children(), str(part): child})


def without(root: Node, names: Sequence[str]) -> Node:
    """Return the mapping without the entries of these names."""
    kept = {name: child for name, child in root.children().items() if name not in names}
    return Node(where=root.where, key=root.key, value=kept)


def located(root: Node, complaint: Complaint) -> Mistake:
    """Return the complaint as a mistake, with the line of the deepest part of its path that the file contains."""
    where, key = _place(root, complaint.path)
    expected, got, hint = shortened(complaint.expected), shortened(complaint.got), shortened(complaint.hint)
    return Mistake(where=where, key=key, expected=expected, got=got, hint=hint)


def noted(root: Node, remark: Remark) -> str:
    """Return the remark as a line, with its position as in `located`."""
    where, key = _place(root, remark.path)
    return shortened(": ".join(filter(None, (where, key, remark.text))))


def _place(root: Node, path: Path) -> tuple[str, str]:
    """Return the position and the key of a path."""
    node, rest = root, path
    while rest and (child := node.child(rest[0])) is not None:
        node, rest = child, rest[1:]
    return node.where, shortened(".".join(str(part) for part in (*node.key, *rest)))
