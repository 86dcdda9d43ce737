"""The health of trials, as every view shows it: which diagnoses hold, in a few words, and how many trials have which.

An orchestrator records the timeline of each trial that it runs. No orchestrator looks at a script that was started
alone; the timeline of such a trial is computed here, from its history (`OwnHealth`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from sweeper.record.events import Diagnosed, Parameters, decode, encode
from sweeper.record.fold import State
from sweeper.record.layout import TrialDir
from sweeper.record.trial import Entry, Trial, TrialReader
from sweeper.rules import Health, health_of
from sweeper.rules.diagnoses import DIAGNOSES, Effect
from sweeper.rules.health import HealthState
from sweeper.rules.names import held_out_loss, is_loss, score, training_loss
from sweeper.views.wording import plain

ALONE = "alone"
"""The slot of a script that was started without an orchestrator (`worker.alone`)."""
OK, UNKNOWN = "ok", "-"
STYLES: Mapping[Effect | None, str] = {Effect.STOPS: "red", Effect.WARNS: "yellow", Effect.INFORMS: "", None: "yellow"}
"""The colour of a diagnosis in a terminal, by its effect; None is that of a class of a newer version."""
MOST_NAMED = 6
"""Reported names that a sentence lists."""
NOTHING_WATCHED = "nothing is watched"
"""The note of a watch that found no tensor to watch begins so."""
NOTHING_TRAINED = "nothing is trained"
SOON = 30
"""Steps after which an observation must have come, were there any."""

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
    """Return the effect of a class, None for a class of a newer version."""
    return DIAGNOSES[diagnosis].effect if diagnosis in DIAGNOSES else None


def short_name(diagnosis: str) -> str:
    """Return the name of a class in one or two words."""
    return _SHORT.get(diagnosis) or plain(diagnosis).replace("_", " ")


def holding(trial: Trial) -> list[Diagnosed]:
    """Return the diagnoses that hold now: those that stop first, then warnings, then information; the oldest first.

    What began first is nearer to the cause: updates that fade after a divergence are no reason for a higher rate.
    """
    return sorted(trial.control.health.values(), key=_importance)


def is_known(trial: Trial) -> bool:
    """Return whether anything is known of the trial's health: it was observed, or it reported values.

    The observations of a record from before there were diagnoses say nothing: no orchestrator looked for any.
    """
    observation = trial.progress.observation
    if trial.control.diagnosed:
        return True
    if observation is not None and observation.missing < 0 and not ran_alone(trial):
        return False
    return observation is not None or bool(trial.progress.metrics)


def is_healthy(trial: Trial) -> bool:
    """Return whether no diagnosis that stops or warns holds now."""
    return all(effect_of(name) is Effect.INFORMS for name in trial.control.health)


def has_failed(trial: Trial) -> bool:
    """Return whether a diagnosis that stops has ever held."""
    return any(event.holds and effect_of(event.diagnosis) is Effect.STOPS for event in trial.control.diagnosed)


def health_text(trial: Trial, *, with_step: bool = True) -> str:
    """Return what holds, as a cell of a table: ``vanishing since 110 +1``, ``ok``, or ``-`` where nothing is known."""
    found = holding(trial)
    if not found:
        return OK if is_known(trial) else UNKNOWN
    since = f" since {found[0].since}" if with_step else ""
    more = f" +{len(found) - 1}" if len(found) > 1 else ""
    return f"{short_name(found[0].diagnosis)}{since}{more}"


def health_effect(trial: Trial) -> Effect | None:
    """Return the effect of the most important diagnosis that holds; `INFORMS` where none does."""
    found = holding(trial)
    return effect_of(found[0].diagnosis) if found else Effect.INFORMS


def health_to_json(trial: Trial) -> list[dict[str, object]]:
    """Return the timeline for programs, oldest change first."""
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
        for event in trial.control.diagnosed
    ]


def counts_text(trials: Sequence[Trial]) -> str:
    """Return how many trials have which class: ``8 ok, 3 vanishing_gradient, 1 non_finite``.

    A trial counts once, for the most important class that has ever held. Information, such as `converged`, counts as
    ok. Empty where nothing is known of any trial.
    """
    counts = Counter(_class_of(trial) for trial in trials if is_known(trial))
    if not counts:
        return ""
    classes = sorted((name for name in counts if name != OK), key=lambda name: (-counts[name], _rank(name)))
    listed = [f"{counts[name]} {plain(name)}" for name in ((OK,) if counts[OK] else ()) + tuple(classes)]
    unknown = len(trials) - counts.total()
    return ", ".join([*listed, f"{unknown} unknown"] if unknown else listed)


def values_text(trials: Sequence[Trial]) -> str:
    """Return which reported values the diagnoses take for the loss and for the score; empty where none is reported.

    The metric of the sweep is the score, unless it is a loss.
    """
    begun = [trial for trial in trials if trial.step >= 0 or trial.state is State.RUNNING]
    names = list(dict.fromkeys(name for trial in begun for name in trial.progress.metrics))
    if not names:
        return ""
    metric = begun[0].facts.metric
    own = metric if metric and not is_loss(metric) else ""
    loss, held_out, found = training_loss(names), held_out_loss(names), own or score(names)
    if loss is None and held_out is None and found is None:
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        return f"loss: none, score: none recognised by its name among {plain(', '.join(names[:MOST_NAMED]))}{more}"
    silent = " (not reported so far)" if own and own not in names else ""
    parts = [f"loss: {loss or 'none recognised'}"]
    parts += [f"held-out loss: {held_out}"] if held_out else []
    parts += [f"score: {found or 'none recognised'}{silent}"]
    return plain("; ".join(parts))


# ---- what a record says of a trial that was not observed ------------------------------------------------------------


def unobserved_text(trial: Trial) -> str:
    """Return why a trial that took steps has no observations, as its record has it; empty where it has some."""
    if trial.progress.watching is not None or (trial.step < 0 and trial.state is not State.COMPLETE):
        return ""
    parameters = trial.progress.parameters
    if parameters is not None and not parameters.trained:
        return f"{NOTHING_TRAINED}: {parameters_text(parameters)}"
    if any(note.startswith(NOTHING_WATCHED) for note in trial.progress.notes):
        return "not observed: trial.watch was called, but found nothing to watch (see the note)"
    if parameters is None:
        return "not watched: no call of trial.watch(model, optimizer)"
    if not trial.state.ended and trial.step < SOON:
        return ""
    return f"not observed: trial.watch was called, but the optimizer took no step; {parameters_text(parameters)}"


def parameters_text(parameters: Parameters) -> str:
    """Return what an optimizer trains of a model, and what it does not."""
    parts = [f"{parameters.trained:,} parameters are trained"] if parameters.trained else []
    parts += [f"{parameters.frozen:,} parameters are frozen"] if parameters.frozen else []
    if parameters.unowned:
        named = f" ({', '.join(parameters.names)})" if parameters.names else ""
        parts += [f"{parameters.unowned:,} parameters belong to no optimizer{named}"]
    parts += [f"the optimizer holds {parameters.foreign:,} that are not the model's"] if parameters.foreign else []
    return plain(", ".join(parts) or "the model has no parameters")


# ---- trials that no orchestrator runs -------------------------------------------------------------------------------


def ran_alone(trial: Trial) -> bool:
    """Return whether the trial is a script that was started without an orchestrator."""
    return any(launched.slot == ALONE for launched in trial.control.launched.values())


@dataclass(slots=True)
class OwnHealth:
    """The timeline of a trial that no orchestrator runs, computed as its record grows; of any other, as recorded."""

    _health: Health = field(default_factory=lambda: health_of([]))
    _state: HealthState | None = None
    _read: Trial | None = None
    _told: Trial | None = None

    def take(self, reader: TrialReader, entries: Iterable[Entry]) -> Trial:
        """Return the reader's trial with its timeline; `entries` is what its last poll returned."""
        trial = reader.trial
        if not ran_alone(trial):
            return trial
        if self._state is None or reader.restarted:
            self._state = self._health.start()
        for entry in entries:
            self._state, _ = self._health.step(self._state, entry.event)
        if self._told is None or trial is not self._read:
            self._read, self._told = trial, _with_timeline(trial, self._state)
        return self._told


