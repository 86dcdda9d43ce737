"""The directions of the house: which room may import which, and what the training process must not load."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from tests import imports
from tests.imports import ALLOWED, ROOT, Import, is_ours, is_third_party, loaded_with, room

CATALOGUE = "sweeper.trainers"
"""The package itself only lists the trainers, so rooms that launch them may import it."""

ONLY_IN = {
    "optuna": {"search"},
    "torch": {"auto", "trainers", "worker", "integrations"},
    "yaml": {"config"},
    "pydantic": {"agent", "config", "rules", "mistakes"},
    "tensorboard": {"views"},
    "matplotlib": {"views"},
    "transformers": {"trainers", "integrations"},
    "lightning": {"integrations"},
    "ray": {"executors"},
    "mcp": {"agent"},
    "mcp_types": {"agent"},
    "starlette": {"ui"},
    "uvicorn": {"agent", "ui"},
}
"""Libraries, by the rooms that may know them."""

LIGHT = ["sweeper", "sweeper.record.trial", "sweeper.worker.process.shim", "sweeper.integrations", CATALOGUE]
"""What has to be imported with the standard library alone (law 5)."""


@pytest.fixture(scope="module")
def found() -> list[Import]:
    return imports.imports(imports.modules())


def test_every_room_has_its_place_in_the_table() -> None:
    rooms = {room(module) for module in imports.modules()}
    assert rooms <= ALLOWED.keys()


def test_the_table_itself_points_down_only() -> None:
    order = list(ALLOWED)
    assert all(order.index(above) < order.index(below) for above, rooms in ALLOWED.items() for below in rooms)


def test_imports_point_down_only(found: list[Import]) -> None:
    wrong = [
        f"{edge.importer}:{edge.line} imports {edge.imported}"
        for edge in found
        if is_ours(edge.imported) and room(edge.importer) != room(edge.imported)
        if room(edge.imported) not in ALLOWED[room(edge.importer)]
    ]
    assert not wrong


def test_only_the_catalogue_of_trainers_is_imported_from_above(found: list[Import]) -> None:
    wrong = [
        f"{edge.importer}:{edge.line} imports {edge.imported}"
        for edge in found
        if is_ours(edge.imported) and room(edge.imported) == "trainers" != room(edge.importer)
        if edge.imported != CATALOGUE
    ]
    assert not wrong


@pytest.mark.parametrize("library", ONLY_IN)
def test_library_is_known_to_its_own_room_only(found: list[Import], library: str) -> None:
    wrong = [
        f"{edge.importer}:{edge.line}"
        for edge in found
        if edge.imported.split(".")[0] == library and room(edge.importer) not in ONLY_IN[library]
    ]
    assert not wrong


@pytest.mark.parametrize(("integration", "other"), [("huggingface", "lightning"), ("lightning", "transformers")])
def test_an_integration_loads_its_own_library_only(found: list[Import], integration: str, other: str) -> None:
    tops = {module.partition(".")[0] for module in loaded_with(f"sweeper.integrations.{integration}", found)}
    assert other not in tops


def test_a_process_that_draws_no_figures_loads_no_matplotlib(found: list[Import]) -> None:
    assert "matplotlib" not in {
        module.partition(".")[0] for module in loaded_with("sweeper.views.tensorboard.process", found)
    }


@pytest.mark.parametrize("module", LIGHT)
def test_light_module_names_no_third_party_module(found: list[Import], module: str) -> None:
    assert sorted(filter(is_third_party, loaded_with(module, found))) == []


@pytest.mark.parametrize("module", LIGHT)
def test_light_module_loads_no_third_party_module(module: str) -> None:
    # Without the site module no start-up hook of an installed package can load anything on its own.
    script = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import {module}
tops = {{name.partition(".")[0] for name in sys.modules}}
print(*sorted(tops - sys.stdlib_module_names - {{"sweeper", "__main__", "__mp_main__"}}))
"""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import torch", [("torch", True, False)]),
        ("import a.b as c, d", [("a.b", True, False), ("d", True, False)]),
        ("def f():\n import torch", [("torch", False, False)]),
        ("class C:\n import torch", [("torch", True, False)]),
        ("try:\n import torch\nexcept ImportError: pass", [("torch", True, False)]),
        ("if TYPE_CHECKING:\n import torch\nelse:\n import x", [("torch", False, True), ("x", True, False)]),
        (
            "from sweeper.config import load, changes_between",
            [("sweeper.config.load", True, False), ("sweeper.config", True, False)],
        ),
        ("from . import load", [("sweeper.config.load", True, False)]),
        ("from ..errors import SpecError", [("sweeper.errors", True, False)]),
    ],
)
def test_reader_sees_every_form_of_import(source: str, expected: list[tuple[str, bool, bool]]) -> None:
    known = ["sweeper.config", "sweeper.config.load", "sweeper.errors"]
    found = imports.imports_of("sweeper.config.here", ast.parse(source), known)
    assert [(edge.imported, edge.at_once, edge.for_types) for edge in found] == expected


def test_generated_parts_of_the_architecture_pages_are_current() -> None:
    from docs import diagram

    for page in diagram.PAGES:
        assert diagram.current(page) == page.read_text("utf-8"), "run: python docs/diagram.py"
