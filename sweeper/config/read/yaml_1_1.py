"""Find the words that YAML 1.1, by which W&B reads its files, reads otherwise: ``yes``, ``on``, ``0012``, ``1_000``."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import yaml

from sweeper.config.read.scalars import constructed, form
from sweeper.config.read.yaml_text import TextSource, composed
from sweeper.mistakes import shown

MOST_LINES = 5
"""Maximum number of further lines that the note names."""


def note_of_yaml_1_1(text: str, source: TextSource) -> str:
    """Return one note for all values of a file that YAML 1.1 reads otherwise; empty if there are none.

    Args:
        text: the text of the file, which is valid YAML.
        source: the file, for the lines.
    """
    found = [(line, word, theirs) for (line, _), word, theirs in sorted(_differing(composed(text)))]
    if not found:
        return ""
    (line, word, theirs), *others = found
    ours = shown(constructed(form(word), word))
    note = (
        f"{source.where(line)}: {word} is {ours} here, as in YAML 1.2; by YAML 1.1, as W&B reads files, it is {theirs}"
    )
    note += ". Write what is meant, or quote it"
    if others:
        lines = list(dict.fromkeys(str(line + 1) for line, _, _ in others))
        more = f", and {len(lines) - MOST_LINES} more" if len(lines) > MOST_LINES else ""
        note += f". The same holds for {_words(others)} in line {', '.join(lines[:MOST_LINES])}{more}"
    return note


def _words(others: list[tuple[int, str, str]]) -> str:
    words = list(dict.fromkeys(word for _, word, _ in others))
    return ", ".join(words[:MOST_LINES]) + (", ..." if len(words) > MOST_LINES else "")


def _differing(root: yaml.Node | None) -> Iterator[tuple[tuple[int, int], str, str]]:
    """Return line and column of each differing value, counted from 0, its text, and what YAML 1.1 takes it for."""
    todo, seen = [root], set[int]()
    while todo:
        node = todo.pop()
        if node is None or id(node) in seen:  # an alias
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            todo += [value for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            todo += node.value
        elif isinstance(node, yaml.ScalarNode) and node.style is None and (theirs := _meaning(node.value)):
            yield (node.start_mark.line, node.start_mark.column), node.value, theirs


def _meaning(text: str) -> str:
    """Return what YAML 1.1 takes a text for, if it is not what it is here; empty otherwise."""
    try:
        ours = constructed(form(text), text)
        theirs = yaml.safe_load(text) if text[:1] not in ("[", "{", "&", "*", "!", "#", "|", ">", "-.") else ours
    except (yaml.YAMLError, ValueError, OverflowError):
        return ""
    if type(theirs) is type(ours):
        return "" if theirs == ours or theirs != theirs else shown(theirs)  # noqa: PLR0124 - nan
    if isinstance(ours, float):  # 1e-4 is text by YAML 1.1, but users mean a number
        return ""
    return "a date" if isinstance(theirs, date) else shown(theirs)
