"""A signal at any point of a launch costs at most that attempt: never its slot, never a process without a record."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sweeper.executors.python import SHIM
from tests.faults.launches import SIGNALS, TABLES, Launches, environment, problems, usual_signals

SLOTS = 100
"""So many slots would be lost if each attempt that ends before its claim kept its own."""

ROWS = [(launch, name) for launch, table in TABLES.items() for name in table]
BEFORE_THE_CLAIM = {
    "spawn": ("shim start", "shim import ctypes", "shim open /lease", "shim open /claim"),
    "preload": ("shim open /dev/null", "shim os.putenv MARK", "shim open /lease", "shim open /claim"),
}


@pytest.fixture
def launches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Launches]]:
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    made: list[Launches] = []

    def of(launch: str) -> Launches:
        made.append(Launches(tmp_path, launch))
        return made[-1]

    with usual_signals():
        yield of
    for one in made:
        one.close()


@pytest.mark.parametrize(("launch", "name"), ROWS, ids=[f"{launch}: {name}" for launch, name in ROWS])
def test_a_signal_at_any_point_of_a_launch_costs_at_most_the_attempt(
    launches: Callable[[str], Launches], launch: str, name: str
) -> None:
    site = launches(launch)
    for number in SIGNALS:
        assert list(problems(site, TABLES[launch][name], number)) == [], number.name
    site.undisturbed()


WRAPPER = """#!/bin/sh
case "$*" in *{shim}*) [ -n "$POINT" ] && : > "$POINT_MARK" && kill -$POINT_SIGNAL $$ ;; esac
exec {python} "$@"
"""


def test_a_signal_before_the_interpreter_of_the_shim_starts_costs_at_most_the_attempt(
    launches: Callable[[str], Launches], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapper = tmp_path / "python"
    wrapper.write_text(WRAPPER.format(shim=SHIM, python=sys.executable))
    wrapper.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(wrapper))
    site = launches("spawn")
    for number in SIGNALS:
        assert list(problems(site, "shim exec", number)) == [], number.name
    site.undisturbed()


@pytest.mark.parametrize("launch", TABLES)
def test_a_hundred_shims_that_die_before_their_claim_lose_no_slot(
    launches: Callable[[str], Launches], launch: str
) -> None:
    site, points = launches(launch), BEFORE_THE_CLAIM[launch]
    for turn in range(SLOTS):
        point = points[turn % len(points)]
        assert list(problems(site, point, signal.SIGKILL)) == [], (turn, point)
    site.undisturbed()
