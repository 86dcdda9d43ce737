"""Parse YAML text into nodes: YAML 1.2 numbers and booleans, no duplicate keys, and limits on size and nesting.

PyYAML follows YAML 1.1, where ``1e-4`` is text, ``no`` is false and ``1:30`` is 90, and it keeps the last of two equal
keys. Its C loader crashes on deep nesting, so this module uses the Python loader, limited by `DEEPEST` and
`MOST_NODES`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import yaml

from sweeper.config.read.node import Node, Path, Scalar
from sweeper.config.read.scalars import constructed, form
from sweeper.errors import Mistake, SpecError
from sweeper.mistakes import printable, shortened, shown

MERGE = "<<"
"""The key that takes over the entries of another mapping: ``<<: *base``."""

DEEPEST = 32
"""Maximum depth of nesting."""
MOST_NODES = 5_000
"""Maximum number of keys and values: ten times those of a large sweep, and few enough to check each of them quickly."""

_TAG = "tag:yaml.org,2002:"


class _TooMuchError(yaml.YAMLError):
    """The text is larger or nested more deeply than any sweep."""


class _Loader(yaml.SafeLoader):
    """PyYAML's loader with YAML 1.2 scalars and limits on nesting and size."""

    depth = 0
    nodes = 0

    def resolve(self, kind: type[yaml.Node], value: str, implicit: tuple[bool, bool]) -> str:
        if kind is not yaml.ScalarNode:
            return f"{_TAG}{'map' if kind is yaml.MappingNode else 'seq'}"
        return f"{_TAG}{form(value) if implicit[0] else 'str'}"

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.depth += 1
        self.nodes += 1
        if self.depth > DEEPEST:
            raise _TooMuchError(f"more than {DEEPEST} levels of nesting")
        if self.nodes > MOST_NODES:
            raise _TooMuchError(f"more than {MOST_NODES:,} values")
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


@dataclass(frozen=True, slots=True)
class TextSource:
    """The origin of a text, for messages: `file:line`, or the name alone if line numbers mean nothing.

    Attributes:
        name: the path of the file, or `command line: KEY=VALUE`.
        numbered: whether messages have line numbers.
        key: the path of keys under which the text's root is placed.
    """

    name: str
    numbered: bool = True
    key: Path = ()

    def where(self, line: int) -> str:
        """Return the position of a line, counted from 0, for a message."""
        return f"{self.name}:{line + 1}" if self.numbered else self.name


def parsed(text: str, source: TextSource) -> tuple[Node, list[Mistake]]:
    """Parse a text.

    Returns:
        The root node, and the mistakes that do not prevent parsing: duplicate keys, unknown tags.

    Raises:
        SpecError: the text is not YAML, or exceeds the limits.
    """
    try:
        root = composed(text)
    # PyYAML raises ValueError and OverflowError for escapes such as "\UFFFFFFFF" and long %YAML directives.
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise SpecError([_syntax_mistake(error, text, source)]) from None
    if root is None:
        return Node(where=source.where(0), key=source.key, value=None), []
    builder = _Builder(source)
    return builder.node(root, source.key), builder.mistakes


def composed(text: str) -> yaml.Node | None:
    """Return PyYAML's own nodes of a text; None if it is empty.

    Raises:
        YAMLError, ValueError, OverflowError: the text is not YAML, or exceeds the limits.
    """
    loader = _Loader(text)
    try:
        root: yaml.Node | None = loader.get_single_node()
    finally:
        loader.dispose()
    return root


def _syntax_mistake(error: Exception, text: str, source: TextSource) -> Mistake:
    line, problem = 0, str(error)
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        line = mark.line if mark else 0
        problem = ", ".join(part for part in (error.context, error.problem) if part)
    elif isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position)
        problem = f"the unprintable character {text[error.position : error.position + 1]!r}"
    expected = "a sweep of reasonable size" if isinstance(error, _TooMuchError) else "YAML"
    return Mistake(where=source.where(line), key="", expected=expected, got=shortened(problem))


