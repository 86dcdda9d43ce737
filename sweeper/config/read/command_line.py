"""Read the value of a ``KEY=VALUE`` argument: YAML on one line, in which nothing that was typed disappears.

YAML gives characters a meaning that a command line does not: ``#`` begins a comment, ``&`` an anchor, ``- a`` a list. A
value that contains one is refused, with the advice to quote it. The value of a parameter stays text where a number
would change it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum, auto

import yaml

from sweeper.config.read.node import Node, Path
from sweeper.config.read.scalars import form
from sweeper.config.read.yaml_text import TextSource, parsed
from sweeper.errors import Mistake, SpecError
from sweeper.mistakes import LONGEST, printable


class Expected(Enum):
    """What the value of an argument may be."""

    YAML = auto()
    """What it would be in a file: the value of a key of the sweep, or of a hyperparameter that is a number."""
    NUMBER = auto()
    """The value of a parameter that has numbers as its other values: ``0.10`` is one too."""
    ANY = auto()
    """The value of another parameter: ``3.10`` may be a version."""


_USUAL = re.compile(
    r"""[-+]?(
        (0|[1-9]\d{0,17}) |                                      # 12
        (0|[1-9]\d*)?\.(\d*[1-9]|0)?([eE][-+]?\d{1,3})? |        # 0.25, 1.0, 1., .5, 1.5e-3
        [1-9]\d?[eE]\d{1,2} | [1-9]\d*[eE][-+]\d{1,3}            # 1e5, 10e-3
    ) | [-+]?\.(inf|Inf|INF) | \.(nan|NaN|NAN)""",
    re.VERBOSE,
)
"""Numbers as people write them. Others may be names, codes or hashes: ``0012``, ``67217e15``, ``0x1f``."""
_WITH_ZEROS = re.compile(r"[-+]?(0|[1-9]\d*)\.\d+0")
"""Numbers that lose zeros: ``0.10``, ``3.10``."""

_TOKENS = {
    yaml.BlockSequenceStartToken: "a list",
    yaml.BlockEntryToken: "a list",
    yaml.BlockMappingStartToken: "a mapping",
    yaml.KeyToken: "a mapping",
    yaml.ValueToken: "a mapping",
    yaml.AnchorToken: "an anchor",
    yaml.AliasToken: "an alias",
    yaml.TagToken: "a tag",
    yaml.DirectiveToken: "a directive",
    yaml.DocumentStartToken: "the start of a document",
    yaml.DocumentEndToken: "the end of a document",
}
"""What YAML reads in a text, by token. In braces, keys and values are meant."""
_OPENING = (yaml.FlowSequenceStartToken, yaml.FlowMappingStartToken)
_CLOSING = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken)


def value_of_argument(
    key: str, text: str, where: str, path: Path, expected: Expected = Expected.YAML
) -> tuple[Node, list[Mistake]]:
    """Return the value of an argument as a node, and the mistakes in it.

    Args:
        key: the text before the equals sign.
        text: the text after it.
        where: the argument, for messages.
        path: the path of keys of the value.
        expected: what the value may be.

    Raises:
        SpecError: the text begins with a bracket or a quote, and is not YAML.
    """
    try:
        tokens = list(yaml.scan(text, Loader=yaml.SafeLoader))[1:-1]
        reading = _reading(tokens, text)
        if not reading:
            typed = text if expected is Expected.YAML else _as_typed(tokens, text, expected)
            return parsed(typed, TextSource(where, numbered=False, key=path))
    except (SpecError, yaml.YAMLError, ValueError, OverflowError):
        if text.lstrip()[:1] in ("[", "{", '"', "'"):
            return parsed(text, TextSource(where, numbered=False, key=path))  # its error tells what is wrong
        reading = "something else"
    quotable = "'" not in text and '"' not in text and "\\" not in text
    hint = f"quote it: {printable(key)}='\"{printable(text[:LONGEST])}\"'" if quotable else "quote it"
    got = f"what YAML reads as {reading}"
    return Node(where=where, key=path, value=text), [
        Mistake(where=where, key="", expected="a value", got=got, hint=hint)
    ]


def _reading(tokens: Sequence[yaml.Token], text: str) -> str:
    """Return what YAML would take parts of the text for, other than a value on one line; empty if there is nothing."""
    depth = 0
    for token in tokens:
        depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
        if isinstance(token, yaml.ScalarToken) and token.style in ("|", ">"):
            return "a block of text"
        if isinstance(token, yaml.TagToken) and token.value[0] == "!!":  # a type of YAML, such as !!str
            continue
        reading = _TOKENS.get(type(token), "")
        if reading and not (depth and reading == "a mapping"):
            return reading
    if "\n" in text.strip() and tokens and isinstance(tokens[0], yaml.ScalarToken) and tokens[0].plain:
        return "one line"
    rest = text[tokens[-1].end_mark.index if tokens else 0 :].strip()
    return "" if not rest else "a comment" if rest.startswith("#") else "something else"


def _as_typed(tokens: Sequence[yaml.Token], text: str, expected: Expected) -> str:
    """Return the text with quotes around what should stay text, except in braces."""
    if not tokens:
        return "''"  # nothing was typed, which is empty text and not null
    depth = 0
    for token in reversed(tokens):  # from the end, so that the positions of the others stay right
        depth += isinstance(token, yaml.FlowMappingEndToken) - isinstance(token, yaml.FlowMappingStartToken)
        if isinstance(token, yaml.ScalarToken) and token.plain and not depth and _is_text(token.value, expected):
            start, end = token.start_mark.index, token.end_mark.index
            text = f"{text[:start]}'{token.value}'{text[end:]}"
    return text


def _is_text(typed: str, expected: Expected) -> bool:
    if typed == "~":
        return True
    if form(typed) not in ("int", "float") or _USUAL.fullmatch(typed):
        return False
    return expected is Expected.ANY or not _WITH_ZEROS.fullmatch(typed)
