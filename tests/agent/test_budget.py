"""What agents caused is counted from the record, and what would be too much is refused before it begins."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from benchmarks.tokens import look_at
from sweeper.agent.act import Act
from sweeper.agent.answers import Done
from sweeper.agent.budget import Limits, share_of, spec_of
from sweeper.config import SweepSpec
from sweeper.errors import UsageError
from sweeper.record.derivation import REPAIR, START, Derivation
from sweeper.record.events import CommandGiven, Exit, Launched
from sweeper.record.facts import Facts
from sweeper.record.storage.codec import encode_file
from sweeper.record.storage.inbox import AddConfiguration, DeriveTrial, send
from sweeper.record.storage.journal import JournalWriter
from sweeper.record.storage.layout import SweepDir
from sweeper.record.storage.lease import Lease, acquire
from sweeper.service.open_run import OpenRun

AGENT, PERSON = "agent:a for ada on here", "ada on here"
HOUR = 3600.0


@dataclass
class Made:
    """A run that was made by hand: trials of one hour on one GPU each, the first at 1000 hours."""

    run: SweepDir
    lease: Lease | None = None

    def trial(self, number: int, *, lr: float, at: float | None = None, derived: Derivation | None = None) -> Made:
        directory = self.run.trial(number)
        attempt = directory.attempt(1)
        (directory.path if at is None else attempt.path).mkdir(parents=True)
        facts = Facts(
            number=number,
            configuration=number if derived is None else -number,
            seed=0,
            params={"lr": lr, "depth": 2},
            shown={"lr": lr},
            command=["true"],
            metric="loss",
            maximize=False,
            derived=derived,
        )
        directory.facts.write_text(json.dumps({"format": 1, **asdict(facts)}))
        if at is not None:
            with JournalWriter(directory.control) as control:
                control.append(Launched(time=at * HOUR, attempt=1, slot="gpu 0", gpus=1))
            end = Exit(time=(at + 1) * HOUR, attempt=1, code=0, signal=None, cause="", peak_memory_mb=1.0)
            attempt.exit.write_bytes(encode_file(end))
        return self

    def given(self, do: str, by: str, at: float, trials: tuple[int, ...] = (), **params: object) -> Made:
        with JournalWriter(self.run.log) as log:
            log.append(CommandGiven(time=at * HOUR, do=do, trials=trials, by=by, because="x", params=params))
        return self

    def again(self, number: int, *, at: float) -> Made:
        """A second attempt of a trial, of an hour too."""
        attempt = self.run.trial(number).attempt(2)
        attempt.path.mkdir()
        with JournalWriter(self.run.trial(number).control) as control:
            control.append(Launched(time=at * HOUR, attempt=2, slot="gpu 0", gpus=1))
        end = Exit(time=(at + 1) * HOUR, attempt=2, code=0, signal=None, cause="", peak_memory_mb=1.0)
        attempt.exit.write_bytes(encode_file(end))
        return self

    def running(self) -> Made:
        self.lease = acquire(self.run.lease, holder="pid 1 on here")
        return self

    @property
    def share(self) -> tuple[int, float, float]:
        found = share_of(OpenRun(self.run))
        return found.trials, round(found.gpu_hours, 6), round(found.reserved, 6)


def made(
    folder: Path,
    name: str = "made",
    *,
    trials: int = 4,
    gpu_hours: float | None = None,
    seeds: int = 1,
    repairs: int = 0,
) -> Made:
    early_stop = {"repair": "auto", "max_repairs": repairs} if repairs else None
    spec = SweepSpec.from_json(
        {
            "name": name,
            "method": "grid",
            "command": ["true"],
            "metric": {"name": "loss", "goal": "minimize"},
            "parameters": {"lr": {"values": [*range(1, trials + 1)]}, "depth": {"value": 2}},
            "seeds": [*range(seeds)],
            "budget": {"gpu_hours": gpu_hours},
            "early_stop": early_stop,
        }
    )
    run = SweepDir(folder / name)
    run.path.mkdir(parents=True)
    run.spec.write_text(json.dumps({"format": 2, "spec": spec.to_json()}))
    return Made(run)


def test_what_a_person_started_does_not_count(tmp_path: Path) -> None:
    run = made(tmp_path).given("run", PERSON, 999).trial(0, lr=1, at=1000).trial(1, lr=2, at=1000)
    assert run.share == (0, 0, 0)


def test_of_a_run_that_an_agent_started_the_trials_that_were_started_count(tmp_path: Path) -> None:
    run = made(tmp_path).given("run", AGENT, 999).trial(0, lr=1, at=1000).trial(1, lr=2, at=1001).trial(2, lr=3)
    assert run.share == (2, 2, 0)


def test_while_it_runs_all_that_are_planned_count_and_its_own_budget_is_reserved(tmp_path: Path) -> None:
    run = made(tmp_path, trials=4, gpu_hours=10).given("run", AGENT, 999).trial(0, lr=1, at=1000).running()
    assert run.share == (4, 1, 9)


def test_what_ran_before_an_agent_resumed_it_does_not_count(tmp_path: Path) -> None:
    run = made(tmp_path).trial(0, lr=1, at=1000).given("run", AGENT, 1005).trial(1, lr=2, at=1010)
    assert run.share == (1, 1, 0)
    assert run.running().share == (3, 1, 0)


def test_of_other_runs_the_configurations_count_that_an_agent_added(tmp_path: Path) -> None:
    run = (
        made(tmp_path).trial(0, lr=1, at=1000).given("add", AGENT, 1002, lr=9, depth=2).given("add", PERSON, 1002, lr=8)
    )
    run.trial(4, lr=8, at=1003)
    assert run.share == (1, 0, 0)  # its trial is not made yet
    assert run.trial(5, lr=9, at=1003).share == (1, 1, 0)


def test_an_existing_trial_is_not_counted_because_an_agent_asked_for_its_configuration(tmp_path: Path) -> None:
    assert made(tmp_path).trial(0, lr=1, at=1000).given("add", AGENT, 1002, lr=1, depth=2).share == (0, 0, 0)


def test_configurations_that_wait_in_the_inbox_count_for_each_seed(tmp_path: Path) -> None:
    run = made(tmp_path, seeds=3)
    send(run.run, AddConfiguration(params={"lr": 7, "depth": 2}, by=AGENT))
    send(run.run, AddConfiguration(params={"lr": 8, "depth": 2}, by=PERSON))
    assert run.share == (3, 0, 0)


def test_a_configuration_that_was_read_twice_counts_once(tmp_path: Path) -> None:
    run = made(tmp_path).given("add", AGENT, 1000, lr=9, depth=2).given("add", AGENT, 1001, lr=9, depth=2)
    send(run.run, AddConfiguration(params={"lr": 9, "depth": 2}, by=AGENT))
    assert run.share == (1, 0, 0)


def test_while_a_run_with_repairs_runs_all_that_its_file_allows_count(tmp_path: Path) -> None:
    run = made(tmp_path, trials=4, repairs=2).given("run", AGENT, 999).trial(0, lr=1, at=1000).running()
    assert run.share == (12, 1, 0)
    run.trial(1, lr=0.1, at=1001, derived=repair_of(0)).trial(2, lr=0.01, at=1002, derived=repair_of(1))
    assert run.share == (12, 3, 0)
    assert run.lease is not None
    run.lease.release()
    assert run.share == (3, 3, 0)


def test_a_derived_trial_counts_beside_those_that_are_planned(tmp_path: Path) -> None:
    run = made(tmp_path, trials=4).given("run", AGENT, 999).trial(0, lr=1, at=1000).running()
    assert run.trial(1, lr=0.1, at=1001, derived=Derivation(parent=0, by=AGENT)).share == (5, 2, 0)


def test_repairs_from_before_an_agent_resumed_a_run_do_not_count(tmp_path: Path) -> None:
    run = made(tmp_path, trials=4, repairs=1).trial(0, lr=1, at=1000).trial(1, lr=0.1, at=1001, derived=repair_of(0))
    assert run.given("run", AGENT, 1005).running().share == (6, 0, 0)


def test_the_repairs_of_a_configuration_that_an_agent_added_count(tmp_path: Path) -> None:
    run = made(tmp_path, repairs=2).given("add", AGENT, 1002, lr=9, depth=2)
    assert run.share == (3, 0, 0)  # its trial is not made yet
    run.trial(5, lr=9, at=1003).trial(6, lr=0.9, at=1004, derived=repair_of(5))
    run.trial(7, lr=1, at=1003).trial(8, lr=0.1, at=1004, derived=repair_of(7))  # of a person
    assert run.share == (2, 2, 0)
    assert run.running().share == (3, 2, 0)


def test_an_addition_needs_what_its_repairs_may_need(tmp_path: Path) -> None:
    made(tmp_path, repairs=2)
    with pytest.raises(UsageError, match="needs 3 more trials"):
        add(tmp_path, Limits(trials=2))


def test_the_hours_of_a_trial_count_since_an_agent_revived_it(tmp_path: Path) -> None:
    run = made(tmp_path).trial(0, lr=1, at=1000).trial(1, lr=2, at=1000)
    run.given("revive", AGENT, 1005, trials=(0,)).given("resume", PERSON, 1005, trials=(1,))
    assert run.again(0, at=1006).again(1, at=1006).share == (0, 1, 0)
    assert run.given("run", AGENT, 1008).share == (0, 1, 0)


def repair_of(number: int) -> Derivation:
    return Derivation(parent=number, by=REPAIR)


def test_a_run_that_cannot_be_read_is_named_and_stops_no_look(tmp_path: Path) -> None:
    made(tmp_path, "good").given("run", AGENT, 999).trial(0, lr=1, at=1000)
    bad = made(tmp_path, "bad").given("run", AGENT, 999).trial(0, lr=1, at=1000)
    bad.run.spec.write_text("{")
    look = look_at(tmp_path, limits=Limits(trials=4, gpu_hours=3))
    assert {item.name: item.state for item in look.runs().runs} == {"bad": "UNREADABLE", "good": "COMPLETE"}
    allowance = look.state("good").allowance
    assert allowance is not None
    assert (allowance.trials_used, allowance.not_counted) == (1, ["bad"])
    with pytest.raises(UsageError, match=r"got damage in bad; .*`sweeper verify RUN`"):
        add(tmp_path, Limits(trials=4), "good")
    with pytest.raises(UsageError, match="got damage in bad"):
        Act(look).revive("good", 0, "to try")


def test_a_command_is_confirmed_beside_a_run_that_cannot_be_read(tmp_path: Path) -> None:
    good, bad = made(tmp_path, "good").trial(0, lr=1).running(), made(tmp_path, "bad").given("run", AGENT, 999)
    bad.run.spec.write_text("{")
    done = Act(look_at(tmp_path, limits=Limits(trials=4))).stop("good", "to try")
    assert (done.allowance or pytest.fail("no allowance")).not_counted == ["bad"]
    assert len(list(good.run.inbox.glob("*.json"))) == 1


def add(folder: Path, limits: Limits, name: str = "made", lr: float = 9) -> Done:
    return Act(look_at(folder, limits=limits)).add(name, {"lr": lr}, "to try")


def test_an_addition_above_the_trials_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    run = made(tmp_path, seeds=2)
    added = add(tmp_path, Limits(trials=4))
    assert added.allowance is not None
    assert (added.allowance.trials_used, added.allowance.max_trials) == (2, 4)
    add(tmp_path, Limits(trials=4), lr=10)  # another server: nothing is kept in one
    with pytest.raises(UsageError, match=r"needs 2 more trials, and 4 of 4 that agents may cause .*--max-trials"):
        add(tmp_path, Limits(trials=4), lr=11)
    assert len(list(run.run.inbox.glob("*.json"))) == 2


def test_the_runs_of_a_folder_share_one_budget(tmp_path: Path) -> None:
    made(tmp_path, "one")
    made(tmp_path, "other")
    add(tmp_path, Limits(trials=1), "one")
    with pytest.raises(UsageError, match="1 of 1"):
        add(tmp_path, Limits(trials=1), "other")


def test_after_the_gpu_hours_nothing_is_added_resumed_or_revived(tmp_path: Path) -> None:
    run = made(tmp_path).given("run", AGENT, 999).trial(0, lr=1, at=1000).trial(1, lr=2, at=1000)
    add(tmp_path, Limits(gpu_hours=2.5))
    act = Act(look_at(tmp_path, limits=Limits(gpu_hours=2)))
    with pytest.raises(UsageError, match="agents have used 2 of 2 GPU hours"):
        act.add("made", {"lr": 10}, "to try")
    with pytest.raises(UsageError, match="GPU hours"):
        act.revive("made", 0, "to try")
    with pytest.raises(UsageError, match="GPU hours"):
        act.resume("made", "to try")
    assert len(list(run.run.inbox.glob("*.json"))) == 1


def test_a_configuration_that_exists_is_not_added_again(tmp_path: Path) -> None:
    made(tmp_path).trial(3, lr=4)
    with pytest.raises(UsageError, match="trial 3 has this configuration already"):
        add(tmp_path, Limits(), lr=4)


SWEEP = """
name: big
method: grid
command: [sleep, '60']
metric: {name: loss, goal: minimize}
parameters: {lr: {values: [1, 2, 3]}}
"""


@pytest.mark.parametrize(
    ("overrides", "limits", "expected"),
    [
        ([], Limits(trials=2), "big needs 3 more trials, and 0 of 2"),
        (["parameters.lr.values=[1,2,3,4,5]"], Limits(trials=4), "needs 5 more trials"),
        (["early_stop={repair: auto}"], Limits(trials=4), "big, with 2 repairs of each trial, needs 9 more trials"),
        (["method=random", "parameters.lr={min: 0.0, max: 1.0}"], Limits(trials=4), "this sweep has no end"),
    ],
    ids=["grid", "overridden", "repaired", "endless"],
)
def test_a_start_above_the_trials_is_refused_before_it_begins(
    overrides: list[str], limits: Limits, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    (tmp_path / "runs").mkdir()
    look = look_at(tmp_path / "runs", limits=limits)
    look.directory = tmp_path
    with pytest.raises(UsageError, match=expected):
        Act(look).run("sweep.yaml", "to try", overrides)
    assert not list((tmp_path / "runs").iterdir())


def test_a_run_gets_only_the_gpu_hours_that_are_left(tmp_path: Path) -> None:
    made(tmp_path, "old").given("run", AGENT, 999).trial(0, lr=1, at=1000)
    busy = made(tmp_path, "busy", gpu_hours=4).given("run", AGENT, 999).trial(0, lr=1, at=1000).running()
    budget = look_at(tmp_path, limits=Limits(gpu_hours=8)).budget
    assert budget.hours_for("new") == pytest.approx(3)  # 8, without 1 of the old one and 4 of the busy one
    assert busy.lease is not None
    busy.lease.release()
    assert budget.hours_for("new") == pytest.approx(6)
    assert budget.hours_for("old") == pytest.approx(7)  # its own hour counts as used, and as part of its own budget
    with pytest.raises(UsageError, match=r"of 1 GPU hours .* 2 are used"):
        look_at(tmp_path, limits=Limits(gpu_hours=1)).budget.hours_for("new")


def test_a_sweep_that_became_larger_than_what_was_allowed_is_interrupted(tmp_path: Path) -> None:
    small, large = made(tmp_path, "small", trials=3), made(tmp_path, "large", trials=9).running()
    act = Act(look_at(tmp_path, limits=Limits(trials=5)))
    act._verify(small.run, spec_of(small.run), None)
    with pytest.raises(UsageError, match="the sweep file was changed while it was started"):
        act._verify(large.run, spec_of(small.run), None)
    (command,) = [json.loads(path.read_text()) for path in large.run.inbox.glob("*.json")]
    assert (command["do"], command["because"]) == ("stop", "its file was changed after its budget was checked")


def test_a_derived_trial_that_waits_in_the_inbox_counts(tmp_path: Path) -> None:
    run = made(tmp_path, seeds=3).trial(0, lr=1, at=1000)
    send(run.run, DeriveTrial(number=0, changes={"lr": 7}, at=START, by=AGENT))
    send(run.run, DeriveTrial(number=0, changes={"lr": 8}, at=START, by=PERSON))
    assert run.share == (1, 0, 0)


def test_a_trial_that_an_agent_derived_counts_with_its_hours(tmp_path: Path) -> None:
    run = made(tmp_path).trial(0, lr=1, at=1000)
    for number, by in ((4, AGENT), (5, PERSON)):
        run.trial(number, lr=7, at=1003)
        facts = run.run.trial(number).facts
        derived = {"configuration": -number, "derived": asdict(Derivation(parent=0, by=by))}
        facts.write_text(json.dumps(json.loads(facts.read_text()) | derived))
    assert run.share == (1, 1, 0)
