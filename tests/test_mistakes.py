"""Similar names: the one that is suggested is the one that is most likely meant."""

from __future__ import annotations

import pytest

from sweeper.mistakes import suggested

KEYS = ("command", "metric", "metrics", "method", "parameters", "retry", "resources", "early_stop")


@pytest.mark.parametrize(
    ("written", "meant"),
    [("retries", "retry"), ("comand", "command"), ("metrcs", "metrics"), ("early_terminate", "early_stop")],
)
def test_a_name_that_begins_alike_is_suggested_first(written: str, meant: str) -> None:
    assert suggested(written, KEYS) == f"did you mean {meant}?"


def test_nothing_is_suggested_where_nothing_is_similar() -> None:
    assert suggested("xyz", KEYS) == ""
