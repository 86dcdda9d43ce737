"""Write the generated parts of the architecture's pages: the diagram of rooms, and the tables of states and causes.

    python docs/diagram.py           writes them
    python docs/diagram.py --print   prints them

The text between ``<!-- NAME: begin -->`` and ``<!-- NAME: end -->`` in a page is replaced.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

if str(ROOT) not in sys.path:
    # The reader of imports is shared with the tests, and neither is installed.
    sys.path.insert(0, str(ROOT))

from sweeper.record.attempt import CAUSES  # noqa: E402 after the path is set
from sweeper.record.trial import STATES  # noqa: E402
from tests import imports  # noqa: E402


def drawn() -> str:
    """Return the Mermaid diagram of the package as it is."""
    sources = imports.modules()
    rooms = {imports.room(module) for module in sources}
    return mermaid([room for room in imports.ALLOWED if room in rooms], imports.edges(imports.imports(sources)))


def mermaid(rooms: Iterable[str], edges: Iterable[tuple[str, str]]) -> str:
    """Return a diagram from the top room down. ``errors``, which every room imports, gets no arrows."""
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


def states_table() -> str:
    """Return the table of a trial's states, from the code that applies it."""
    return _table("the first condition that holds", "state", ((row.when, f"`{row.state}`") for row in STATES))


def causes_table() -> str:
    """Return the table of the causes of an attempt's end, from the code that applies it."""
    return _table("the first condition that holds", "cause", ((row.when, row.then) for row in CAUSES))


def _table(left: str, right: str, rows: Iterable[tuple[str, str]]) -> str:
    return "\n".join([f"| {left} | {right} |", "|---|---|", *(f"| {when} | {then} |" for when, then in rows)])


PAGES: Mapping[Path, Mapping[str, Callable[[], str]]] = {
    DOCS / "architecture.md": {"diagram": drawn},
    DOCS / "architecture-record.md": {"states": states_table, "causes": causes_table},
}
"""The generated parts of each page, by the name in their markers."""


def current(page: Path) -> str:
    """Return the text of a page with each generated part as the code has it now.

    Raises:
        ValueError: the page lacks a marker.
    """
    text = page.read_text("utf-8")
    for name, make in PAGES[page].items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        head, found, rest = text.partition(begin)
        _, closed, tail = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"expected the lines {begin} and {end} in {page.name}")
        text = f"{head}{begin}\n{make()}\n{end}{tail}"
    return text


def main(arguments: list[str]) -> int:
    """Write or print the generated parts."""
    for page, parts in PAGES.items():
        if arguments == ["--print"]:
            print("\n\n".join(make() for make in parts.values()), end="\n\n")
        else:
            page.write_text(current(page), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
