"""Answers about trials: the status of all, a page of rows, one trial in full, its receipt, and two side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sweeper.service.answers import Answer
from sweeper.service.answers.sweep import GivenCommand, Sweep


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The decision that stopped a trial.

    Attributes:
        rule: the rule, or `a person`.
        step: the optimizer step; -1 before the first.
        reason: why, in one sentence.
        evidence: what the rule saw; of a person, `by` and the value at that moment.
        version: the version of the rule and its settings.
    """

    rule: str
    step: int
    reason: str
    evidence: Mapping[str, object]
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Spared:
    """The first decision after which a trial continued.

    Attributes:
        as_: why it continued: `observed`, `audited`, `breaker` or `revived`.
        rule: the rule, or `a person`.
        step: the optimizer step; -1 before the first.
        reason: why the trial was flagged, in one sentence.
        evidence: what the rule saw.
        version: the version of the rule and its settings.
    """

    as_: str
    rule: str
    step: int
    reason: str
    evidence: Mapping[str, object]
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthChange:
    """A diagnosis that began to hold, or ended.

    Attributes:
        diagnosis: the diagnosis.
        since: the optimizer step since which its condition had been met.
        step: the optimizer step at which it was found, or at which it ended.
        holds: whether it began.
        reason: why, in one sentence; empty if it ended.
        evidence: what it is based on.
        effect: `stops`, `warns` or `informs`; null for a diagnosis that this version does not know.
    """

    diagnosis: str
    since: int
    step: int
    holds: bool
    reason: str
    evidence: Mapping[str, object]
    effect: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialStatus:
    """A trial in `sweeper status --json`.

    Attributes:
        number: its number.
        params: its parameters.
        seed: its seed.
        state: `WAITING`, `RUNNING`, `PAUSED`, `COMPLETE`, `PRUNED` (stopped early) or `FAIL`.
        value: its value of the sweep's metric; null without one, and if its record is damaged.
        values: the value of each objective, by name; null as long as one has none.
        constraints: the value of each metric with bounds that was reported.
        feasible: whether it keeps to all constraints.
        rank: its rank with several objectives or constraints, 0 is the best; else null.
        step: its newest optimizer step, counted from 0; null before the first.
        total_steps: number of planned steps; null if that is not known.
        pruned: the decision that stopped it; null if none did.
        spared: the first decision after which it continued; null if there is none.
        cause: why its newest attempt ended; null while it runs, and if it ended well.
        attempts: number of attempts.
        seconds: wall time of all attempts.
        skipped: number of steps that a gradient scaler skipped.
        damaged: number of damaged places in its record.
        health: its health timeline, oldest change first.
        healthy: whether no diagnosis that stops trials or warns holds now.
    """

    number: int
    params: Mapping[str, object]
    seed: int
    state: str
    value: float | None
    values: Mapping[str, float] | None
    constraints: Mapping[str, float | None]
    feasible: bool
    rank: int | None
    step: int | None
    total_steps: int | None
    pruned: Verdict | None
    spared: Spared | None
    cause: str | None
    attempts: int
    seconds: float
    skipped: int
    damaged: int
    health: Sequence[HealthChange]
    healthy: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Status(Sweep):
    """A sweep with all of its trials: `sweeper status --json`.

    Attributes:
        trials: its trials, by number.
    """

    trials: Sequence[TrialStatus]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRow:
    """A trial as one row of a table.

    Attributes:
        number: its number.
        state: its state.
        params: its varied parameters.
        seed: its seed.
        place: its place in the ranking, 1 is the best; null without a value.
        value: its value of the sweep's metric; null without one.
        values: the value of each objective, by name; null as long as one has none.
        feasible: whether it keeps to all constraints.
        step: its newest optimizer step, counted from 0; null before the first.
        total_steps: number of planned steps; null if that is not known.
        steps_per_second: the speed of its newest attempt; null before its second step.
        seconds_left: the estimated seconds until its last planned step; null if that is not known.
        seconds: wall time of all attempts.
        attempts: number of attempts.
        slot: the slot of its newest attempt; empty before the first.
        health: its health in a few words: `vanishing since 110 +1`, `ok`, or `-` if it is not known.
        healthy: whether no diagnosis that stops trials or warns holds now.
        effect: what its most important diagnosis does: `stops`, `warns` or `informs`.
        flagged: whether a rule flagged it.
        exempt: whether a person revived or exempted it, so that no rule stops it.
        reason: how it ended, or what it waits for, in one line; empty while nothing is to be said.
        parent: the number of the trial from which it was derived; null if it was not derived.
    """

    number: int
    state: str
    params: Mapping[str, object]
    seed: int
    place: int | None
    value: float | None
    values: Mapping[str, float] | None
    feasible: bool
    step: int | None
    total_steps: int | None
    steps_per_second: float | None
    seconds_left: float | None
    seconds: float
    attempts: int
    slot: str
    health: str
    healthy: bool
    effect: str | None
    flagged: bool
    exempt: bool
    reason: str
    parent: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialPage(Answer):
    """One page of a table of trials.

    Attributes:
        total: number of trials of the sweep.
        matched: number of trials that the filter keeps.
        offset: how many of them come before the page.
        sort: by what they are sorted.
        descending: whether the order is reversed.
        params: the names of the varied parameters.
        metric: the sweep's metric.
        maximize: whether its goal is to maximize it.
        several_seeds: whether configurations have several seeds.
        revision: that of `Sweep.revision`.
        rows: the rows.
    """

    total: int
    matched: int
    offset: int
    sort: str
    descending: bool
    params: Sequence[str]
    metric: str
    maximize: bool
    several_seeds: bool
    revision: int
    rows: Sequence[TrialRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptSummary:
    """One start of a trial.

    Attributes:
        number: its number, from 1.
        slot: its slot.
        gpus: number of GPUs, below 1 for a share of one.
        begin: when it was launched, in seconds since the epoch.
        end: when it ended; null while it runs.
        outcome: how the script ended, as it reported: `completed`, `stopped` or `failed`; else empty.
        cause: why it ended, in one word; empty while it runs, and if it ended well.
        text: why it ended, in words.
        code: its exit code; null if there is none.
        signal: the signal that ended it; null if none did.
        peak_memory_mb: peak resident memory in MiB; null if that is not known.
        stop: the decision to stop it; null if there was none.
    """

    number: int
    slot: str
    gpus: float
    begin: float | None
    end: float | None
    outcome: str
    cause: str
    text: str
    code: int | None
    signal: int | None
    peak_memory_mb: float | None
    stop: Verdict | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSummary:
    """One metric of a trial.

    Attributes:
        name: its name.
        first: its first value.
        last: its last value.
        last_step: the step of the last value.
        low: its lowest value.
        low_step: the step of the lowest value.
        high: its highest value.
        high_step: the step of the highest value.
    """

    name: str
    first: float | None
    last: float | None
    last_step: int
    low: float | None
    low_step: int
    high: float | None
    high_step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One line of a trial's health timeline, for people.

    Attributes:
        when: the steps, as `since 110, found at 120`.
        text: the diagnosis and its reason.
        effect: `stops`, `warns` or `informs`; empty if it is not known.
        advice: what to do; empty unless the diagnosis holds now.
    """

    when: str
    text: str
    effect: str
    advice: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivedFrom:
    """How a trial was derived from another one.

    Attributes:
        parent: the number of that trial.
        step: the last optimizer step that it takes over; -1 if it begins at the start.
        changes: the parameters that differ, with their new values.
        lr_factor: the factor of the restored learning rates.
        fresh_optimizer: whether the restored optimizer forgets its moments.
        by: `repair`, `pbt`, or the person who derived it.
        reason: why, in one sentence.
    """

    parent: int
    step: int
    changes: Mapping[str, object]
    lr_factor: float
    fresh_optimizer: bool
    by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial(Answer):
    """One trial in full.

    Attributes:
        run: the name of its run.
        row: it as a row of the table.
        status: it as in `sweeper status --json`.
        configuration: the number of its configuration.
        command: the command that it runs.
        directory: its directory.
        metrics: its metrics, in the order in which they were first reported.
        attempt_list: its attempts, oldest first.
        timeline: its health timeline, for people.
        commands: what people and agents asked for it, oldest first.
        receipt: its receipt as `sweeper why` prints it, line by line.
        notes: messages that it recorded.
        checkpoint: the step of its newest checkpoint; null if there is none.
        derived: how it was derived from another trial; null if it was not.
        children: the numbers of the trials that were derived from it.
    """

    run: str
    row: TrialRow
    status: TrialStatus
    configuration: int
    command: Sequence[str]
    directory: str
    metrics: Sequence[MetricSummary]
    attempt_list: Sequence[AttemptSummary]
    timeline: Sequence[Moment]
    commands: Sequence[GivenCommand]
    receipt: Sequence[str]
    notes: Sequence[str]
    checkpoint: int | None
    derived: DerivedFrom | None = None
    children: Sequence[int] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt(Answer):
    """The receipt of a trial: `sweeper why --json`.

    Attributes:
        run: the name of its run.
        number: its number.
        state: its state.
        lines: the lines that `sweeper why` prints.
        verdict: the decision that stopped it; null if none did.
        damage: damage elsewhere in the run.
    """

    run: str
    number: int
    state: str
    lines: Sequence[str]
    verdict: Verdict | None
    damage: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A parameter in which two trials differ; null where one lacks it.

    Attributes:
        name: the parameter.
        first: its value in the first trial.
        second: its value in the second.
    """

    name: str
    first: object
    second: object


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricPair:
    """A metric of two trials.

    Attributes:
        name: the metric.
        first: its last value in the first trial; null if it has none.
        second: its last value in the second.
        first_step: the step of that value; null if there is none.
        second_step: the step of that value in the second.
    """

    name: str
    first: float | None
    second: float | None
    first_step: int | None
    second_step: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialComparison(Answer):
    """Two trials side by side.

    Attributes:
        run: the name of their run.
        first: the first trial.
        second: the second trial.
        params: the parameters that differ; the seed is one of them.
        equal: how many parameters are equal.
        metrics: all metrics of either trial.
        text: which of them is better, in one sentence.
    """

    run: str
    first: TrialRow
    second: TrialRow
    params: Sequence[Difference]
    equal: int
    metrics: Sequence[MetricPair]
    text: str
