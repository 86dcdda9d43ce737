"""The health of trials as every view shows it: which diagnoses hold, and how many trials have each diagnosis.

An orchestrator records the health timeline of every trial that it runs. A standalone trial, a script that was started
without an orchestrator, has no recorded timeline; it is computed here from the trial's history (`StandaloneHealth`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from sweeper.record.events import Diagnosed, Parameters
from sweeper.record.reader import TrialReader
from sweeper.record.storage.codec import decode, encode
from sweeper.record.storage.layout import TrialDir
from sweeper.record.trial import HistoryEntry, State, TrialRecord
from sweeper.results.wording import plain
from sweeper.rules import Health, health_of
from sweeper.rules.diagnoses import DIAGNOSES, Effect
from sweeper.rules.health import HealthState
from sweeper.rules.signals.metric_names import held_out_loss, is_loss, score, training_loss

STANDALONE_SLOT = "alone"
"""The recorded slot of a standalone trial."""
OK, UNKNOWN, FAILED = "ok", "-", "failed"
MOST_NAMED = 6
"""Maximum number of metric names that a sentence lists."""
NOTHING_WATCHED = "nothing is watched"
"""The beginning of the note that a watch leaves if it found no tensor to watch."""
NOTHING_TRAINED = "nothing is trained"
SOON = 30
"""Steps after which an observation is overdue."""

_SHORT: Mapping[str, str] = {
    "non_finite": "non-finite",
    "vanishing_gradient": "vanishing",
    "over_regularised": "regularised",
    "unused_parameters": "unused",
    "loss_mismatch": "mismatch",
}
_EFFECTS = tuple(Effect)
_RANKS: Mapping[str, int] = {
    name: rank for rank, name in enumerate(sorted(DIAGNOSES, key=lambda name: _EFFECTS.index(DIAGNOSES[name].effect)))
}


def effect_of(diagnosis: str) -> Effect | None:
    """Return the effect of a diagnosis; None for a diagnosis that only a newer version knows."""
    return DIAGNOSES[diagnosis].effect if diagnosis in DIAGNOSES else None


def short_name(diagnosis: str) -> str:
    """Return the name of a diagnosis in one or two words."""
    return _SHORT.get(diagnosis) or plain(diagnosis).replace("_", " ")


def holding(trial: TrialRecord) -> list[Diagnosed]:
    """Return the diagnoses that hold now: those that stop trials first, then warnings, then information; oldest first.

    The oldest diagnosis is usually closest to the cause: updates that fade after a divergence do not call for a higher
    learning rate.
    """
    return sorted(trial.health.values(), key=_importance)


def is_known(trial: TrialRecord) -> bool:
    """Return whether the trial's health is known: it has diagnoses, it was observed, or it logged metrics.

    Observations of records from before diagnoses existed do not count, because no orchestrator evaluated them.
    """
    observation = trial.progress.observation
    if trial.diagnosed:
        return True
    if observation is not None and observation.missing < 0 and not is_standalone(trial):
        return False
    return observation is not None or bool(trial.progress.metrics)


def is_healthy(trial: TrialRecord) -> bool:
    """Return whether no diagnosis that stops trials or warns holds now."""
    return all(effect_of(name) is Effect.INFORMS for name in trial.health)


def has_failed(trial: TrialRecord) -> bool:
    """Return whether a diagnosis that stops trials has ever held."""
    return any(event.holds and effect_of(event.diagnosis) is Effect.STOPS for event in trial.diagnosed)


def failing_at(trial: TrialRecord, step: int) -> list[str]:
    """Return the diagnoses that stop trials and held at a step."""
    ends: dict[str, list[tuple[int, int | None]]] = {}
    for event in trial.diagnosed:
        if effect_of(event.diagnosis) is Effect.STOPS:
            spans = ends.setdefault(event.diagnosis, [])
            if event.holds:
                spans.append((event.since, None))
            elif spans:
                spans[-1] = (spans[-1][0], event.step)
    return [
        name
        for name, spans in ends.items()
        if any(begin <= step and (end is None or step < end) for begin, end in spans)
    ]


def health_text(trial: TrialRecord, *, with_step: bool = True) -> str:
    """Return the health as a table cell: ``vanishing since 110 +1``, ``ok``, or ``-`` if it is unknown."""
    found = holding(trial)
    if not found:
        return OK if is_known(trial) else UNKNOWN
    since = f" since {found[0].since}" if with_step else ""
    more = f" +{len(found) - 1}" if len(found) > 1 else ""
    return f"{short_name(found[0].diagnosis)}{since}{more}"


def health_effect(trial: TrialRecord) -> Effect | None:
    """Return the effect of the most important diagnosis that holds; `INFORMS` if none holds."""
    found = holding(trial)
    return effect_of(found[0].diagnosis) if found else Effect.INFORMS


def health_to_json(trial: TrialRecord) -> list[dict[str, object]]:
    """Return the health timeline for programs, oldest change first."""
    return [
        {
            "diagnosis": event.diagnosis,
            "since": event.since,
            "step": event.step,
            "holds": event.holds,
            "reason": event.reason,
            "evidence": dict(event.evidence),
            "effect": effect.value if (effect := effect_of(event.diagnosis)) is not None else None,
        }
        for event in trial.diagnosed
    ]


def counts_text(trials: Sequence[TrialRecord]) -> str:
    """Return how many trials have each diagnosis: ``8 ok, 3 vanishing_gradient, 1 non_finite``.

    A trial is counted once, for the most important diagnosis that ever held. Diagnoses that only inform, such as
    `converged`, count as ok, and a trial that failed without a diagnosis as failed. The text is empty if the health of
    no trial is known and none failed.
    """
    return classes_text(Counter(map(class_of, trials)))


def classes_text(counts: Mapping[str, int]) -> str:
    """Return `counts_text` of trials of which so many have each class, by `class_of`."""
    unknown, known = counts.get(UNKNOWN, 0), {name: count for name, count in counts.items() if name != UNKNOWN}
    if not known:
        return ""
    classes = sorted((name for name in known if name != OK), key=lambda name: (-known[name], _rank(name)))
    listed = [f"{known[name]} {plain(name)}" for name in ((OK,) if OK in known else ()) + tuple(classes)]
    return ", ".join([*listed, f"{unknown} unknown"] if unknown else listed)


def values_text(trials: Sequence[TrialRecord]) -> str:
    """Return which logged metrics the diagnoses read as the loss and as the score; empty if none is logged.

    The metric of the sweep is the score, unless it is a loss.
    """
    begun = [trial for trial in trials if trial.step >= 0 or trial.state is State.RUNNING]
    names = list(dict.fromkeys(name for trial in begun for name in trial.progress.metrics))
    if not names:
        return ""
    facts = begun[0].facts
    metric = next((one.name for one in facts.goals if score([one.name])), "") if facts.objectives else facts.metric
    own = metric if metric and not is_loss(metric) else ""
    loss, held_out, found = training_loss(names), held_out_loss(names), own or score(names)
    if loss is None and held_out is None and found is None:
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        return (
            f"loss: none, score: none (no name of a logged metric fits: {plain(', '.join(names[:MOST_NAMED]))}{more})"
        )
    silent = " (not logged yet)" if own and own not in names else ""
    parts = [f"loss: {loss or 'none recognised'}"]
    parts += [f"held-out loss: {held_out}"] if held_out else []
    parts += [f"score: {found or 'none recognised'}{silent}"]
    return plain("; ".join(parts))


def inferred_text(trials: Sequence[TrialRecord]) -> str:
    """Return what `watch: auto` has found, by the first trial in which it found something; empty if in none."""
    found: Mapping[str, Sequence[str]] = next((one.progress.inferred for one in trials if one.progress.inferred), {})
    parts = [f"{kind} {', '.join(names)}" for kind, names in found.items()]
    return plain(f"watch: auto found {'; '.join(parts)}") if parts else ""


# ---- why a trial was not observed -----------------------------------------------------------------------------------


def unobserved_text(trial: TrialRecord) -> str:
    """Return why a trial that took steps has no observations, according to its record; empty if it has some."""
    if trial.progress.watching is not None or (trial.step < 0 and trial.state is not State.COMPLETE):
        return ""
    parameters = trial.progress.parameters
    if parameters is not None and not parameters.trained:
        return f"{NOTHING_TRAINED}: {parameters_text(parameters)}"
    if any(note.startswith(NOTHING_WATCHED) for note in trial.progress.notes):
        return "not observed: trial.watch was called but found nothing to watch (see the note)"
    if parameters is None:
        return "not observed: the script does not call trial.watch(model, optimizer)"
    if not trial.state.ended and trial.step < SOON:
        return ""
    return f"not observed: trial.watch was called but the optimizer took no step; {parameters_text(parameters)}"


def parameters_text(parameters: Parameters) -> str:
    """Return how many parameters of a model are trained, frozen, or in no optimizer."""
    parts = [f"{parameters.trained:,} parameters are trained"] if parameters.trained else []
    parts += [f"{parameters.frozen:,} parameters are frozen"] if parameters.frozen else []
    if parameters.unowned:
        named = f" ({', '.join(parameters.names)})" if parameters.names else ""
        parts += [f"{parameters.unowned:,} parameters are in no optimizer{named}"]
    parts += [f"{parameters.foreign:,} parameters of the optimizer are not in the model"] if parameters.foreign else []
    return plain(", ".join(parts) or "the model has no parameters")


# ---- standalone trials ----------------------------------------------------------------------------------------------


def is_standalone(trial: TrialRecord) -> bool:
    """Return whether the trial is a script that was started without an orchestrator."""
    return any(attempt.slot == STANDALONE_SLOT for attempt in trial.attempts)


@dataclass(slots=True)
class StandaloneHealth:
    """Computes the health timeline of a standalone trial as its record grows; leaves any other trial as recorded."""

    _health: Health = field(default_factory=lambda: health_of([]))
    _state: HealthState | None = None
    _read: TrialRecord | None = None
    _diagnosed: TrialRecord | None = None

    def take(self, reader: TrialReader, entries: Iterable[HistoryEntry]) -> TrialRecord:
        """Return the reader's trial with its timeline; `entries` are those that its last poll returned."""
        trial = reader.trial
        if not is_standalone(trial):
            return trial
        if self._state is None or reader.restarted:
            self._state = self._health.start()
        for entry in entries:
            self._state, _ = self._health.step(self._state, entry.event)
        if self._diagnosed is None or trial is not self._read:
            self._read, self._diagnosed = trial, _with_timeline(trial, self._state)
        return self._diagnosed


