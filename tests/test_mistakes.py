"""Similar names: the one that is suggested is the one that is most likely meant."""

from __future__ import annotations

import pytest

from sweeper.mistakes import IN_FILE, one_of, suggested

KEYS = ("command", "metric", "metrics", "method", "parameters", "retry", "resources", "early_stop")


@pytest.mark.parametrize(
    ("written", "meant"),
    [("retries", "retry"), ("comand", "command"), ("metrcs", "metrics"), ("early_terminate", "early_stop")],
)
def test_a_name_that_begins_alike_is_suggested_first(written: str, meant: str) -> None:
    assert suggested(written, KEYS) == f"did you mean {meant}?"


def test_nothing_is_suggested_where_nothing_is_similar() -> None:
    assert suggested("xyz", KEYS) == ""


NUMBERED = [f"layer_{number}" for number in range(30)]


def test_of_many_names_only_the_nearest_are_listed_and_where_the_others_are() -> None:
    many = one_of([*KEYS, *NUMBERED], "metrcs")
    assert many == "metrics, metric, parameters or 35 more (`sweeper schema` lists them)"
    assert one_of([*KEYS, *NUMBERED], "early_terminate").startswith("early_stop, ")
    first = one_of(["parameters", *NUMBERED], "xyz", IN_FILE)  # nothing is near
    assert first == "parameters, layer_0, layer_1 or 28 more (the sweep file lists them)"
    assert one_of(NUMBERED, {"a": 1}, IN_FILE) == "layer_0, layer_1, layer_2 or 27 more (the sweep file lists them)"


def test_a_few_names_are_all_listed() -> None:
    assert one_of(KEYS, "xyz") == "command, metric, metrics, method, parameters, retry, resources or early_stop"