@dataclass(slots=True)
class _Builder:
    """Convert PyYAML's nodes into `Node`s, and collect mistakes."""

    source: TextSource
    mistakes: list[Mistake] = field(default_factory=list)
    nodes: int = 0
    merging: list[yaml.Node] = field(default_factory=list)

    def node(self, node: yaml.Node, key: Path) -> Node:
        """Return the node with aliases expanded. The limits apply again, since an alias may contain itself."""
        self.nodes += 1
        if self.nodes > MOST_NODES or len(key) > DEEPEST + len(self.source.key):
            got = "aliases that repeat too often or contain one another"
            raise SpecError([self._mistake(node, key[:1], "a sweep of reasonable size", got)])
        return Node(where=self._where(node), key=key, value=self._value(node, key))

    def _value(self, node: yaml.Node, key: Path) -> Scalar | dict[str, Node] | tuple[Node, ...]:
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, key)
        if isinstance(node, yaml.SequenceNode):
            return tuple(self.node(item, (*key, index)) for index, item in enumerate(node.value))
        return self._scalar(node, key)

    def _mapping(self, node: yaml.MappingNode, key: Path) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        taken_over: dict[str, Node] = {}
        for key_node, value_node in node.value:
            if _merges(key_node):
                taken_over |= self._merged(value_node, key)
                continue
            name = self._name(key_node, key)
            if name is None:
                continue
            child = self.node(value_node, (*key, name))
            if name in entries:
                got = f"a second one (the first: {entries[name].where})"
                self.mistakes.append(self._mistake(key_node, (*key, name), "the key only once", got))
                continue
            # Messages name the line of the key, even if the value begins further down.
            entries[name] = Node(where=self._where(key_node), key=child.key, value=child.value)
        return taken_over | entries

    def _merged(self, node: yaml.Node, key: Path) -> dict[str, Node]:
        """Return the entries of the mapping after `<<`, or of a list of mappings, of which the first one counts."""
        if isinstance(node, yaml.SequenceNode):
            return dict(entry for item in reversed(node.value) for entry in self._merged(item, key).items())
        if not isinstance(node, yaml.MappingNode):
            expected = "a mapping to merge, or a list of mappings, such as *base"
            self.mistakes.append(self._mistake(node, (*key, MERGE), expected, shown(_raw(node))))
            return {}
        if node in self.merging:
            raise SpecError([self._mistake(node, (*key, MERGE), "another mapping to merge", "the one that it is in")])
        self.merging.append(node)
        merged = self.node(node, key)
        self.merging.pop()
        return dict(merged.children())

    def _name(self, node: yaml.Node, key: Path) -> str | None:
        value = self._scalar(node, key) if isinstance(node, yaml.ScalarNode) else None
        if isinstance(value, str):
            return value
        hint = f"quote it: {node.value!r}" if isinstance(node, yaml.ScalarNode) else ""
        self.mistakes.append(self._mistake(node, key, "a key that is text", shown(_raw(node)), hint))
        return None

    def _scalar(self, node: yaml.Node, key: Path) -> Scalar:
        text: str = node.value
        kind = node.tag.removeprefix(_TAG)
        if _is_word(key) and kind in ("int", "float", "bool"):
            return text.capitalize() if kind == "bool" else text
        try:
            return constructed(kind, text)
        except KeyError:
            self.mistakes.append(self._mistake(node, key, "a plain value", f"the tag {printable(node.tag)}"))
        except ValueError as error:
            self.mistakes.append(self._mistake(node, key, str(error), shown(text)))
        return None

    def _where(self, node: yaml.Node) -> str:
        return self.source.where(node.start_mark.line)

    def _mistake(self, node: yaml.Node, key: Path, expected: str, got: str, hint: str = "") -> Mistake:
        name = shortened(".".join(map(str, key)))
        return Mistake(where=self._where(node), key=name, expected=expected, got=got, hint=hint)


def _merges(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.value == MERGE and node.style is None


def _is_word(key: Path) -> bool:
    """Return whether a key is that of a word of `command` or `resume_args`, which is text, as `str()` makes it."""
    match key:
        case ("command" | "resume_args", int()) | ("resume_args", "args", int()):
            return True
    return False


def _raw(node: yaml.Node) -> object:
    return node.value if isinstance(node, yaml.ScalarNode) else {} if isinstance(node, yaml.MappingNode) else []
