"""A few random runs; `make chaos` makes more. And what the script does with its outcomes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.faults import chaos
from tests.faults.chaos import ChaosOutcome, ChaosRun, main


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 4, 5])
def test_a_random_run_ends_as_an_undisturbed_one_and_leaves_nothing(seed: int) -> None:
    outcome = ChaosRun(seed).run()
    assert not outcome.problems, outcome


@pytest.mark.slow
@pytest.mark.parametrize("seed", [19, 39])
def test_so_does_one_with_checkpoints_by_torch(seed: int) -> None:
    outcome = ChaosRun(seed).run()
    assert (outcome.kind, outcome.problems) == ("torch", []), outcome


class Faked:
    """Runs that only say what they found; `tried` are their seeds."""

    tried: list[int]
    failing: set[int]

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def run(self) -> ChaosOutcome:
        self.tried.append(self.seed)
        problems = ["it hangs"] if self.seed in self.failing else []
        return ChaosOutcome(seed=self.seed, kind="plain", launch="spawn", problems=problems)


def test_seeds_that_passed_are_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Faked.tried, Faked.failing = [], {6}
    monkeypatch.setattr(chaos, "ChaosRun", Faked)
    save = tmp_path / "chaos.jsonl"
    arguments = ["--seed", "5", "--save", str(save), "--runs"]
    assert main([*arguments, "2"]) == 1
    assert "seed 6: it hangs" in capsys.readouterr().out
    Faked.failing = set()
    assert main([*arguments, "4"]) == 0
    assert Faked.tried == [5, 6, 6, 7, 8]
    lines = [json.loads(line) for line in save.read_text().splitlines()]
    assert [(line["seed"], line["problems"]) for line in lines][1:3] == [(6, ["it hangs"]), (6, [])]
