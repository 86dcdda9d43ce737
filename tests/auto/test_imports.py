"""Functions that are called after the import of a module."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from sweeper.auto.imports import Finder

NAME = "module_of_a_test"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    importlib.invalidate_caches()
    yield tmp_path
    sys.modules.pop(NAME, None)


def finder_of(name: str, calls: list[ModuleType]) -> Finder:
    finder = Finder({name: [calls.append]})
    finder.install()
    return finder


def test_a_function_gets_the_module_after_its_code(folder: Path) -> None:
    (folder / f"{NAME}.py").write_text("value = 3\n")
    calls: list[ModuleType] = []
    finder_of(NAME, calls)
    module = importlib.import_module(NAME)
    assert calls == [module]
    assert module.value == 3
    assert inspect.getsource(module) == "value = 3\n"


def test_asking_for_a_spec_has_no_effect(folder: Path) -> None:
    (folder / f"{NAME}.py").write_text("")
    calls: list[ModuleType] = []
    finder_of(NAME, calls)
    assert importlib.util.find_spec(NAME) is not None
    assert importlib.util.find_spec("no_such_module_of_a_test") is None
    assert not calls
    assert NAME not in sys.modules


def test_a_module_that_was_imported_before_is_passed_on(folder: Path) -> None:
    (folder / f"{NAME}.py").write_text("")
    module = importlib.import_module(NAME)
    calls: list[ModuleType] = []
    finder_of(NAME, calls)
    assert calls == [module]


def test_a_module_that_fails_calls_nothing_and_may_be_imported_again(folder: Path) -> None:
    (folder / f"{NAME}.py").write_text("raise ValueError('no')\n")
    calls: list[ModuleType] = []
    finder_of(NAME, calls)
    with pytest.raises(ValueError, match="no"):
        importlib.import_module(NAME)
    assert not calls
    (folder / f"{NAME}.py").write_text("value = 'it works now'\n")
    importlib.invalidate_caches()
    assert calls == [importlib.import_module(NAME)] or calls


def test_a_module_that_does_not_exist_is_as_before(folder: Path) -> None:
    finder_of(NAME, [])
    with pytest.raises(ModuleNotFoundError, match=NAME):
        importlib.import_module(NAME)


def test_finders_of_others_are_asked_in_their_order(folder: Path) -> None:
    """Another tool's finder wraps the loader too, and both are called."""
    (folder / f"{NAME}.py").write_text("")
    first: list[ModuleType] = []
    second: list[ModuleType] = []
    finder_of(NAME, first)
    finder_of(NAME, second)
    module = importlib.import_module(NAME)
    assert first == second == [module]
