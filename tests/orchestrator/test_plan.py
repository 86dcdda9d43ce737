"""What is planned in which situation: a table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sweeper.orchestrator.plan import (
    Abandon,
    Action,
    DeclareLost,
    GiveUp,
    Hold,
    Kill,
    Launch,
    Patience,
    Release,
    Revive,
    Situation,
    Spare,
    Stop,
    StopAgain,
    plan,
)
from sweeper.record.causes import Cause
from sweeper.record.events import PERSON, Abandoned, Condemned, Event, Exit, KillSent, Launched, Lost, StopRequested
from sweeper.record.fold import Progress, control_of
from sweeper.record.storage.layout import TrialDir
from sweeper.record.trial import Facts, Trial
from sweeper.rules import Decision

DECISION = Decision(rule="stalled", step=100, reason="because", evidence={"reach": 1e-4})


def trial(number: int, *control: Event, code: int | None = None) -> Trial:
    facts = Facts(number=number, configuration=0, seed=0, params={}, shown={}, command=[], metric="m", maximize=True)
    exits = {} if code is None else {1: Exit(attempt=1, code=code, signal=None, cause="", peak_memory_mb=1)}
    return Trial(directory=TrialDir(Path(f"{number:04d}")), facts=facts, control=control_of(control), exits=exits)


LAUNCHED = Launched(attempt=1, slot="a")
ASKED = StopRequested(attempt=1, cause="interrupted")
BY_HAND = Decision(rule=PERSON, step=3, reason="it was asked for", evidence={"by": "me"})
ENDED = StopRequested(attempt=1, cause="pruned", decision=BY_HAND.to_json())
SPARED = Condemned(attempt=1, spared="observed", decision=DECISION.to_json())
RUNNING, WAITING = trial(0, LAUNCHED), trial(1)
OPENED = replace(RUNNING, progress=Progress(attempt=1))
HUNG = Abandoned(attempt=1, cause="hung", reason="no step")
GONE = Abandoned(attempt=1, cause="lost", reason="fallen off the bus")
KILLED = trial(0, LAUNCHED, Lost(attempt=1))
PATIENT = Patience(grace_s=9, stacks_s=2, kill_s=3, hang_after_s=100)


@pytest.mark.parametrize(
    ("situation", "actions"),
    [
        (Situation(trials=[], alive=set(), free_slots=["a"]), []),
        (  # a person ends one that runs, one that waits, and a third that is paused
            Situation(
                trials=[RUNNING, WAITING], alive={0}, free_slots=["a"], ending={0: BY_HAND, 1: BY_HAND, 7: BY_HAND}
            ),
            [Stop(number=number, decision=BY_HAND) for number in (0, 1, 7)],
        ),
        (  # also one that was asked to stop already, or is spared
            Situation(trials=[trial(0, LAUNCHED, ASKED)], alive={0}, free_slots=[], ending={0: BY_HAND}),
            [Stop(number=0, decision=BY_HAND)],
        ),
        (
            Situation(
                trials=[trial(0, LAUNCHED, SPARED)],
                alive={0},
                free_slots=[],
                decisions={0: DECISION},
                spared={0: "observed"},
                ending={0: BY_HAND},
            ),
            [Stop(number=0, decision=BY_HAND)],
        ),
        (  # twice is once
            Situation(
                trials=[trial(0, LAUNCHED, ENDED)], alive={0}, free_slots=[], ending={0: BY_HAND}, stop_since={0: 0}
            ),
            [],
        ),
        (
            Situation(trials=[RUNNING], alive=set(), free_slots=[], ending={0: BY_HAND}),
            [DeclareLost(number=0), Stop(number=0, decision=BY_HAND)],
        ),
        (  # paused: said first, then asked to stop; who waits is not launched
            Situation(trials=[RUNNING, WAITING], alive={0}, free_slots=["a"], holding=[0, 1]),
            [Hold(number=0), Hold(number=1), Stop(number=0, decision=None)],
        ),
        (
            Situation(trials=[RUNNING], alive={0}, free_slots=[], holding=[0], decisions={0: DECISION}),
            [Hold(number=0), Stop(number=0, decision=DECISION)],
        ),
        (
            Situation(trials=[WAITING], alive=set(), free_slots=["a"], releasing=[7], victims=[8]),
            [Release(number=7), Revive(number=8), Launch(number=1, slot="a")],
        ),
        (  # in the order given, which is not that of their numbers
            Situation(trials=[trial(2), WAITING], alive=set(), free_slots=["a"]),
            [Launch(number=2, slot="a")],
        ),
        (Situation(trials=[WAITING, trial(2)], alive=set(), free_slots=["a"]), [Launch(number=1, slot="a")]),
        (
            Situation(trials=[WAITING, trial(2)], alive=set(), free_slots=["a"], barred={1}),
            [Launch(number=2, slot="a")],
        ),
        (Situation(trials=[WAITING], alive=set(), free_slots=[]), []),
        (Situation(trials=[WAITING], alive=set(), free_slots=["a"], stopping=True), []),
        (Situation(trials=[RUNNING], alive={0}, free_slots=[]), []),
        (Situation(trials=[RUNNING], alive=set(), free_slots=[]), [DeclareLost(number=0)]),
        (Situation(trials=[RUNNING], alive={0}, free_slots=[], stopping=True), [Stop(number=0, decision=None)]),
        (
            Situation(trials=[RUNNING], alive={0}, free_slots=[], decisions={0: DECISION}),
            [Stop(number=0, decision=DECISION)],
        ),
        (
            Situation(trials=[RUNNING], alive={0}, free_slots=[], decisions={0: DECISION}, stopping=True),
            [Stop(number=0, decision=DECISION)],
        ),
        (
            Situation(
                trials=[trial(0, LAUNCHED, ASKED)], alive={0}, free_slots=[], decisions={0: DECISION}, stop_since={0: 0}
            ),
            [],
        ),
        (
            Situation(trials=[RUNNING], alive={0}, free_slots=[], decisions={0: DECISION}, spared={0: "observed"}),
            [Spare(number=0, decision=DECISION, spared="observed")],
        ),
        (
            Situation(
                trials=[trial(0, LAUNCHED, SPARED)],
                alive={0},
                free_slots=[],
                decisions={0: DECISION},
                spared={0: "observed"},
            ),
            [],
        ),
        (
            Situation(
                trials=[trial(0, LAUNCHED, SPARED)],
                alive={0},
                free_slots=[],
                decisions={0: DECISION},
                spared={0: "observed"},
                stopping=True,
            ),
            [Stop(number=0, decision=None)],
        ),
        (Situation(trials=[trial(0, LAUNCHED, ASKED)], alive={0}, free_slots=[]), [StopAgain(number=0)]),
        (Situation(trials=[trial(0, LAUNCHED, code=0)], alive=set(), free_slots=[], decisions={0: DECISION}), []),
        (
            Situation(
                trials=[trial(0, LAUNCHED, ASKED)],
                alive={0},
                free_slots=[],
                stop_since={0: 5},
                now=15,
                patience=PATIENT,
            ),
            [Kill(number=0)],
        ),
        (
            Situation(
                trials=[trial(0, LAUNCHED, ASKED)],
                alive={0},
                free_slots=[],
                stop_since={0: 5},
                now=13,
                patience=PATIENT,
            ),
            [],
        ),
        (
            Situation(trials=[trial(0, LAUNCHED, ASKED)], alive={0}, free_slots=[], killing=True, stop_since={0: 0}),
            [Kill(number=0)],
        ),
        (
            Situation(trials=[RUNNING], alive={0}, free_slots=[], killing=True, stopping=True),
            [Stop(number=0, decision=None), Kill(number=0)],
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
        # Hanging: asked for once, from the launch or the newest step on, and only of who opened its trial.
        (
            Situation(trials=[OPENED], alive={0}, free_slots=[], step_since={0: 5}, now=106, patience=PATIENT),
            [Abandon(number=0, cause=Cause.HUNG, reason="no step for 101 s, and hang_after_s is 100")],
        ),
        (Situation(trials=[OPENED], alive={0}, free_slots=[], step_since={0: 5}, now=105, patience=PATIENT), []),
        (Situation(trials=[OPENED], alive={0}, free_slots=[], step_since={0: 5}, now=1e9), []),
        (Situation(trials=[RUNNING], alive={0}, free_slots=[], step_since={0: 5}, now=1e9, patience=PATIENT), []),
        (
            Situation(
                trials=[replace(OPENED, control=control_of([LAUNCHED, ASKED]))],
                alive={0},
                free_slots=[],
                stop_since={0: 105},
                step_since={0: 5},
                now=106,
                patience=PATIENT,
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
                patience=PATIENT,
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
                patience=PATIENT,
            ),
            [Kill(number=0)],
        ),
        (Situation(trials=[trial(0, LAUNCHED, HUNG)], alive={0}, free_slots=[]), [Kill(number=0)]),
        # A lost device.
        (
            Situation(trials=[RUNNING], alive={0}, free_slots=[], faults={"a": "fallen off the bus"}),
            [Abandon(number=0, cause=Cause.LOST, reason="fallen off the bus")],
        ),
        (Situation(trials=[RUNNING], alive={0}, free_slots=[], faults={"b": "fallen off the bus"}), []),
        (
            Situation(trials=[trial(0, LAUNCHED, GONE)], alive={0}, free_slots=[], faults={"a": "fallen off the bus"}),
            [Kill(number=0)],
        ),
        # Who lives on after a kill.
        (
            Situation(
                trials=[trial(0, LAUNCHED, GONE)], alive={0}, free_slots=[], kill_since={0: 1}, now=5, patience=PATIENT
            ),
            [GiveUp(number=0)],
        ),
        (
            Situation(
                trials=[trial(0, LAUNCHED, GONE)],
                alive={0},
                free_slots=[],
                kill_since={0: 1},
                given_up={0},
                now=5,
                patience=PATIENT,
            ),
            [],
        ),
        # Retries: after a pause that a later orchestrator does not know of, and elsewhere if others wait.
        (Situation(trials=[KILLED], alive=set(), free_slots=["b"], end_since={0: 5}, now=5.9), []),
        (
            Situation(trials=[KILLED], alive=set(), free_slots=["b"], end_since={0: 5}, now=6.0),
            [Launch(number=0, slot="b")],
        ),
        (Situation(trials=[KILLED], alive=set(), free_slots=["a"], now=0.1), [Launch(number=0, slot="a")]),
        (
            Situation(trials=[KILLED, WAITING], alive=set(), free_slots=["a", "b"]),
            [Launch(number=1, slot="a"), Launch(number=0, slot="b")],
        ),
    ],
)
def test_plan(situation: Situation, actions: list[Action]) -> None:
    assert plan(situation) == actions