def read_diagnosed(directory: TrialDir) -> TrialRecord:
    """Return a trial as recorded now, with its health timeline.

    Raises:
        RecordError: the trial's facts cannot be read.
    """
    reader = TrialReader.open(directory)
    return StandaloneHealth().take(reader, reader.poll())


def _with_timeline(trial: TrialRecord, state: HealthState) -> TrialRecord:
    return replace(trial, diagnosed=tuple(_events(trial, state)))


def _events(trial: TrialRecord, state: HealthState) -> Iterator[Diagnosed]:
    """Yield the timeline as an orchestrator would have recorded it; the evidence has only values that JSON can hold."""
    for change in state.timeline:
        event = decode(encode(Diagnosed(attempt=trial.newest.number, time=trial.latest, **asdict(change))))
        if isinstance(event, Diagnosed):
            yield event


def class_of(trial: TrialRecord) -> str:
    """Return the most important diagnosis that ever held; if none did, or only such that inform, `OK` or `FAILED`.

    The class of a trial is `UNKNOWN` if its health is, unless it failed.
    """
    if not is_known(trial) and trial.state is not State.FAIL:
        return UNKNOWN
    held = [event for event in trial.diagnosed if event.holds]
    serious = [event for event in held if effect_of(event.diagnosis) is not Effect.INFORMS]
    healthy = FAILED if trial.state is State.FAIL else OK
    return min(serious, key=_importance).diagnosis if serious else healthy


def _rank(diagnosis: str) -> int:
    return _RANKS.get(diagnosis, len(_RANKS))


def _importance(event: Diagnosed) -> tuple[int, int, int]:
    effect = effect_of(event.diagnosis)
    return _EFFECTS.index(effect) if effect is not None else len(_EFFECTS), event.since, _rank(event.diagnosis)
