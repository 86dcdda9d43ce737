"""The documents are short, and what they name exists: tests, keys, rules, commands and make targets."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

import sweeper
from docs import generate
from sweeper.cli import COMMANDS
from sweeper.config import SweepSpec
from sweeper.config.model.executors import EXECUTORS
from sweeper.rules.repair import RECIPES
from sweeper.rules.repair.rates import HEALTHY_RATIO, LARGE_RATIO, LOW_RATIO
from sweeper.rules.settings import RULES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
TESTS = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
UNWRITTEN = {"profile", "profile_description", "nesting", "type"}
"""Keys that no file has, or that a file has as a name of what they choose."""


@cache
def functions_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def complaints() -> dict[str, str]:
    """Return the sections of the page by heading, without the last one, which lists what does not hold."""
    _, *sections = re.split(r"^## ", (DOCS / "complaints.md").read_text("utf-8"), flags=re.MULTILINE)
    return {section.partition("\n")[0]: section for section in sections[:-1]}


@pytest.mark.parametrize("complaint", complaints())
def test_each_complaint_names_tests_that_exist(complaint: str) -> None:
    named = TESTS.findall(complaints()[complaint])
    assert named, "no test is named"
    missing = [f"{path}::{name}" for path, name in named if name not in functions_of(ROOT / path)]
    assert not missing


def test_the_page_has_a_section_for_each_complaint() -> None:
    assert len(complaints()) == 13


REFERENCE = sorted((DOCS / "reference").glob("*.md"))
MOST_WORDS = 1500
GENERATED = {"faults.md", "repair.md", "verdicts.md"}
"""Pages with long tables that a command writes."""


@cache
def reference() -> str:
    """Return the text of all pages of the reference."""
    return "\n".join(page.read_text("utf-8") for page in REFERENCE)


def words_of_reference() -> set[str]:
    return set(re.findall(r"[\w-]+", reference()))


@pytest.mark.parametrize("page", REFERENCE, ids=lambda page: page.stem)
def test_a_page_of_the_reference_is_short_and_listed(page: Path) -> None:
    assert len(page.read_text("utf-8").split()) <= MOST_WORDS
    assert f"(reference/{page.name})" in (DOCS / "reference.md").read_text("utf-8")


@pytest.mark.parametrize("page", sorted([*DOCS.glob("*.md"), *DOCS.glob("howto/*.md")]), ids=lambda page: page.stem)
def test_a_page_is_short(page: Path) -> None:
    text = re.sub(r"```mermaid.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)  # a picture has no words
    assert page.name in GENERATED or len(text.split()) <= MOST_WORDS


def test_every_key_of_a_sweep_file_is_named_in_the_reference() -> None:
    keys = {part for key, _ in generate.keys(SweepSpec) for part in key.split(".")}
    assert len(keys) > 30
    assert keys - UNWRITTEN <= words_of_reference()


@pytest.mark.parametrize("name", RULES)
def test_every_rule_is_named_in_the_reference_with_its_settings(name: str) -> None:
    settings = {key for key, _ in generate.keys(RULES[name])}
    assert {name} | settings <= words_of_reference()


def test_the_reference_has_a_row_for_what_each_diagnosis_leads_a_repair_to() -> None:
    page = (DOCS / "reference/repair.md").read_text("utf-8")
    rows = [line for line in page.splitlines() if re.match(r"\| `\w+` \|", line)]
    assert rows == [f"| `{name}` | {recipe.text()} |" for name, recipe in RECIPES.items()]
    for value in (HEALTHY_RATIO, LOW_RATIO, LARGE_RATIO):
        assert f"{value:g} times" in page


@pytest.mark.parametrize("name", EXECUTORS)
def test_every_executor_is_named_in_the_reference_with_its_settings(name: str) -> None:
    settings = {key for key, _ in generate.keys(EXECUTORS[name])} - UNWRITTEN
    assert {name} | settings <= words_of_reference()


def test_every_command_is_named_in_the_reference_and_has_its_help_on_the_site() -> None:
    named = set(re.findall(r"`sweeper (\w+)", reference()))
    assert set(generate.commands()) <= named
    assert len(generate.commands()) >= len(COMMANDS)


def test_pages_are_generated_from_the_code_and_unchanged_pages_are_not_written(tmp_path: Path) -> None:
    generate.write_pages(tmp_path)
    made = {path.name: path for path in tmp_path.iterdir()}
    assert {"commands.md", "keys.md", "watch-2-cores.md"} <= made.keys()
    assert "## `sweeper run`" in made["commands.md"].read_text("utf-8")
    assert '| `metric.goal` | `"minimize"` |' in made["keys.md"].read_text("utf-8")
    assert "| `grace_steps` | `60` |" in made["keys.md"].read_text("utf-8")
    before = {name: path.stat().st_mtime_ns for name, path in made.items()}
    generate.write_pages(tmp_path)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_both_copies_of_the_version_are_equal() -> None:
    assert re.findall(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text("utf-8"), re.MULTILINE) == [
        sweeper.__version__
    ]


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/releasing.md"])
def test_every_make_target_that_a_page_names_exists(page: str) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:`|^|&& )make ([a-z][\w-]*)", (ROOT / page).read_text("utf-8"), re.MULTILINE))
    assert named
    assert named <= targets
