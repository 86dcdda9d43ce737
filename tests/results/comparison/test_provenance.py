"""Comparison of two provenances, and of two histories of a trial."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest

from sweeper.record.events import Event, Metrics, Observation
from sweeper.results.comparison.provenance import Difference, DifferenceKind, commit_of, differences
from sweeper.results.comparison.repetition import Repeat, repeats

ORIGIN: Mapping[str, object] = {
    "commit": "a" * 40,
    "difference": "--- a/x\n+++ b/x\n-old\n+new\n",
    "packages": {"torch": "2.12", "Ruamel.yaml_x": "1", "zlib": "1"},
    "python": "3.11.2",
    "devices": ["GPU-1", "GPU-2"],
    "environment": {"OMP_NUM_THREADS": "2"},
    "data": {"dataset": {"name": "d", "sha256": "aa"}},
}

CASES: Mapping[str, tuple[Mapping[str, object], list[tuple[DifferenceKind, str, str, str]]]] = {
    "the same": ({}, []),
    "another commit": (
        {"commit": "b" * 40, "difference": ""},
        [(DifferenceKind.CODE, "commit", f"{'a' * 12}, 2 lines changed", "b" * 12)],
    ),
    "other changes": (
        {"difference": "--- a/x\n+++ b/x\n-old\n+newer\n"},
        [(DifferenceKind.CODE, "commit", f"{'a' * 12}, 2 lines changed", f"{'a' * 12}, 2 lines changed (other lines)")],
    ),
    "no repository": (
        {"commit": "", "difference": ""},
        [(DifferenceKind.CODE, "commit", f"{'a' * 12}, 2 lines changed", "-")],
    ),
    "packages, those that matter most first": (
        {"packages": {"torch": "2.13", "ruamel-yaml-x": "1", "aaa": "3"}},
        [
            (DifferenceKind.PACKAGE, "torch", "2.12", "2.13"),
            (DifferenceKind.PACKAGE, "aaa", "-", "3"),
            (DifferenceKind.PACKAGE, "zlib", "1", "-"),
        ],
    ),
    "the environment": (
        {"environment": {"HF_HOME": "/x"}},
        [
            (DifferenceKind.ENVIRONMENT, "OMP_NUM_THREADS", "2", "-"),
            (DifferenceKind.ENVIRONMENT, "HF_HOME", "-", "/x"),
        ],
    ),
    "devices": ({"devices": []}, [(DifferenceKind.OTHER, "devices", "GPU-1, GPU-2", "-")]),
    "data": (
        {"data": {"dataset": {"name": "d", "sha256": "bb"}}},
        [(DifferenceKind.OTHER, "data.dataset.sha256", "aa", "bb")],
    ),
    "escapes": ({"python": "\x1b[31m"}, [(DifferenceKind.OTHER, "python", "3.11.2", "?[31m")]),
}


@pytest.mark.parametrize("case", CASES)
def test_differences_are_named_with_both_sides(case: str) -> None:
    changes, expected = CASES[case]
    wanted = [Difference(kind=kind, name=name, there=there, here=here) for kind, name, there, here in expected]
    assert differences(ORIGIN, {**ORIGIN, **changes}) == wanted


def test_keys_that_one_side_did_not_record_are_no_difference() -> None:
    assert differences({"commit": "a"}, {**ORIGIN, "commit": "a", "difference": ""}) == []
    assert commit_of({}) == ""


def history(*values: tuple[int, float], name: str = "loss") -> list[Event]:
    return [Metrics(step=step, values={name: value}) for step, value in values]


def test_values_are_compared_bit_by_bit_and_nan_is_nan() -> None:
    (one,) = repeats(history((0, 0.1), (1, math.nan)), history((0, 0.1), (1, math.nan), (2, 5.0)))
    assert one.different == []
    assert one.text() == "loss: 2 values, equal to the last bit"
    (one,) = repeats(history((0, 0.1), (1, 0.3), (2, math.nan)), history((0, 0.1), (1, 0.1 + 0.2)))
    assert one.different == [1]
    assert (
        "2 values, 1 of them equal; they first differ at step 1 (0.3 recorded, 0.30000000000000004 now)" in one.text()
    )
    assert "1 more recorded" in one.text()


def test_reach_is_compared_too_and_series_without_a_common_step_are_reported() -> None:
    observed = Observation(step=0, row=0, reach=0.5, update_ratio=0.1, learning_rate=0.1, clipped=False, skipped=0)
    assert [one.name for one in repeats([observed, *history((0, 1.0))], [])] == ["loss", "reach"]
    assert Repeat(name="a", then={0: 1.0}, now={1: 1.0}).text() == "a: no step at which both trials have a value"