def read_diagnosed(directory: TrialDir) -> Trial:
    """Return a trial as its record has it now, with the timeline of its health.

    Raises:
        RecordError: the trial's facts cannot be read.
    """
    reader = TrialReader.open(directory)
    return OwnHealth().take(reader, reader.poll())


def _with_timeline(trial: Trial, state: HealthState) -> Trial:
    return replace(trial, control=replace(trial.control, diagnosed=tuple(_events(trial, state))))


def _events(trial: Trial, state: HealthState) -> Iterator[Diagnosed]:
    """The timeline as an orchestrator would have recorded it: read back, so that the evidence is what JSON can hold."""
    for change in state.timeline:
        event = decode(encode(Diagnosed(attempt=trial.control.attempt, time=trial.latest, **asdict(change))))
        if isinstance(event, Diagnosed):
            yield event


def _class_of(trial: Trial) -> str:
    """The most important class that has ever held; `OK` where none has, and for information."""
    held = [event for event in trial.control.diagnosed if event.holds]
    serious = [event for event in held if effect_of(event.diagnosis) is not Effect.INFORMS]
    return min(serious, key=_importance).diagnosis if serious else OK


def _rank(diagnosis: str) -> int:
    return _RANKS.get(diagnosis, len(_RANKS))


def _importance(event: Diagnosed) -> tuple[int, int, int]:
    effect = effect_of(event.diagnosis)
    return _EFFECTS.index(effect) if effect is not None else len(_EFFECTS), event.since, _rank(event.diagnosis)
