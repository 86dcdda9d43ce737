"""The documents name what there is: the tests that answer complaints, and every key of a sweep file."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

import sweeper
from docs import generate
from sweeper.cli import COMMANDS
from sweeper.rules.settings import RULES
from sweeper.spec import SweepSpec
from sweeper.spec.executors import EXECUTORS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
TESTS = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
UNWRITTEN = {"profile", "profile_description", "type"}
"""Keys that no file has, or that stand there as the name of what they choose."""


@cache
def functions_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def complaints() -> dict[str, str]:
    """The sections of the page, by their headings; the last one says what does not hold."""
    _, *sections = re.split(r"^## ", (DOCS / "complaints.md").read_text("utf-8"), flags=re.MULTILINE)
    return {section.partition("\n")[0]: section for section in sections[:-1]}


@pytest.mark.parametrize("complaint", complaints())
def test_each_complaint_is_held_by_tests_that_exist(complaint: str) -> None:
    named = TESTS.findall(complaints()[complaint])
    assert named, "no test is named"
    missing = [f"{path}::{name}" for path, name in named if name not in functions_of(ROOT / path)]
    assert not missing


def test_every_complaint_has_its_section() -> None:
    assert len(complaints()) == 13


def words_of(name: str) -> set[str]:
    return set(re.findall(r"[\w-]+", (DOCS / name).read_text("utf-8")))


def test_every_key_of_a_sweep_file_is_named_in_the_reference() -> None:
    keys = {part for key, _ in generate.keys(SweepSpec) for part in key.split(".")}
    assert len(keys) > 30
    assert keys - UNWRITTEN <= words_of("reference.md")


@pytest.mark.parametrize("name", RULES)
def test_every_rule_is_named_in_the_reference_with_its_settings(name: str) -> None:
    settings = {key for key, _ in generate.keys(RULES[name])}
    assert {name} | settings <= words_of("reference.md")


@pytest.mark.parametrize("name", EXECUTORS)
def test_every_executor_is_named_in_the_reference_with_its_settings(name: str) -> None:
    settings = {key for key, _ in generate.keys(EXECUTORS[name])} - UNWRITTEN
    assert {name} | settings <= words_of("reference.md")


def test_every_command_is_named_in_the_reference_and_has_its_page() -> None:
    named = set(re.findall(r"`sweeper (\w+)", (DOCS / "reference.md").read_text("utf-8")))
    assert set(generate.commands()) <= named
    assert len(generate.commands()) >= len(COMMANDS)


def test_pages_are_made_of_the_code_and_left_alone_where_nothing_changed(tmp_path: Path) -> None:
    generate.write_pages(tmp_path)
    made = {path.name: path for path in tmp_path.iterdir()}
    assert {"commands.md", "keys.md", "watch-2-cores.md"} <= made.keys()
    assert "## `sweeper run`" in made["commands.md"].read_text("utf-8")
    assert '| `metric.goal` | `"minimize"` |' in made["keys.md"].read_text("utf-8")
    assert "| `grace_steps` | `60` |" in made["keys.md"].read_text("utf-8")
    before = {name: path.stat().st_mtime_ns for name, path in made.items()}
    generate.write_pages(tmp_path)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_the_version_is_the_same_where_it_stands_twice() -> None:
    assert re.findall(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text("utf-8"), re.MULTILINE) == [
        sweeper.__version__
    ]


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/releasing.md"])
def test_every_make_target_that_a_page_names_is_there(page: str) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:`|^|&& )make ([a-z][\w-]*)", (ROOT / page).read_text("utf-8"), re.MULTILINE))
    assert named
    assert named <= targets
