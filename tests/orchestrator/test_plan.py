"""What is planned in which situation: a table."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeper.orchestrator.plan import Action, DeclareLost, Kill, Launch, Situation, Spare, Stop, StopAgain, plan
from sweeper.record.events import Condemned, Event, Exit, KillSent, Launched, StopRequested
from sweeper.record.fold import control_of
from sweeper.record.layout import TrialDir
from sweeper.record.trial import Facts, Trial
from sweeper.rules import Decision

DECISION = Decision(rule="stalled", step=100, reason="because", evidence={"reach": 1e-4})


def trial(number: int, *control: Event, code: int | None = None) -> Trial:
    facts = Facts(number=number, configuration=0, seed=0, params={}, shown={}, command=[], metric="m", maximize=True)
    exits = {} if code is None else {1: Exit(attempt=1, code=code, signal=None, cause="", peak_memory_mb=1)}
    return Trial(directory=TrialDir(Path(f"{number:04d}")), facts=facts, control=control_of(control), exits=exits)


LAUNCHED = Launched(attempt=1, slot="a")
ASKED = StopRequested(attempt=1, cause="interrupted")
SPARED = Condemned(attempt=1, spared="observed", decision=DECISION.to_json())
RUNNING, WAITING = trial(0, LAUNCHED), trial(1)


@pytest.mark.parametrize(
    ("situation", "actions"),
    [
        (Situation(trials=[], alive=set(), free_slots=["a"]), []),
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
                trials=[trial(0, LAUNCHED, ASKED)], alive={0}, free_slots=[], stop_since={0: 5}, now=15, grace_s=9
            ),
            [Kill(number=0)],
        ),
        (
            Situation(
                trials=[trial(0, LAUNCHED, ASKED)], alive={0}, free_slots=[], stop_since={0: 5}, now=13, grace_s=9
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
                killed={0},
            ),
            [],
        ),
    ],
)
def test_plan(situation: Situation, actions: list[Action]) -> None:
    assert plan(situation) == actions
