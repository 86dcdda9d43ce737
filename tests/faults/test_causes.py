"""Why attempts end and what follows, in real sweeps of real processes; what happens at any moment is in the matrix."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import sweeper
from sweeper.config import SweepSpec
from sweeper.executors.executor import Slot
from sweeper.executors.local import LocalExecutor
from sweeper.executors.processes import kill_marked
from sweeper.orchestrator.loop import Orchestrator
from sweeper.orchestrator.opening import open_run
from sweeper.orchestrator.plan import Timeouts
from sweeper.record.events import Told
from sweeper.record.storage.journal import read_journal
from sweeper.record.storage.layout import AttemptDir, SweepDir
from sweeper.record.trial import State, TrialRecord
from sweeper.results.comparison.configurations import configuration_results
from sweeper.results.receipt import receipt
from sweeper.results.snapshot import Display, SweepView
from sweeper.results.status import read_sweep, to_json
from sweeper.search import search_for

PATIENCE_S = 150.0

HEAD = """
import ctypes, os, signal, sys, time
import sweeper
FIRST = os.environ["SWEEPER_ATTEMPT"] == "1"
def me(number):
    os.kill(os.getpid(), number)
    time.sleep(60)
"""


class Watching(Display):
    """A display that keeps what was said, and may do something at each update."""

    def __init__(self, then: Callable[[SweepView], None]) -> None:
        self.messages: Sequence[str] = ()
        self._then = then

    def update(self, sweep: SweepView) -> None:
        self.messages = sweep.messages
        self._then(sweep)


class Ended:
    """A sweep that has ended: how, what was said, and its trials as `sweeper status` reads them."""

    def __init__(self, run: SweepDir, outcome: str, messages: Sequence[str]) -> None:
        self.run = run
        self.outcome = outcome
        self.said = "\n".join(messages)
        self.trials: Sequence[TrialRecord] = read_sweep(run).trials

    def slots_of(self, number: int) -> list[str]:
        return [attempt.slot for attempt in self.trials[number].attempts]


Sweep = Callable[..., Ended]


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sweep]:
    """Runs a sweep over `values` of the parameter `x`, in this process, to its end."""
    monkeypatch.setenv("PYTHONPATH", str(Path(sweeper.__file__).parents[1]))
    run = SweepDir(tmp_path / "runs" / "causes")
    executors: list[LocalExecutor] = []

    def go(
        script: str,
        values: Sequence[object],
        *,
        executor: LocalExecutor | None = None,
        timeouts: Timeouts | None = None,
        then: Callable[[SweepView], None] = lambda _: None,
        **keys: object,
    ) -> Ended:
        (tmp_path / "train.py").write_text(HEAD + script)
        file: dict[str, Any] = {
            "name": "causes",
            "method": "grid",
            "metric": {"name": "m", "goal": "maximize"},
            "command": [sys.executable, str(tmp_path / "train.py")],
            "parameters": {"x": {"values": list(values)}},
            "retry": {"backoff_s": 0},
        }
        spec = SweepSpec.from_json({**file, **keys})
        executors.append(executor or LocalExecutor(slots("a", "b")))
        opened = open_run(spec, text=b"", runs=run.path.parent, provenance=dict, say=lambda _: None)
        show = Watching(then)
        orchestrator = Orchestrator(
            opened,
            executor=executors[-1],
            search=search_for(spec),
            rules=[],
            display=show,
            timeouts=timeouts,
        )
        outcome = orchestrator.run()
        opened.lease.release()
        return Ended(run, outcome, show.messages)

    yield go
    for trial in run.trials():
        for attempt in trial.attempts():
            LocalExecutor([]).kill(attempt)
            kill_marked(attempt)
    for executor in executors:
        while any(shim.poll() is None for shim in executor._shims.values()):
            time.sleep(0.01)


def slots(*names: str, **environment: str) -> list[Slot]:
    return [Slot(name=name, environment={"OMP_NUM_THREADS": "1", **environment}) for name in names]


def causes(trial: TrialRecord) -> list[str]:
    return [attempt.cause for attempt in trial.attempts]


class LateWord(LocalExecutor):
    """Says of an attempt only that it has ended, and not before: each ends between two looks at it."""

    def is_alive(self, attempt: AttemptDir) -> bool:
        while super().is_alive(attempt):
            time.sleep(0.01)
        return False


def test_a_worker_that_ends_between_reading_its_record_and_its_process_is_not_lost(sweep: Sweep) -> None:
    script = "with sweeper.trial() as trial:\n    trial.report({'m': 1.0}, step=0)\n    time.sleep(2)\n"
    ended = sweep(script, [1, 2, 3], executor=LateWord(slots("a", "b")))
    assert [(trial.state, len(trial.attempts)) for trial in ended.trials] == [(State.COMPLETE, 1)] * 3
    assert not any(attempt.lost for trial in ended.trials for attempt in trial.attempts)


ENDS = """
with sweeper.trial() as trial:
    how = trial.params["x"]
    trial.report({"m": 1.0}, step=0)
    if how == "exception": raise ValueError("no luck")
    if how == "exit": sys.exit(3)
    if how == "segfault": ctypes.string_at(0)
    if how == "abort": os.abort()
    if how == "killed": me(signal.SIGKILL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may be run under nohup, which is inherited
    if how == "hangup": me(signal.SIGHUP)
    if how == "told":
        os.kill(os.getpid(), signal.SIGTERM)
        while not trial.should_stop: time.sleep(0.01)
"""


def test_a_strangers_signal_is_retried_and_the_scripts_own_end_is_not(sweep: Sweep) -> None:
    values = ["exception", "exit", "segfault", "abort", "killed", "hangup", "told"]
    ended = sweep(ENDS, values, executor=LocalExecutor(slots(*values)), retry={"max": 1, "backoff_s": 0})
    assert ended.outcome == "failed"
    assert {str(t.facts.params["x"]): causes(t) for t in ended.trials} == {
        "exception": ["error"],
        "exit": ["error"],
        "segfault": ["error"],
        "abort": ["error"],
        "killed": ["killed", "killed"],
        "hangup": ["killed", "killed"],
        "told": ["stopped", "stopped"],
    }
    assert {trial.state for trial in ended.trials} == {State.FAIL}
    assert "Trial 0004 ended: killed (SIGKILL, not sent by sweeper); it will be restarted (retry 1 of 1)" in ended.said
    whys = [receipt(trial) for trial in ended.trials]
    assert "error (SIGSEGV)" in whys[2]
    assert "ValueError: no luck (exit code 1)" in whys[0]
    assert "stopped (by a signal that sweeper did not send)" in whys[6]
    kept = to_json(read_sweep(ended.run))["trials"]
    assert isinstance(kept, list)
    assert [trial["cause"] for trial in kept[4:]] == ["killed", "killed", "stopped"]


SAVES_AND_EXITS = """
def saved(*_):
    sys.exit(0 if sys.argv[1] == "--x=0" else 1)
signal.signal(signal.SIGTERM, saved)
if FIRST:
    os.kill(os.getppid(), signal.SIGTERM)  # as a batch system ends the process that it knows
    time.sleep(60)
"""


def test_a_script_that_ends_by_itself_after_a_stop_from_outside_is_neither_complete_nor_failed(
    sweep: Sweep, tmp_path: Path
) -> None:
    command = [sys.executable, str(tmp_path / "train.py"), "${args}"]
    ended = sweep(SAVES_AND_EXITS, [0, 1], command=command)
    assert ended.outcome == "complete"
    assert [causes(trial) for trial in ended.trials] == [["stopped", ""], ["stopped", ""]]
    assert "stopped (by a signal that sweeper did not send)" in receipt(ended.trials[0])


ONCE = """
with sweeper.trial() as trial:
    trial.report({"m": 1.0}, step=0)
    if FIRST: sys.exit(3)
"""


def test_an_error_is_retried_where_the_file_says_so(sweep: Sweep) -> None:
    ended = sweep(ONCE, [1], retry={"on": ["error"], "backoff_s": 0.5})
    assert ended.outcome == "complete"
    assert causes(ended.trials[0]) == ["error", ""]
    assert "error (exit code 3); it will be restarted in 0.5 s (retry 1 of 2)" in ended.said


def test_a_command_that_reports_no_steps_is_never_hung(sweep: Sweep) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(3)", "${args}"]
    ended = sweep("", [1], command=command, timeouts=Timeouts(hang_after_s=0.5))
    assert ended.outcome == "complete"
    assert causes(ended.trials[0]) == [""]


DEAF = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
with sweeper.trial() as trial:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    trial.report({"m": 1.0}, step=0)
    if FIRST and trial.params["x"] == 0: time.sleep(120)
"""


def interrupt_once() -> Callable[[SweepView], None]:
    """A person at the keyboard, as soon as a trial has made a step."""
    sent: list[int] = []

    def look(sweep: SweepView) -> None:
        if not sent and any(trial.progress.step >= 0 for trial in sweep.trials):
            sent.append(1)
            os.kill(os.getpid(), signal.SIGINT)

    return look


def test_a_worker_that_ignores_a_stop_is_killed_after_its_grace(sweep: Sweep) -> None:
    ended = sweep(DEAF, [0], timeouts=Timeouts(grace_s=1), then=interrupt_once())
    assert ended.outcome == "interrupted"
    (trial,) = ended.trials
    assert trial.newest.exit is not None
    assert trial.newest.exit.signal == signal.SIGKILL
    assert [attempt.number for attempt in trial.attempts if attempt.killed] == [1]
    assert trial.state is State.WAITING
    assert "killed (SIGKILL, sent by sweeper)" in receipt(trial)


BAD_PLACE = """
if "BAD" in os.environ: me(signal.SIGKILL)
with sweeper.trial() as trial:
    trial.report({"m": 1.0}, step=0)
"""


def test_a_slot_on_which_attempt_after_attempt_is_killed_is_used_no_more(sweep: Sweep) -> None:
    executor = LocalExecutor([*slots("bad", BAD="1"), *slots("good")])
    ended = sweep(BAD_PLACE, range(5), executor=executor)
    assert ended.outcome == "complete"
    places = [slot for number in range(5) for slot in ended.slots_of(number)]
    assert places.count("bad") == 3
    assert "No more attempts are launched on slot bad" in ended.said
    assert "3 attempts in a row failed there without an error of the script " in ended.said


def test_a_sweep_without_a_slot_left_ends_and_burns_no_trials(sweep: Sweep) -> None:
    ended = sweep(BAD_PLACE, range(6), executor=LocalExecutor(slots("a", BAD="1")))
    assert ended.outcome == "failed"
    assert sum(len(trial.attempts) for trial in ended.trials) == 3
    assert {trial.state for trial in ended.trials} == {State.WAITING}
    assert (
        "No usable slot is left. The sweep ends when the running trials have ended; 6 trials still wait" in ended.said
    )


def test_commands_that_cannot_be_started_are_not_retried_and_end_the_sweep(sweep: Sweep) -> None:
    command = ["/no/such/interpreter", "${args}"]
    ended = sweep("", range(6), executor=LocalExecutor(slots("a")), command=command)
    assert ended.outcome == "failed"
    states = [trial.state for trial in ended.trials]
    assert (states.count(State.FAIL), states.count(State.WAITING)) == (2, 4)
    assert "Held: 0000, 0001 failed at the start, and no trial has run: not-found" in ended.said
    assert "not-found (the command cannot be started, exit code 127)" in receipt(ended.trials[0])


LOST = """
with sweeper.trial() as trial:
    if os.environ["SWEEPER_TRIAL_DIR"].endswith("0000"):
        os.kill(os.getppid(), signal.SIGKILL)
        me(signal.SIGKILL)
    trial.report({"m": 1.0}, step=0)
"""


def test_a_search_goes_on_after_its_only_running_trial_is_lost(sweep: Sweep) -> None:
    """Nothing waits and nothing runs in the tick that finds the trial lost, but the search has more proposals."""
    keys = {"method": "random", "run_cap": 3, "parameters": {"x": {"min": 0.0, "max": 1.0}}, "retry": {"max": 0}}
    ended = sweep(LOST, [0], executor=LocalExecutor(slots("a")), **keys)
    assert [trial.state for trial in ended.trials] == [State.FAIL, State.COMPLETE, State.COMPLETE]


NOT_FINITE = """
with sweeper.trial() as trial:
    for step, value in enumerate([0.5, float("inf"), float("nan"), trial.params["x"], float("nan")]):
        trial.report({"m": float(value)}, step=step)
"""


def test_a_value_that_is_not_finite_is_no_trials_best(sweep: Sweep) -> None:
    ended = sweep(NOT_FINITE, ["inf", "0.75", "-inf"], metric={"name": "m", "goal": "maximize"})
    assert [trial.value for trial in ended.trials] == [0.5, 0.75, 0.5]
    kept = json.loads(json.dumps(to_json(read_sweep(ended.run)), allow_nan=False))
    assert [trial["value"] for trial in kept["trials"]] == [0.5, 0.75, 0.5]
    told = {e.configuration: e.value for e in read_journal(ended.run.search) if isinstance(e, Told)}
    assert told == {0: 0.5, 1: 0.75, 2: 0.5}
    assert configuration_results(ended.trials)[0].mean == 0.75
