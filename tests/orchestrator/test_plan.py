"""A table of situations and the actions that are planned in them."""

from __future__ import annotations

import pytest

from sweeper.orchestrator.plan import (
    AbandonAttempt,
    Action,
    ContinueTrial,
    DeclareLost,
    KillAttempt,
    LaunchAttempt,
    MarkUnkillable,
    PauseTrial,
    RepeatStop,
    ResumeTrial,
    ReviveTrial,
    Situation,
    StopTrial,
    Timeouts,
    plan,
)
from sweeper.record.causes import Cause
from sweeper.record.decision import PERSON, Decision
from sweeper.record.events import (
    Abandoned,
    Continued,
    Event,
    Exit,
    KillSent,
    Launched,
    Lost,
    Metrics,
    Started,
    StopRequested,
)
from sweeper.record.storage.inbox import TrialCommand
from sweeper.record.trial import HistoryEntry, TrialRecord
from tests.record.trials import trial_of

DECISION = Decision(rule="stalled", step=100, reason="because", evidence={"reach": 1e-4})


def trial(number: int, *control: Event, code: int | None = None) -> TrialRecord:
    exits = [] if code is None else [Exit(attempt=1, code=code, signal=None, cause="", peak_memory_mb=1)]
    return trial_of(control, exits=exits, number=number)


LAUNCHED = Launched(attempt=1, slot="a")
ASKED = StopRequested(attempt=1, cause="interrupted")
PAUSE = TrialCommand.PAUSE
BY_HAND = Decision(rule=PERSON, step=3, reason="it was asked for", evidence={"by": "me"})
ENDED = StopRequested(attempt=1, cause="pruned", decision=BY_HAND)
SPARED = Continued(attempt=1, cause="observed", decision=DECISION)
RUNNING, WAITING = trial(0, LAUNCHED), trial(1)
OPENED = trial_of([LAUNCHED], [Started(pid=1, host="h", attempt=1)])
READ = RUNNING.with_history([HistoryEntry(1, 1, Metrics(step=3, values={"loss": 1.0}), collected=True)])
HUNG = Abandoned(attempt=1, cause="hung", reason="no step")
GONE = Abandoned(attempt=1, cause="lost", reason="fallen off the bus")
KILLED = trial(0, LAUNCHED, Lost(attempt=1))
SHORT = Timeouts(grace_s=9, stacks_s=2, kill_s=3, hang_after_s=100)


