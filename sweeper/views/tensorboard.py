"""One trial as one TensorBoard run.

1. Events are projected attempt by attempt, in their order, and each once.
2. The first stepped event of a later attempt is preceded by a session start at the step after the one it resumed
   from: that takes back, for every tag and every reader, what an earlier attempt had seen beyond it.
3. The end of a trial is written once its state says so. If it runs again after all (a retry), the run is made anew,
   since TensorBoard takes the first end for final.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tensorboard.compat.proto.event_pb2 import Event as Summary

from sweeper.record.events import Event, Metrics, Noted, Observation, Resumed, Watching, step_of
from sweeper.record.journal import JournalReader
from sweeper.record.layout import AttemptDir, SweepDir, TrialDir
from sweeper.record.profile import FEWEST_LAYERS
from sweeper.record.trial import TrialReader, read_row
from sweeper.views import summaries
from sweeper.views.figures import SIZE, Figures
from sweeper.views.markdown import code_block, escaped, trial_text, verdict_text
from sweeper.views.runfolder import RunFolder

BATCH_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepTexts:
    """What every run of a sweep shows alike: the sweep file as given, and where it was run."""

    sweep_yaml: str = ""
    provenance: Mapping[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class _Attempt:
    """What has been read of an attempt."""

    directory: AttemptDir
    journal: JournalReader
    read: int = 0
    resumed: int = -1
    begun: bool = False
    watching: Watching | None = None
    observation: Observation | None = None
    reports_lr: bool = False
    step: int = 0

    def take(self, event: Event) -> None:
        """Remember what later events are understood by."""
        self.read += 1
        self.step = max(self.step, step_of(event) or 0)
        match event:
            case Resumed():
                self.resumed = self.step = max(self.resumed, event.step)
            case Watching():
                self.watching = event
            case Observation():
                self.observation = event
            case Metrics():
                self.reports_lr = self.reports_lr or "learning_rate" in event.values


class TrialRun:
    """Projects one trial into its TensorBoard run; call `project` again when the record may have grown.

    Raises:
        RecordError: the trial's facts cannot be read.
    """

    def __init__(self, run: SweepDir, directory: TrialDir, *, figures: Figures, every_steps: int) -> None:
        self._reader = TrialReader.open(directory)
        self._folder = RunFolder(run.tensorboard / self._reader.trial.facts.label)
        self._figures = figures
        self._every = every_steps
        self._position = self._folder.position
        self._attempt: _Attempt | None = None
        self._pending: list[Summary] = []
        self._pending_bytes = 0

    @property
    def done(self) -> bool:
        """Whether the trial has ended and its end is projected."""
        return 0 < self._reader.trial.control.attempt == self._position.ended and not self._folder.lost

    def project(self, texts: SweepTexts) -> None:
        """Bring the run up to the record."""
        self._reader.poll()
        newest = self._reader.trial.control.attempt
        if self._folder.lost or newest > self._position.ended > 0:
            self._begin_anew()
        if newest == 0 or self._position.ended:
            return
        if not self._position.attempt:
            self._introduce(texts)
        for number in sorted(self._reader.trial.control.launched):
            if number >= self._position.attempt:
                self._follow(number, texts)
        if self._reader.trial.state.ended:
            self._conclude(newest)
        self._commit()

    def _begin_anew(self) -> None:
        self._folder.empty()
        self._position = self._folder.position
        self._attempt = None

    def _introduce(self, texts: SweepTexts) -> None:
        """HParams, and the texts that say what this run is."""
        trial = self._reader.trial
        time = trial.control.launched[min(trial.control.launched)].time
        # TensorBoard shows the first few columns unasked: what varies comes first.
        params = {**trial.facts.shown, "seed": trial.facts.seed, **trial.facts.params}
        self._put(summaries.hparams_start(params, time))
        self._put_texts(texts, time)

    def _put_texts(self, texts: SweepTexts, time: float) -> None:
        if texts.sweep_yaml:
            self._put(summaries.text("sweep", code_block(texts.sweep_yaml), step=0, time=time))
        self._put(summaries.text("trial", trial_text(self._reader.trial, texts.provenance), step=0, time=time))

    def _follow(self, number: int, texts: SweepTexts) -> None:
        """Project what an attempt appended since the last time."""
        attempt = self._opened(number)
        projected = self._position.events if number == self._position.attempt else 0
        for event in attempt.journal.read():
            attempt.take(event)
            stepped = step_of(event) is not None
            if attempt.read > projected:
                if stepped and not attempt.begun:
                    self._begin_attempt(attempt, event, texts)
                self._put_event(attempt, event)
                self._position = replace(self._position, attempt=number, events=attempt.read)
                if self._pending_bytes > BATCH_BYTES:
                    self._commit()
            attempt.begun = attempt.begun or stepped
        self._position = replace(self._position, attempt=number, events=attempt.read)

    def _opened(self, number: int) -> _Attempt:
        directory = self._reader.trial.directory.attempt(number)
        if self._attempt is None or self._attempt.directory != directory:
            self._attempt = _Attempt(directory, JournalReader(directory.events))
        return self._attempt

    def _begin_attempt(self, attempt: _Attempt, event: Event, texts: SweepTexts) -> None:
        """Take back what earlier attempts saw beyond the step where this one goes on."""
        if attempt.directory.number == min(self._reader.trial.control.launched):
            return
        self._commit()
        self._folder.begin_file()
        self._put(summaries.session_start(attempt.resumed + 1, event.time))
        if attempt.resumed < 0:
            self._put_texts(texts, event.time)  # they stand at step 0, so they were taken back too
        following = (attempt.resumed // self._every + 1) * self._every
        drawn = min(self._position.drawn, attempt.resumed)
        self._position = replace(self._position, next_figure=following, drawn=drawn)

    def _put_event(self, attempt: _Attempt, event: Event) -> None:
        match event:
            case Metrics():
                self._put(summaries.scalars(event.values, event.step, event.time))
            case Observation():
                self._put(summaries.scalars(_curves_of(event, attempt), event.step, event.time))
                if event.step >= self._position.next_figure:
                    self._draw(attempt, event)
            case Noted():
                self._put(summaries.text("notes", escaped(event.text), step=attempt.step, time=event.time))

    def _draw(self, attempt: _Attempt, observation: Observation) -> None:
        """Put both pictures; without its row (a torn one, a remote one that is late) the next observation has them."""
        watching = attempt.watching
        if watching is None:
            return
        row = read_row(attempt.directory, observation.row, len(watching.tensors) * len(watching.statistics))
        if row is None:
            return
        for tag, png in self._figures.draw(watching, row, observation).items():
            self._put(summaries.image(tag, png, SIZE, step=observation.step, time=observation.time))
            self._pending_bytes += len(png)
        following = (observation.step // self._every + 1) * self._every
        self._position = replace(self._position, next_figure=following, drawn=observation.step)

    def _conclude(self, newest: int) -> None:
        """The last picture, the verdict, the end."""
        trial, attempt = self._reader.trial, self._attempt
        if attempt is not None and attempt.observation is not None and attempt.observation.step > self._position.drawn:
            self._draw(attempt, attempt.observation)
        end = trial.exits.get(newest) or trial.control.lost.get(newest)
        time = end.time if end is not None else trial.progress.latest
        verdict = verdict_text(trial)
        if verdict is not None:
            self._put(summaries.text("verdict", verdict, step=max(0, trial.progress.step), time=time))
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


def _curves_of(observation: Observation, attempt: _Attempt) -> dict[str, float]:
    """What an observation adds to the curves; the learning rate only where the script does not report it itself."""
    curves = {"update_ratio/median": observation.update_ratio}
    if attempt.watching is None or len(attempt.watching.layers) >= FEWEST_LAYERS:
        curves["gradient/reach"] = observation.reach
    if not attempt.reports_lr:
        curves["learning_rate"] = observation.learning_rate
    return curves
