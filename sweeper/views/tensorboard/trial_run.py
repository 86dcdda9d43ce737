"""One trial as one TensorBoard run.

1. The events of the history are projected in its order, and each once: the position on disk says which was the last.
2. The first stepped event of a later attempt is preceded by a session start at the step after the one it resumed
   from: that takes back, for every tag and every reader, what an earlier attempt had seen beyond it.
3. The end of a trial is written once its state says so. If it runs again after all (a retry), the run is made anew,
   since TensorBoard takes the first end for final.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tensorboard.compat.proto.event_pb2 import Event as Summary

from sweeper.record.events import Event, Metrics, Noted, Observation, Resumed, Started, Watching, step_of
from sweeper.record.fold import State
from sweeper.record.storage.layout import SweepDir, TrialDir
from sweeper.record.trial import Entry, Facts, Trial, TrialReader
from sweeper.record.values.depth_profile import FEWEST_LAYERS
from sweeper.record.values.redaction import redacted, redacted_values
from sweeper.results.health.timeline import timeline_markdown
from sweeper.results.health.trial_health import OwnHealth
from sweeper.results.health.verdict import Verdict
from sweeper.results.markdown import code_block, escaped, trial_text, verdict_text
from sweeper.views.figures.history import DepthHistory, Look
from sweeper.views.figures.trial_figures import Figures
from sweeper.views.tensorboard import dashboard, summaries
from sweeper.views.tensorboard.histogram import DESCRIPTION, log_buckets
from sweeper.views.tensorboard.run_folder import RunFolder

BATCH_BYTES = 1 << 20
RATIO = "update_ratio"


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepTexts:
    """What every run of a sweep shows alike: the sweep file as given, and where it was run."""

    sweep_yaml: str = ""
    provenance: Mapping[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class _Reading:
    """What the history has said so far that later events are understood by."""

    attempt: int = 0
    started: bool = False
    resumed: int = -1
    stepped: bool = False
    step: int = 0
    watching: Watching | None = None
    look: Look | None = None
    history: DepthHistory = field(default_factory=DepthHistory)
    skipped: int = 0
    reports_lr: bool = False

    def take(self, entry: Entry, trial: TrialDir) -> bool:
        """Take in an event; whether it is the first stepped one of an attempt, which takes over from earlier ones."""
        attempt, _, event = entry
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
                    self.look = Look(event, self.watching, trial.attempt(attempt))
                    self.history.add(self.look)
            case Metrics():
                self.reports_lr = self.reports_lr or "learning_rate" in event.values
        first = step is not None and not self.stepped
        if step is not None:
            self.stepped, self.step = True, max(self.step, step)
        return first and self.started


class TrialRun:
    """Projects one trial into its TensorBoard run; call `project` again when the record may have grown.

    Raises:
        RecordError: the trial's facts cannot be read.
    """

    def __init__(self, run: SweepDir, directory: TrialDir, *, figures: Figures, every_steps: int) -> None:
        self._reader, self._health = TrialReader.open(directory), OwnHealth()
        self._diagnosed = self._reader.trial
        self._reading = _Reading()
        self._held: list[Entry] = []
        self._folder = RunFolder(run.tensorboard / self._reader.trial.facts.label)
        self._figures = figures
        self._every = every_steps
        self._position = self._folder.position
        self._pending: list[Summary] = []
        self._pending_bytes = 0

    @property
    def trial(self) -> Trial:
        """The trial as last read."""
        return self._reader.trial

    @property
    def done(self) -> bool:
        """Whether the trial has ended and its end is projected."""
        return 0 < self._reader.trial.control.attempt == self._position.ended and not self._folder.lost

    def project(self, texts: SweepTexts) -> None:
        """Bring the run up to the record."""
        entries = self._poll()
        newest = self._reader.trial.control.attempt
        if self._folder.lost or newest > self._position.ended > 0:
            self._folder.empty()
            self._position, self._reading, self._held = self._folder.position, _Reading(), []
            self._reader, self._health = TrialReader.open(self._reader.trial.directory), OwnHealth()
            entries = self._poll()
        if newest == 0:
            return
        if not self._position.ended:
            if not self._position.attempt:
                self._introduce(texts)
            for entry in entries:
                self._project(entry, texts)
            if self._reader.trial.state.ended:
                self._conclude(newest)
        self._put_health()  # the orchestrator may record the last change once the trial has ended
        self._commit()

    def _poll(self) -> list[Entry]:
        """What is new in the history; nothing while a later attempt has started, but not stepped.

        It may still resume, and then what earlier attempts saw up to there stands before it.
        """
        entries = self._reader.poll()
        self._diagnosed = self._health.take(self._reader, entries)
        if self._reader.restarted:
            self._reading = _Reading()
        else:
            entries = self._held + entries
        trial = self._reader.trial
        newest = [entry.event for entry in entries if entry.attempt == trial.control.attempt]
        started = len(trial.control.launched) > 1 and any(isinstance(event, Started) for event in newest)
        waits = started and not trial.state.ended and all(step_of(event) is None for event in newest)
        self._held = entries if waits else []
        return [] if waits else entries

    def _introduce(self, texts: SweepTexts) -> None:
        """HParams, and the texts that say what this run is."""
        trial = self._reader.trial
        first = min(trial.control.launched)
        time = trial.control.launched[first].time
        self._put(summaries.hparams_start(redacted_values(_compared(trial.facts)), time))
        self._put_first(texts, time)
        self._position = replace(self._position, attempt=first)

    def _put_first(self, texts: SweepTexts, time: float) -> None:
        """What stands at step 0, and is taken back with it."""
        metric = self._reader.trial.facts.metric
        self._put(summaries.layout(dashboard.TITLE, dashboard.compared(metric), time))
        if texts.sweep_yaml:
            self._put(summaries.text("sweep", code_block(redacted(texts.sweep_yaml)), step=0, time=time))
        self._put(summaries.text("trial", trial_text(self._reader.trial, texts.provenance), step=0, time=time))

    def _project(self, entry: Entry, texts: SweepTexts) -> None:
        takes_over = self._reading.take(entry, self._reader.trial.directory)
        if (entry.attempt, entry.position) <= (self._position.attempt, self._position.events):
            return
        if takes_over and entry.attempt > min(self._reader.trial.control.launched):
            self._take_back(entry.event, texts)
        self._put_event(entry.event)
        self._position = replace(self._position, attempt=entry.attempt, events=entry.position)
        if self._pending_bytes > BATCH_BYTES:
            self._commit()

    def _take_back(self, event: Event, texts: SweepTexts) -> None:
        """Take back what earlier attempts saw beyond the step where this one goes on."""
        resumed = self._reading.resumed
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
                self._put(summaries.scalars(_curves_of(event, self._reading), event.step, event.time))
                if event.step >= self._position.next_figure:
                    self._draw()
            case Noted():
                self._put(
                    summaries.text("notes", escaped(redacted(event.text)), step=self._reading.step, time=event.time)
                )

    def _put_health(self) -> None:
        """Put the timeline of the trial's health, whole, where it has changed since it was put last."""
        changes = self._diagnosed.control.diagnosed
        if changes and len(changes) != self._position.health:
            step = max(0, *(change.step for change in changes))
            self._put(summaries.text("health", timeline_markdown(self._diagnosed), step=step, time=changes[-1].time))
        self._position = replace(self._position, health=len(changes))

    def _draw(self) -> None:
        """Put the pictures of the newest look; without its row (torn, or late), the next one has them."""
        look = self._reading.look
        statistics = None if look is None else look.statistics()
        if look is None or statistics is None:
            return
        step, time = look.observation.step, look.observation.time
        self._put_pictures(look, self._figures.draw(look.watching, statistics, look.observation))
        self._put_history(look)
        if RATIO in statistics and len(buckets := log_buckets(statistics[RATIO])):
            self._put(summaries.histogram("update_ratio/layers", DESCRIPTION, buckets, step=step, time=time))
        following = (step // self._every + 1) * self._every
        self._position = replace(self._position, next_figure=following, drawn=step)

    def _put_history(self, look: Look) -> None:
        verdict = Verdict.of(self._reader.trial)
        self._put_pictures(look, self._figures.draw_history(look.watching, self._reading.history, verdict))

    def _put_pictures(self, look: Look, pictures: Mapping[str, bytes]) -> None:
        for tag, png in pictures.items():
            self._put(summaries.image(tag, png, step=look.observation.step, time=look.observation.time))
            self._pending_bytes += len(png)

    def _conclude(self, newest: int) -> None:
        """The last picture, the verdict, the end."""
        trial, look = self._reader.trial, self._reading.look
        if look is not None and look.observation.step > self._position.drawn:
            self._draw()
        elif look is not None and Verdict.of(trial) is not None:
            self._put_history(look)  # it may have been drawn before the verdict was known
        end = trial.exits.get(newest) or trial.control.lost.get(newest)
        time = end.time if end is not None else trial.progress.latest
        step, verdict = max(0, trial.progress.step), verdict_text(trial)
        if verdict is not None:
            # A name that stands before the other texts' in the alphabet, as TensorBoard shows them.
            self._put(summaries.text("decision", verdict, step=step, time=time))
        if trial.state is State.PRUNED:
            self._put(summaries.scalars({"pruned/step": step}, step, time))
        self._put(summaries.hparams_end(trial.state, time))
        self._position = replace(self._position, ended=newest)

    def _put(self, event: Summary) -> None:
        self._pending.append(event)

    def _commit(self) -> None:
        """Write what is pending, and how far it reaches."""
        if self._pending or self._position != self._folder.position:
            self._folder.commit(self._pending, self._position)
        # The folder knows which file it wrote, and how long that is now.
        self._position = self._folder.position
        self._pending, self._pending_bytes = [], 0


def _compared(facts: Facts) -> dict[str, object]:
    """The columns of HParams: what varies, so that the metrics beside it are seen; of a single trial everything."""
    if facts.shown and facts.seeds == 1:
        return dict(facts.shown)
    return {**(facts.shown or facts.params), "seed": facts.seed}


def _curves_of(observation: Observation, reading: _Reading) -> dict[str, float]:
    """What an observation adds to the curves; the learning rate only where the script does not report it itself."""
    curves = {}
    if reading.watching is None or RATIO in reading.watching.statistics:
        curves["update_ratio/median"] = observation.update_ratio
    if reading.watching is None or len(reading.watching.layers) >= FEWEST_LAYERS:
        curves["gradient/reach"] = observation.reach
    if not reading.reports_lr:
        curves["learning_rate"] = observation.learning_rate
    if reading.skipped:
        curves["steps/skipped"] = reading.skipped
    return curves