@pytest.mark.parametrize(
    ("situation", "actions"),
    [
        (Situation(trials=[], alive=set(), free_slots=["a"]), []),
        (  # a user stops a running, a waiting and a paused trial
            Situation(
                trials=[RUNNING, WAITING],
                alive={0},
                free_slots=["a"],
                commands=dict.fromkeys([0, 1, 7], TrialCommand.STOP),
                to_stop=dict.fromkeys([0, 1, 7], BY_HAND),
            ),
            [StopTrial(number=number, decision=BY_HAND) for number in (0, 1, 7)],
        ),
        (  # also a trial that was asked to stop already, or was continued
            Situation(trials=[trial(0, LAUNCHED, ASKED)], alive={0}, free_slots=[], to_stop={0: BY_HAND}),
            [StopTrial(number=0, decision=BY_HAND)],
        ),
        (
            Situation(
                trials=[trial(0, LAUNCHED, SPARED)],
                alive={0},
                free_slots=[],
                decisions={0: DECISION},
                continued={0: "observed"},
                to_stop={0: BY_HAND},
            ),
            [StopTrial(number=0, decision=BY_HAND)],
        ),
        (  # a repeated command changes nothing
            Situation(
                trials=[trial(0, LAUNCHED, ENDED)], alive={0}, free_slots=[], to_stop={0: BY_HAND}, stop_since={0: 0}
            ),
            [],
        ),
        (
            Situation(trials=[RUNNING], alive=set(), free_slots=[], to_stop={0: BY_HAND}),
            [DeclareLost(number=0), StopTrial(number=0, decision=BY_HAND)],
        ),
        (  # pausing is recorded before the stop; a waiting trial is not launched
            Situation(trials=[RUNNING, WAITING], alive={0}, free_slots=["a"], commands={0: PAUSE, 1: PAUSE}),
            [PauseTrial(number=0), PauseTrial(number=1), StopTrial(number=0, decision=None)],
        ),
        (
            Situation(trials=[RUNNING], alive={0}, free_slots=[], commands={0: PAUSE}, decisions={0: DECISION}),
            [PauseTrial(number=0), StopTrial(number=0, decision=DECISION)],
        ),
        (
            Situation(
                trials=[WAITING],
                alive=set(),
                free_slots=["a"],
                commands={7: TrialCommand.RESUME, 8: TrialCommand.REVIVE},
                to_revive=[9],
            ),
            [ResumeTrial(number=7), ReviveTrial(number=8), ReviveTrial(number=9), LaunchAttempt(number=1, slot="a")],
        ),
        (  # in the given order, not by number
            Situation(trials=[trial(2), WAITING], alive=set(), free_slots=["a"]),
            [LaunchAttempt(number=2, slot="a")],
        ),
        (Situation(trials=[WAITING, trial(2)], alive=set(), free_slots=["a"]), [LaunchAttempt(number=1, slot="a")]),
        (
            Situation(trials=[WAITING, trial(2)], alive=set(), free_slots=["a"], over_budget={1}),
            [LaunchAttempt(number=2, slot="a")],
        ),
        (Situation(trials=[WAITING], alive=set(), free_slots=[]), []),
        (Situation(trials=[WAITING], alive=set(), free_slots=["a"], stopping=True), []),
        (Situation(trials=[RUNNING], alive={0}, free_slots=[]), []),
        (Situation(trials=[RUNNING], alive=set(), free_slots=[]), [DeclareLost(number=0)]),
        (Situation(trials=[RUNNING], alive={0}, free_slots=[], stopping=True), [StopTrial(number=0, decision=None)]),
        (
            Situation(trials=[RUNNING], alive={0}, free_slots=[], decisions={0: DECISION}),
            [StopTrial(number=0, decision=DECISION)],
        ),
        (
            Situation(trials=[RUNNING], alive={0}, free_slots=[], decisions={0: DECISION}, stopping=True),
            [StopTrial(number=0, decision=DECISION)],
        ),
        (
            Situation(
                trials=[trial(0, LAUNCHED, ASKED)], alive={0}, free_slots=[], decisions={0: DECISION}, stop_since={0: 0}
            ),
            [],
        ),
        (
            Situation(trials=[RUNNING], alive={0}, free_slots=[], decisions={0: DECISION}, continued={0: "observed"}),
            [ContinueTrial(number=0, decision=DECISION, why="observed")],
        ),
        (
            Situation(
                trials=[trial(0, LAUNCHED, SPARED)],
                alive={0},
                free_slots=[],
                decisions={0: DECISION},
                continued={0: "observed"},
            ),
            [],
        ),
        (
            Situation(
                trials=[trial(0, LAUNCHED, SPARED)],
                alive={0},
                free_slots=[],
                decisions={0: DECISION},
                continued={0: "observed"},
                stopping=True,
            ),
            [StopTrial(number=0, decision=None)],
        ),
        (Situation(trials=[trial(0, LAUNCHED, ASKED)], alive={0}, free_slots=[]), [RepeatStop(number=0)]),
        (Situation(trials=[trial(0, LAUNCHED, code=0)], alive=set(), free_slots=[], decisions={0: DECISION}), []),
        (
            Situation(
                trials=[trial(0, LAUNCHED, ASKED)],
                alive={0},
                free_slots=[],
                stop_since={0: 5},
                now=15,
                timeouts=SHORT,
            ),
            [KillAttempt(number=0)],
        ),
        (
            Situation(
                trials=[trial(0, LAUNCHED, ASKED)],
                alive={0},
                free_slots=[],
                stop_since={0: 5},
                now=13,
                timeouts=SHORT,
            ),
            [],
        ),
        (
            Situation(trials=[trial(0, LAUNCHED, ASKED)], alive={0}, free_slots=[], killing=True, stop_since={0: 0}),
            [KillAttempt(number=0)],
        ),
        (
            Situation(trials=[RUNNING], alive={0}, free_slots=[], killing=True, stopping=True),
            [StopTrial(number=0, decision=None), KillAttempt(number=0)],
        ),
        (
            Situation(
                trials=[trial(0, LAUNCHED, ASKED, KillSent(attempt=1))],
                alive={0},
                free_slots=[],
                killing=True,
                stop_since={0: 0},
                kill_since={0: 0},
            ),
            [],
        ),
        # A hang is abandoned once, counted from the launch or the newest step, and only if the trial was opened, or if
        # its metrics are read from what it writes.
        (
            Situation(trials=[OPENED], alive={0}, free_slots=[], step_since={0: 5}, now=106, timeouts=SHORT),
            [AbandonAttempt(number=0, cause=Cause.HUNG, reason="no step for 101 s, and hang_after_s is 100")],
        ),
        (Situation(trials=[OPENED], alive={0}, free_slots=[], step_since={0: 5}, now=105, timeouts=SHORT), []),
        (Situation(trials=[OPENED], alive={0}, free_slots=[], step_since={0: 5}, now=1e9), []),
        (Situation(trials=[RUNNING], alive={0}, free_slots=[], step_since={0: 5}, now=1e9, timeouts=SHORT), []),
        (
            Situation(trials=[READ], alive={0}, free_slots=[], step_since={0: 5}, now=106, timeouts=SHORT),
            [AbandonAttempt(number=0, cause=Cause.HUNG, reason="no step for 101 s, and hang_after_s is 100")],
        ),
        (
            Situation(
                trials=[OPENED.after([ASKED])],
                alive={0},
                free_slots=[],
                stop_since={0: 105},
                step_since={0: 5},
                now=106,
                timeouts=SHORT,
            ),
            [],
        ),
        (
            Situation(
                trials=[trial(0, LAUNCHED, HUNG)],
                alive={0},
                free_slots=[],
                stacks_since={0: 4},
                now=6,
                timeouts=SHORT,
            ),
            [],
        ),
        (
            Situation(
                trials=[trial(0, LAUNCHED, HUNG)],
                alive={0},
                free_slots=[],
                stacks_since={0: 4},
                now=7,
                timeouts=SHORT,
            ),
            [KillAttempt(number=0)],
        ),
        (Situation(trials=[trial(0, LAUNCHED, HUNG)], alive={0}, free_slots=[]), [KillAttempt(number=0)]),
        # A lost device.
        (
            Situation(trials=[RUNNING], alive={0}, free_slots=[], faults={"a": "fallen off the bus"}),
            [AbandonAttempt(number=0, cause=Cause.LOST, reason="fallen off the bus")],
        ),
        (Situation(trials=[RUNNING], alive={0}, free_slots=[], faults={"b": "fallen off the bus"}), []),
        (
            Situation(trials=[trial(0, LAUNCHED, GONE)], alive={0}, free_slots=[], faults={"a": "fallen off the bus"}),
            [KillAttempt(number=0)],
        ),
        # An attempt that survives a kill.
        (
            Situation(
                trials=[trial(0, LAUNCHED, GONE)], alive={0}, free_slots=[], kill_since={0: 1}, now=5, timeouts=SHORT
            ),
            [MarkUnkillable(number=0)],
        ),
        (
            Situation(
                trials=[trial(0, LAUNCHED, GONE)],
                alive={0},
                free_slots=[],
                kill_since={0: 1},
                unkillable={0},
                now=5,
                timeouts=SHORT,
            ),
            [],
        ),
        # A retry waits for its delay, which a later orchestrator does not know of, and avoids the slot if others wait.
        (Situation(trials=[KILLED], alive=set(), free_slots=["b"], end_since={0: 5}, now=5.9), []),
        (
            Situation(trials=[KILLED], alive=set(), free_slots=["b"], end_since={0: 5}, now=6.0),
            [LaunchAttempt(number=0, slot="b")],
        ),
        (Situation(trials=[KILLED], alive=set(), free_slots=["a"], now=0.1), [LaunchAttempt(number=0, slot="a")]),
        (
            Situation(trials=[KILLED, WAITING], alive=set(), free_slots=["a", "b"]),
            [LaunchAttempt(number=1, slot="a"), LaunchAttempt(number=0, slot="b")],
        ),
    ],
)
def test_plan(situation: Situation, actions: list[Action]) -> None:
    assert plan(situation) == actions
