"""What an argument is for, by its name."""

from __future__ import annotations

import pytest

from sweeper.preflight.arguments.model import Argument, ArgumentKind
from sweeper.preflight.arguments.roles import is_output, is_seed, output_of


def argument(name: str, default: object = None, kind: ArgumentKind = ArgumentKind.OPTION) -> Argument:
    return Argument(name=name, kind=kind, default=default)


@pytest.mark.parametrize(
    ("name", "default", "place"),
    [
        ("output_dir", None, "${trial:dir}/out"),
        ("out-dir", "out", "${trial:dir}/out"),
        ("work-dir", "work", "${trial:dir}/work"),
        ("save_dir", "x", "${trial:dir}/save"),
        ("trainer.default_root_dir", None, "${trial:dir}/lightning"),
        ("logdir", "runs/a", "${trial:dir}/logs"),
        ("checkpoint_dir", "x", "${trial:dir}/checkpoint"),
        ("save-path", "models/best.pt", "${trial:dir}/best.pt"),
        ("output", "", "${trial:dir}/out"),
        ("outdir", None, "${trial:dir}/out"),
    ],
)
def test_a_place_that_the_script_writes_to_is_one_in_the_trial_s_directory(
    name: str, default: object, place: str
) -> None:
    assert is_output(argument(name, default))
    assert output_of(argument(name, default)) == place


@pytest.mark.parametrize(
    ("name", "default"),
    [
        *(("data_dir", "x"), ("cache_dir", None), ("model_dir", "x"), ("resume", None), ("output_size", 3)),
        *(
            ("save_every", 10),
            ("log_dir", 3),
            ("checkpoint", None),
            ("paths.output_dir", "${hydra:runtime.output_dir}"),
        ),
    ],
)
def test_what_is_read_or_is_no_path_stays(name: str, default: object) -> None:
    assert not is_output(argument(name, default))


def test_a_switch_is_no_place() -> None:
    assert not is_output(argument("output", None, ArgumentKind.SWITCH))


@pytest.mark.parametrize(
    ("name", "seed"), [("seed", True), ("manualSeed", True), ("random-seed", True), ("data_seed", False)]
)
def test_seeds(name: str, seed: bool) -> None:
    assert is_seed(argument(name, 1)) is seed
