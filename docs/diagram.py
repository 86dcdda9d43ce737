"""Draws the rooms of the package, from its imports, into ``docs/architecture.md``.

    python docs/diagram.py           writes it
    python docs/diagram.py --print   prints it

What stands between the page's lines ``<!-- diagram: begin -->`` and ``<!-- diagram: end -->`` is replaced.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- diagram: begin -->", "<!-- diagram: end -->"

if str(ROOT) not in sys.path:
    # The reader of imports is shared with the tests, and neither is installed.
    sys.path.insert(0, str(ROOT))

from tests import imports  # noqa: E402 after the path is set


def drawn() -> str:
    """The Mermaid diagram of the package as it is."""
    sources = imports.modules()
    rooms = {imports.room(module) for module in sources}
    return mermaid([room for room in imports.ALLOWED if room in rooms], imports.edges(imports.imports(sources)))


def mermaid(rooms: Iterable[str], edges: Iterable[tuple[str, str]]) -> str:
    """A diagram from the top of the house down. ``errors``, which everybody imports, gets no arrows."""
    order = list(rooms)
    arrows = sorted(
        ((above, below) for above, below in edges if below != "errors"),
        key=lambda arrow: (order.index(arrow[0]), order.index(arrow[1])),
    )
    lines = ["```mermaid", "flowchart TD"]
    lines += [f"    {_identifier(room)}[{_label(room)}]" for room in order]
    lines += [f"    {_identifier(above)} --> {_identifier(below)}" for above, below in arrows]
    return "\n".join([*lines, "```"])


def _identifier(room: str) -> str:
    return "api" if room == imports.API else room


def _label(room: str) -> str:
    return '"import sweeper"' if room == imports.API else room


def with_diagram(page: str, diagram: str) -> str:
    """The page with the diagram between its markers.

    Raises:
        ValueError: the page lacks a marker.
    """
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"expected the lines {BEGIN} and {END} in the page")
    return f"{head}{BEGIN}\n{diagram}\n{END}{tail}"


def main(arguments: list[str]) -> int:
    """Draws; 0, or 1 where there is no page to draw into."""
    if arguments == ["--print"]:
        print(drawn())
        return 0
    if not PAGE.exists():
        print(f"{PAGE.relative_to(ROOT)} does not exist", file=sys.stderr)
        return 1
    PAGE.write_text(with_diagram(PAGE.read_text("utf-8"), drawn()), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
