"""A name that the directory of a run cannot have is kept as the title of the sweep."""

from __future__ import annotations

from sweeper.config.model.sweep import LONGEST_NAME, NAME, as_name
from sweeper.config.read.node import Node, grafted

LONGEST_TITLE = 500
"""Maximum number of characters of a title; a longer name is a mistake."""


def with_title(root: Node) -> Node | None:
    """Return the sweep with its name as the title and a name made from it; None if the name is valid, or no title."""
    name = root.child("name")
    if name is None or not isinstance(name.value, str) or not any(char.isalnum() for char in name.value):
        return None
    fits = NAME.fullmatch(name.value) and len(name.value.encode()) <= LONGEST_NAME
    if fits or not name.value.isprintable() or len(name.value) > LONGEST_TITLE:
        return None
    renamed = grafted(root, ("name",), Node(where=name.where, key=name.key, value=as_name(name.value)))
    return renamed if root.child("title") is not None else grafted(renamed, ("title",), name)
