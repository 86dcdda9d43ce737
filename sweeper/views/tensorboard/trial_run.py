"""Write one trial as one TensorBoard run.

1. The events of the trial's history are written in order, each once. The position on disk records the last one.
2. Before the first event with a step of a later attempt, a session start is written at the step after the one that the
   attempt resumed from. It makes every reader drop what earlier attempts logged beyond that step.
3. The end of a trial is written once its state is final. If the trial is retried after that, the run is rebuilt,
   because TensorBoard keeps the first end that it reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tensorboard.compat.proto.event_pb2 import Event as Summary

from sweeper.record.events import Event, Metrics, Noted, Observation, Resumed, Spiked, Started, Watching
from sweeper.record.facts import Facts
from sweeper.record.reader import TrialReader, step_of
from sweeper.record.storage.layout import SweepDir, TrialDir
from sweeper.record.trial import HistoryEntry, State, TrialRecord
from sweeper.record.values.redaction import redacted, redacted_values
from sweeper.results.health.trial_health import StandaloneHealth
from sweeper.views.figures.history import DepthHistory, RecordedObservation
from sweeper.views.figures.stop_mark import StopMark
from sweeper.views.figures.trial_figures import TrialFigures
from sweeper.views.tensorboard import summaries
from sweeper.views.tensorboard.curves import (
    CHARTS_TITLE,
    HISTOGRAM_DESCRIPTION,
    UPDATE_RATIO,
    comparison_charts,
    log_buckets,
    observation_scalars,
    spike_scalars,
)
from sweeper.views.tensorboard.markdown import code_block, decision_text, escaped, timeline_markdown, trial_text
from sweeper.views.tensorboard.run_folder import RunFolder

BATCH_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepTexts:
    """The texts that are the same in every run of a sweep: the sweep file as given, and its provenance."""

    sweep_yaml: str = ""
    provenance: Mapping[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class _Context:
    """What the events read so far say about the events that follow.

    `started` and `stepped` are about the newest attempt, `resumed` is the step that it resumed from (-1: none).
    `skipped` counts skipped optimizer steps; `reports_lr` is true once the script has reported its learning rate.
    """

    attempt: int = 0
    started: bool = False
    resumed: int = -1
    stepped: bool = False
    step: int = 0
    watching: Watching | None = None
    recorded: RecordedObservation | None = None
    history: DepthHistory = field(default_factory=DepthHistory)
    skipped: int = 0
    reports_lr: bool = False

    def take(self, entry: HistoryEntry, trial: TrialDir) -> bool:
        """Add an event. Return whether it is the first event with a step of its attempt.

        What is left of an attempt with a damaged first line has none, unless it was collected.
        """
        attempt, event = entry.attempt, entry.event
        if attempt != self.attempt:
            self.attempt, self.started, self.resumed, self.stepped = attempt, False, -1, False
        step = step_of(event)
        match event:
            case Started():
                self.started = True
            case Resumed():
                self.resumed = self.step = max(self.resumed, event.step)
            case Watching():
                self.watching = event
            case Observation():
                self.skipped += event.skipped
                if self.watching is not None:
                    self.recorded = RecordedObservation(event, self.watching, trial.attempt(attempt))
                    self.history.add(self.recorded)
            case Metrics():
                self.reports_lr = self.reports_lr or "learning_rate" in event.values
        first = step is not None and not self.stepped
        if step is not None:
            self.stepped, self.step = True, max(self.step, step)
        return first and (self.started or entry.collected)


class TrialRun:
    """Writes one trial to its TensorBoard run; call `project` again when the record may have grown.

    Raises:
        RecordError: the trial's facts cannot be read.
    """

    def __init__(self, run: SweepDir, directory: TrialDir, *, figures: TrialFigures, every_steps: int) -> None:
        self._reader, self._health = TrialReader.open(directory), StandaloneHealth()
        self._diagnosed = self._reader.trial
        self._context = _Context()
        self._deferred: list[HistoryEntry] = []
        self._resumed: dict[int, int] = {}
        self._folder = RunFolder(run.tensorboard / self._reader.trial.facts.label, root=run.path)
        self._figures = figures
        self._every = every_steps
        self._position = self._folder.position
        self._pending: list[Summary] = []
        self._pending_bytes = 0

    @property
    def trial(self) -> TrialRecord:
        """Return the trial as it was last read."""
        return self._reader.trial

    @property
    def done(self) -> bool:
        """Return whether the trial has ended and its end is written."""
        return 0 < self._reader.trial.newest.number == self._position.ended and not self._folder.lost

    def project(self, texts: SweepTexts) -> None:
        """Write everything that is new in the record."""
        entries = self._poll()
        newest = self._reader.trial.newest.number
        if self._folder.lost or newest > self._position.ended > 0:
            self._folder.empty()
            self._position, self._context, self._deferred = self._folder.position, _Context(), []
            self._reader, self._health = TrialReader.open(self._reader.trial.directory), StandaloneHealth()
            entries = self._poll()
        if newest == 0:
            return
        if not self._position.ended:
            if not self._position.attempt:
                self._introduce(texts)
            # Metrics may have been collected before the worker opened its trial and loaded its checkpoint.
            self._resumed = {entry.attempt: -1 for entry in entries if isinstance(entry.event, Started)}
            for entry in entries:
                if isinstance(entry.event, Resumed):
                    self._resumed[entry.attempt] = max(self._resumed.get(entry.attempt, -1), entry.event.step)
            for entry in entries:
                self._project(entry, texts)
            if self._reader.trial.state.ended:
                self._put_end(newest)
        self._put_health()  # the orchestrator may record the last change after the trial has ended
        self._commit()

    def _poll(self) -> list[HistoryEntry]:
        """Return the new entries of the history; none while a later attempt has started but not logged a step.

        Until its first step, that attempt may still resume from a checkpoint, which decides how much of the earlier
        attempts stays valid.
        """
        entries = self._reader.poll()
        self._diagnosed = self._health.take(self._reader, entries)
        if self._reader.restarted:
            self._context = _Context()
        else:
            entries = self._deferred + entries
        trial = self._reader.trial
        newest = [entry.event for entry in entries if entry.attempt == trial.newest.number and not entry.collected]
        started = len(trial.attempts) > 1 and any(isinstance(event, Started) for event in newest)
        waits = started and not trial.state.ended and all(step_of(event) is None for event in newest)
        self._deferred = entries if waits else []
        return [] if waits else entries

    def _introduce(self, texts: SweepTexts) -> None:
        """Write the hyperparameters and the texts that describe the run."""
        trial = self._reader.trial
        first = trial.attempts[0]
        time = first.launch_time
        self._put(summaries.hparams_start(redacted_values(_hyperparameters(trial.facts)), time))
        self._put_first(texts, time)
        self._position = replace(self._position, attempt=first.number)

    def _put_first(self, texts: SweepTexts, time: float) -> None:
        """Write the layout and the texts at step 0; they are lost and written again if an attempt starts from 0."""
        metric = self._reader.trial.facts.metric
        self._put(summaries.layout(CHARTS_TITLE, comparison_charts(metric), time))
        if texts.sweep_yaml:
            self._put(summaries.text("sweep", code_block(redacted(texts.sweep_yaml)), step=0, time=time))
        self._put(summaries.text("trial", trial_text(self._reader.trial, texts.provenance), step=0, time=time))

    def _project(self, entry: HistoryEntry, texts: SweepTexts) -> None:
        is_first = self._context.take(entry, self._reader.trial.directory)
        written = self._position.collected if entry.collected else self._position.events
        if (entry.attempt, entry.position) <= (self._position.attempt, written):
            return
        if is_first and entry.attempt > self._reader.trial.attempts[0].number:
            self._retract(entry.event, texts)
        self._put_event(entry.event)
        if entry.attempt != self._position.attempt:
            self._position = replace(self._position, attempt=entry.attempt, events=0, collected=0)
        if entry.collected:
            self._position = replace(self._position, collected=entry.position)
        else:
            self._position = replace(self._position, events=entry.position)
        if self._pending_bytes > BATCH_BYTES:
            self._commit()

    def _retract(self, event: Event, texts: SweepTexts) -> None:
        """Make readers drop what earlier attempts logged beyond the step that this attempt resumed from.

        The script of an attempt that was not started knows nothing of sweeper: it resumed where its first value is.
        """
        if self._context.started:
            resumed = max(self._context.resumed, self._resumed.get(self._context.attempt, -1))
        else:
            resumed = self._resumed.get(self._context.attempt, (step_of(event) or 0) - 1)
        self._commit()
        self._folder.begin_file()
        self._put(summaries.session_start(resumed + 1, event.time))
        if resumed < 0:
            self._put_first(texts, event.time)
        following = (resumed // self._every + 1) * self._every
        drawn = min(self._position.drawn, resumed)
        self._position = replace(self._position, next_figure=following, drawn=drawn, health=0)

    def _put_event(self, event: Event) -> None:
        match event:
            case Metrics():
                self._put(summaries.scalars(event.values, event.step, event.time))
            case Observation():
                self._put(summaries.scalars(self._scalars_of(event), event.step, event.time))
                if event.step >= self._position.next_figure:
                    self._draw()
            case Spiked():
                self._put(summaries.scalars(spike_scalars(event), event.step, event.time))
            case Noted():
                self._put(
                    summaries.text("notes", escaped(redacted(event.text)), step=self._context.step, time=event.time)
                )

    def _scalars_of(self, observation: Observation) -> dict[str, float]:
        context = self._context
        return observation_scalars(
            observation, context.watching, skipped=context.skipped, reports_lr=context.reports_lr
        )

    def _put_health(self) -> None:
        """Write the whole health timeline of the trial if it has changed since it was last written."""
        changes = self._diagnosed.diagnosed
        if changes and len(changes) != self._position.health:
            step = max(0, *(change.step for change in changes))
            self._put(summaries.text("health", timeline_markdown(self._diagnosed), step=step, time=changes[-1].time))
        self._position = replace(self._position, health=len(changes))

    def _draw(self) -> None:
        """Write the pictures of the newest observation; if its row is torn or late, the next observation has them."""
        recorded = self._context.recorded
        statistics = None if recorded is None else recorded.statistics()
        if recorded is None or statistics is None:
            return
        step, time = recorded.observation.step, recorded.observation.time
        self._put_pictures(recorded, self._figures.draw(recorded.watching, statistics, recorded.observation))
        self._put_history(recorded)
        if UPDATE_RATIO in statistics and len(buckets := log_buckets(statistics[UPDATE_RATIO])):
            self._put(summaries.histogram("update_ratio/layers", HISTOGRAM_DESCRIPTION, buckets, step=step, time=time))
        following = (step // self._every + 1) * self._every
        self._position = replace(self._position, next_figure=following, drawn=step)

    def _put_history(self, recorded: RecordedObservation) -> None:
        mark = StopMark.of(self._reader.trial)
        self._put_pictures(recorded, self._figures.draw_history(recorded.watching, self._context.history, mark))

    def _put_pictures(self, recorded: RecordedObservation, pictures: Mapping[str, bytes]) -> None:
        for tag, png in pictures.items():
            self._put(summaries.image(tag, png, step=recorded.observation.step, time=recorded.observation.time))
            self._pending_bytes += len(png)

    def _put_end(self, newest: int) -> None:
        """Write the last pictures, the decision that stopped the trial, and its end."""
        trial, recorded = self._reader.trial, self._context.recorded
        if recorded is not None and recorded.observation.step > self._position.drawn:
            self._draw()
        elif recorded is not None and StopMark.of(trial) is not None:
            self._put_history(recorded)  # it may have been drawn before the decision
        end = trial.newest.end
        time = end.time if end is not None else trial.progress.latest
        step, decision = max(0, trial.progress.step), decision_text(trial)
        if decision is not None:
            # TensorBoard sorts texts by name, and this name comes first.
            self._put(summaries.text("decision", decision, step=step, time=time))
        if trial.state is State.PRUNED:
            self._put(summaries.scalars({"pruned/step": step}, step, time))
        self._put(summaries.hparams_end(trial.state, time))
        self._position = replace(self._position, ended=newest)

    def _put(self, event: Summary) -> None:
        self._pending.append(event)

    def _commit(self) -> None:
        """Write the pending events and the new position."""
        if self._pending or self._position != self._folder.position:
            self._folder.commit(self._pending, self._position)
        # The folder fills in the number and size of the event file.
        self._position = self._folder.position
        self._pending, self._pending_bytes = [], 0


def _hyperparameters(facts: Facts) -> dict[str, object]:
    """Return the columns of the HParams tab: the varied parameters, or all of them if nothing varies."""
    if facts.shown and facts.seeds == 1:
        return dict(facts.shown)
    return {**(facts.shown or facts.params), "seed": facts.seed}
