"""What a search was told, in words: the value with which each configuration counts, and why it is not its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sweeper.config import LEARNING, SweepSpec
from sweeper.record.events import Asked, Imputed, Learned, Told
from sweeper.record.storage.journal import read_journal
from sweeper.record.storage.layout import SweepDir
from sweeper.record.trial import TrialRecord
from sweeper.record.values.params import spelled
from sweeper.results.wording import counted, number, plain

MOST_ROWS = 50
"""Maximum number of configurations that are listed, the newest ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRecord:
    """The record of a search.

    Attributes:
        method: the method of the sweep.
        asked: the proposals by number of the configuration.
        told: the newest result of each configuration that the search was told.
        imputed: the value of each objective with which failures count now; empty as long as there is none.
        learned: what the search was told of other runs.
        objectives: the names of the objectives if there are several; else empty.
    """

    method: str
    asked: Mapping[int, Asked]
    told: Mapping[int, Told]
    imputed: Sequence[float]
    learned: Sequence[Learned]
    objectives: Sequence[str] = ()

    @property
    def learns(self) -> bool:
        """Whether the search bases its proposals on values."""
        return self.method in LEARNING


def read_search(run: SweepDir, spec: SweepSpec) -> SearchRecord:
    """Return the record of the search of a run."""
    events = read_journal(run.search)
    told = {event.configuration: event for event in events if isinstance(event, Told)}
    values = [one for event in events if (one := _imputed(event))]
    return SearchRecord(
        method=spec.method.value,
        asked={event.configuration: event for event in events if isinstance(event, Asked)},
        told=told,
        imputed=values[-1] if values else (),
        learned=[event for event in events if isinstance(event, Learned) and event.run in spec.learn_from],
        objectives=[one.name for one in spec.objectives],
    )


def _imputed(event: object) -> Sequence[float]:
    """Return the value of each objective with which failures count from an event on; empty if it says nothing of it."""
    match event:
        case Imputed():
            return _each(event.value, event.values)
        case Told(value=None):  # all of its trials failed, so it counts as the worst value itself
            return _each(event.imputed, event.imputed_values)
    return ()


def _each(value: float | None, values: Mapping[str, float]) -> Sequence[float]:
    """Return the value of each objective, also where there is one; empty without a value."""
    return tuple(values.values()) or (() if value is None else (value,))


def _text(values: Sequence[float]) -> str:
    return ", ".join(map(number, values)) or number(None)


def learned_text(learned: Learned) -> str:
    """Return how many configurations of another run were taken and left out, and why."""
    count, failed = len(learned.configurations), sum(bool(one.why) for one in learned.configurations)
    took = f"{counted(count, 'configuration', 'configurations')} taken"
    if failed:
        took += f" ({failed} failed because of their parameters)"
    out = ", ".join(f"{number_} ({why})" for why, number_ in learned.left_out.items())
    return f"learn_from: {learned.run}: {took}{f'; left out: {out}' if out else ''}"


def told_lines(record: SearchRecord, trial: TrialRecord) -> list[str]:
    """Return what the search was told of a trial's configuration, for its receipt; empty if there is nothing to say."""
    configuration = trial.facts.configuration
    asked, told = record.asked.get(configuration), record.told.get(configuration)
    lines = []
    if asked is not None and asked.start is not None:
        lines.append(f"  it was made from start_with: {_setting(asked.start)}")
    if told is not None and told.why and record.learns:
        seeds = f" (configuration {configuration}, all seeds)" if trial.facts.seeds > 1 else ""
        lines.append(f"  it counts {_counts(record, told)}{seeds}")
    return ["", f"in the search ({record.method}):", *(plain(line) for line in lines)] if lines else []


def _counts(record: SearchRecord, told: Told) -> str:
    """Return with which value a configuration counts, and why."""
    then = _each(told.imputed, told.imputed_values)
    if told.value is not None:
        mean = "the mean over its seeds, with the worst value for each seed that failed"
        return f"as {_text(then)}, {mean}: {told.why}"
    if not record.imputed:
        return f"not, because it failed ({told.why}) and no trial has a finite value yet"
    first = "" if then in ((), record.imputed) else f" ({_text(then)} when it ended)"
    worst = "the worst values so far" if record.objectives else "the worst value so far"
    return f"as {_text(record.imputed)}, {worst}{first}, because it failed: {told.why}"


def _setting(setting: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={spelled(value)}" for name, value in setting.items())


def search_text(record: SearchRecord, trials: Iterable[TrialRecord]) -> str:
    """Return what the search of a run was told: a line for each other run, and a table of the configurations."""
    numbers: dict[int, list[int]] = {}
    for trial in trials:
        numbers.setdefault(trial.facts.configuration, []).append(trial.facts.number)
    proposals = counted(len(record.asked), "proposal", "proposals")
    lines = [f"search: {record.method}, {proposals}, {len(record.told)} of them with a result"]
    if record.method == "pbt":
        lines.append("pbt lets the worst members continue from the best ones after each turn.")
    elif not record.learns:
        lines.append(f"{record.method} does not learn from results.")
    lines += [learned_text(one) for one in record.learned]
    rows = [_row(record, told, numbers.get(configuration, [])) for configuration, told in sorted(record.told.items())]
    if len(rows) > MOST_ROWS:
        lines.append(f"The newest {MOST_ROWS} configurations with a result:")
    if rows:
        value = ", ".join(record.objectives) or "value"
        lines += ["", *_table([("configuration", "trials", "state", value, "counts as", "why"), *rows[-MOST_ROWS:]])]
    return "\n".join(plain(line) for line in lines) + "\n"


def _row(record: SearchRecord, told: Told, trials: Sequence[int]) -> tuple[str, ...]:
    own, imputed = _each(told.value, told.values), _each(told.imputed, told.imputed_values)
    counts = own if not told.why else imputed if own else record.imputed
    asked = record.asked.get(told.configuration)
    start = "start_with" if asked is not None and asked.start is not None else ""
    return (
        str(told.configuration),
        " ".join(f"{one:04d}" for one in sorted(trials)),
        told.state,
        _text(own),
        _text(counts) if record.learns else "-",
        "; ".join(filter(None, [told.why, start])),
    )


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
