"""The fixed policy of benchmarks/agent.py: where it looks next."""

from __future__ import annotations

from typing import Any

from benchmarks.agent import neighbours, place_of


def row(lr: float, warmup: float) -> dict[str, Any]:
    return {"params": {"lr": lr, "warmup_fraction": warmup}}


def test_a_configuration_has_its_place_in_the_grid() -> None:
    assert place_of({"lr": 3.0001e-4, "warmup_fraction": 0.7, "epochs": 5}) == (2, 1)


def test_the_neighbours_of_the_best_are_those_beside_it_that_no_trial_has() -> None:
    rows = [row(2e-4, 0.1), row(2e-4, 0.7), row(8e-4, 0.1), row(8e-4, 0.7)]
    assert neighbours(rows[0], rows) == [(0, 0), (0, 1), (2, 0), (2, 1)]


def test_at_the_edge_of_the_grid_there_are_fewer() -> None:
    rows = [row(1e-4, 0.1), row(1e-4, 0.7), row(2e-4, 0.1), row(2e-4, 0.7)]
    assert neighbours(rows[0], rows) == []
