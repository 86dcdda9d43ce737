"""The page about W&B's sweep files: each row is true, and no name that sweeper knows is left out.

`benchmarks/compatibility.py` checks that W&B's own schema has no other names; its library is not installed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs.compatible import DISTRIBUTIONS, GRIDS, HEAD, KEYS, MACROS, PAGE, PARAMETERS, Effect, Key, filled
from sweeper.config import SweepSpec, load
from sweeper.config.model.macros import CARRIERS
from sweeper.config.model.parameters import FORM_NAMES, SHAPES, Distribution, parameter_keys
from sweeper.config.read.wandb import EARLY_TERMINATE, REFUSED, TRANSLATED, UNUSED
from sweeper.errors import SpecError
from tests.docs.test_documents import ROOT, functions_of


def loaded(folder: Path, example: Mapping[str, Any]) -> tuple[SweepSpec, list[str]]:
    """Load a small sweep file with these keys; `null` removes one."""
    given = {**HEAD, "parameters": PARAMETERS, **example}
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in given.items() if value is not None}, sort_keys=False))
    notes: list[str] = []
    spec = load(path, has_cuda=False, trainers={}, say=notes.append)
    return spec, [note for note in notes if ": name is not given" not in note]


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_each_key_has_the_effect_that_its_row_names(tmp_path: Path, key: Key) -> None:
    example = yaml.safe_load(key.example)
    named = key.name.partition(":")[0].partition(".")[0]
    if key.effect is Effect.REFUSED:
        with pytest.raises(SpecError, match=f": {named}: expected "):
            loaded(tmp_path, {**example, **({} if "program" not in example else {"command": ["true"]})})
        return
    _, notes = loaded(tmp_path, example)
    if key.effect in (Effect.UNUSED, Effect.TRANSLATED):
        (note,) = notes
        assert (
            f": {key.name if key.name in note else named} is {key.effect.value.partition(',')[0]}".replace(
                "unused", "not used"
            )
            in note
        )
    else:
        assert notes == []


@pytest.mark.parametrize("one", DISTRIBUTIONS, ids=lambda one: one.name)
def test_each_distribution_is_read(tmp_path: Path, one: Any) -> None:
    for parameter in one.parameters:
        spec, _ = loaded(tmp_path, {"parameters": {"x": parameter}})
        assert list(spec.parameters) == ["x"]


def test_each_grid_is_read(tmp_path: Path) -> None:
    for grid in GRIDS:
        spec, _ = loaded(tmp_path, {"method": "grid", "run_cap": None, "parameters": grid.parameters})
        assert spec.parameters


def test_every_name_that_sweeper_knows_from_wandb_has_a_row() -> None:
    keys = {key.name.partition(":")[0] for key in KEYS}
    parts = {part for key in keys for part in key.split(".")}
    assert {".".join(map(str, path)) for path in UNUSED} <= keys | {"controller"}
    assert parts >= {*REFUSED, *EARLY_TERMINATE, *parameter_keys()} - {"when"}
    drawn = {one.name for one in DISTRIBUTIONS}
    assert drawn == {*Distribution, *SHAPES, *FORM_NAMES, *TRANSLATED}
    own = {"args_spread", "args_spread_no_boolean_flags"}
    assert {macro.name for macro in MACROS} >= {*CARRIERS} - own


def test_the_page_has_the_tables_that_are_checked_here() -> None:
    text = PAGE.read_text("utf-8")
    assert filled(text) == text, "run python docs/compatible.py"


@pytest.mark.parametrize(
    "test",
    sorted({*(key.test for key in KEYS), *(macro.test for macro in MACROS), *(one.test for one in DISTRIBUTIONS)}),
)
def test_each_test_that_the_page_names_exists(test: str) -> None:
    path, _, name = test.partition("::")
    assert name in functions_of(ROOT / path)
