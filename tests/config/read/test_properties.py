"""What holds for any file: a sweep or a list of mistakes, and a sweep survives its record."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sweeper.config import SweepSpec, changes_between, load
from sweeper.config.read.wandb import EARLY_TERMINATE, REFUSED, TRANSLATED, UNUSED
from sweeper.errors import RecordError, SweeperError, UsageError
from tests.config.conftest import TRAINERS

WARMUP = (Path(__file__).parents[3] / "experiments" / "warmup.yaml").read_bytes()
FEW = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

WORDS = (
    "name trainer method metric parameters profiles early_stop rules auto stalled seeds dataset lr value values min "
    "max distribution when cuda grid random - : [ ] { } , ? ! & * | > % @ # ' \" \\ --- ... ~ 1e-4 .nan 0x1 << ="
).split()
FRAGMENTS = st.lists(st.sampled_from([*WORDS, " ", "  ", "\n", "\n  ", "\t", "\0", "\ufeff", "\u2028"]), max_size=60)


def outcome(path: Path, raw: bytes, *overrides: str) -> SweepSpec | UsageError:
    path.write_bytes(raw)
    try:
        return load(path, overrides=overrides, has_cuda=False, trainers=TRAINERS)
    except UsageError as error:
        return error


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sweep.yaml"


@FEW
@given(raw=st.binary(max_size=300))
def test_any_bytes_are_a_sweep_or_a_list_of_mistakes(path: Path, raw: bytes) -> None:
    assert str(outcome(path, raw))


@FEW
@given(fragments=FRAGMENTS)
def test_anything_like_yaml_is_a_sweep_or_a_list_of_mistakes(path: Path, fragments: list[str]) -> None:
    assert str(outcome(path, "".join(fragments).encode()))


@FEW
@given(
    start=st.integers(0, len(WARMUP)), length=st.integers(0, 200), put=st.sampled_from([b"", b"[", b"\xff", b": x\n"])
)
def test_a_damaged_file_is_a_sweep_or_a_list_of_mistakes(path: Path, start: int, length: int, put: bytes) -> None:
    assert str(outcome(path, WARMUP[:start] + put + WARMUP[start + length :]))


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
DATA = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([word for word in WORDS if word.isidentifier()]) | SCALARS, inner, max_size=4)
    ),
    max_leaves=12,
)
KEYS = [*SweepSpec.model_fields, "profiles"]
WANDB = [*(path[0] for path in UNUSED), *REFUSED, "early_terminate"]


@FEW
@given(data=st.dictionaries(st.sampled_from([*KEYS, *WANDB]), DATA, max_size=6))
def test_right_keys_with_any_values_are_a_sweep_or_a_list_of_mistakes(path: Path, data: dict[str, Any]) -> None:
    small = {"name": "a", "trainer": "text-classification", "method": "grid", "metric": {"name": "loss"}}
    assert str(outcome(path, yaml.dump({**small, **data}, allow_unicode=True).encode("utf-8", "surrogatepass")))


NUMBERS = st.integers() | st.floats() | st.booleans()


@FEW
@given(
    early=st.dictionaries(st.sampled_from(EARLY_TERMINATE[1:]), NUMBERS | SCALARS, max_size=5),
    distribution=st.sampled_from(TRANSLATED),
    bounds=st.tuples(NUMBERS, NUMBERS),
)
def test_every_key_of_wandb_is_accepted_or_refused(
    path: Path, early: dict[str, Any], distribution: str, bounds: tuple[object, object]
) -> None:
    parameters = {"lr": {"distribution": distribution, "min": bounds[0], "max": bounds[1]}}
    data = {"program": "a", "method": "random", "run_cap": 1, "metric": {"name": "a"}, "parameters": parameters}
    data["early_terminate"] = {"type": "hyperband", **early}
    assert str(outcome(path, yaml.dump(data, allow_unicode=True).encode("utf-8", "surrogatepass")))


@pytest.mark.slow
@FEW
@given(
    override=st.text(max_size=20)
    | st.builds(
        "{}{}={}".format, st.sampled_from(["", "+"]), st.sampled_from([*KEYS, "lr", "metric.name.x"]), st.text()
    )
)
def test_any_override_is_taken_or_refused(path: Path, override: str) -> None:
    assert str(outcome(path, WARMUP, override))


FINITE = st.floats(allow_nan=False, allow_infinity=False)
INT64 = st.integers(-(2**63), 2**63 - 1)
VALUES = st.recursive(
    st.none() | st.booleans() | INT64 | FINITE | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)
RANGES = st.tuples(FINITE | INT64, FINITE | INT64).filter(lambda pair: pair[0] < pair[1])
PARAMETERS = (
    st.builds(lambda value: {"value": value}, VALUES)
    | st.builds(lambda values: {"values": values}, st.lists(VALUES, min_size=1, max_size=4, unique_by=repr))
    | st.builds(lambda pair: {"min": pair[0], "max": pair[1]}, RANGES)
    | st.builds(lambda q, most: {"min": 0, "max": q * most, "q": q}, st.floats(1e-3, 1e3), st.integers(1, 9))
    | st.builds(lambda mu, sigma: {"distribution": "normal", "mu": mu, "sigma": sigma}, FINITE, st.floats(1e-9, 1e9))
    | st.builds(lambda b, q: {"distribution": "q_beta", "b": b, "q": q}, st.floats(0.01, 1000), st.floats(1e-3, 1))
    | st.builds(lambda share: {"values": [1, 2], "probabilities": [share, 1 - share]}, st.floats(0, 1))
)
NAMES = st.text(string.ascii_letters, min_size=1, max_size=8)
RULES = st.sampled_from(["auto", {"non_finite": {"patience": 1}}, {"overfitting": {}}, {"median": {}}]) | st.builds(
    lambda below, half, grace: {"stalled": {"below": below, "window": 2 * half + 1, "grace_steps": grace}},
    st.floats(0, 1, exclude_min=True, exclude_max=True),
    st.integers(0, 49),
    st.integers(0, 10**6),
)
RESUME = st.lists(st.sampled_from(["--resume", "${trial:dir}/a", "x=${trial:name}"]), min_size=1, max_size=3)
SPECS = st.fixed_dictionaries(
    {
        "name": NAMES,
        "method": st.sampled_from(["grid", "random", "bayes", "tpe", "gp", "cmaes", "qmc"]),
        "metric": st.fixed_dictionaries({"name": NAMES}, optional={"at": st.sampled_from(["best", "last"])}),
    },
    optional={
        "parameters": st.dictionaries(NAMES, PARAMETERS, max_size=4),
        "command": st.lists(st.text(st.characters(codec="utf-8")), min_size=1, max_size=3),
        "resume_args": st.none() | RESUME | st.fixed_dictionaries({"args": RESUME}, optional={"if_exists": NAMES}),
        "seeds": st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=3, unique=True),
        "dataset": NAMES | st.lists(NAMES, max_size=3, unique=True),
        "early_stop": st.sampled_from([None, "auto", {"rules": "auto"}])
        | st.fixed_dictionaries({}, optional={"rules": st.lists(RULES, max_size=3), "audit": st.floats(0, 1)}),
        "resources": st.fixed_dictionaries(
            {},
            optional={
                "gpus": st.none() | st.integers(0, 8) | st.floats(0.001, 1),
                "gpu_memory_gb": st.none() | st.floats(0.1, 100) | st.just("measured"),
            },
        ),
        "retry": st.fixed_dictionaries(
            {},
            optional={"max": st.integers(0, 100), "on": st.lists(st.sampled_from(["lost", "cuda-oom"]), unique=True)},
        ),
        "hang_after_s": st.none() | st.floats(1e-3, 1e6),
        "output_limit_mb": st.none() | st.floats(1, 1e6),
        "checkpoint": st.fixed_dictionaries({"every_minutes": st.floats(1e-3, 1e6) | st.integers(1, 100)}),
    },
)


def made(data: dict[str, Any]) -> SweepSpec | None:
    """The spec, or None where values that differ in writing (1 and 1.0) are the same."""
    try:
        return SweepSpec.from_json(data)
    except RecordError:
        return None


@FEW
@given(data=SPECS)
def test_spec_survives_its_record(data: dict[str, Any]) -> None:
    spec = made(data)
    if spec is None:
        return
    again = SweepSpec.from_json(json.loads(json.dumps(spec.to_json(), allow_nan=False)))
    assert again == spec
    assert again.to_json() == spec.to_json()
    changes = changes_between(spec, again)
    assert not changes.additions
    assert not changes.conflicts


@FEW
@given(data=SPECS, other=SPECS)
def test_changes_are_found_in_both_directions_or_in_none(data: dict[str, Any], other: dict[str, Any]) -> None:
    old, new = made(data), made(other)
    if old is None or new is None:
        return
    there, back = changes_between(old, new), changes_between(new, old)
    assert bool(there.additions or there.conflicts) == bool(back.additions or back.conflicts)


def test_record_of_something_else_is_a_record_error() -> None:
    with pytest.raises(SweeperError, match="cannot be read"):
        SweepSpec.from_json({"name": 3})
