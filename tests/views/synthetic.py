"""Records of made-up trials, written through the real record classes: a BERT of 12 layers that learns, or stalls."""

from __future__ import annotations

import math
import zlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from sweeper.record.decision import Decision
from sweeper.record.events import (
    Checkpointed,
    Diagnosed,
    Event,
    Exit,
    Finished,
    Launched,
    Metrics,
    Observation,
    Plan,
    Resumed,
    Started,
    StopRequested,
    Watching,
)
from sweeper.record.facts import Facts
from sweeper.record.storage.codec import encode
from sweeper.record.storage.journal import JournalWriter
from sweeper.record.storage.layout import SweepDir, TrialDir, write_json
from sweeper.record.values.depth_profile import STATISTICS

START = 1_700_000_000.0
MODULES = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "attention.output.LayerNorm",
    "intermediate.dense",
    "output.dense",
    "output.LayerNorm",
)
DECISION: Mapping[str, object] = {
    "rule": "stalled",
    "step": 130,
    "reason": "The gradient no longer reaches the first layers: median reach 5e-05 over 5 observations, below 0.03.",
    "evidence": {
        "statistic": "reach",
        "window": [[90, 6e-5], [100, 5e-5], [110, math.nan], [120, 4e-5], [130, 5e-5]],
        "median": 5e-5,
        "threshold": 0.03,
        "started_at": 0.41,
    },
}


def watching(layers: int = 12, *, statistics: Sequence[str] = STATISTICS) -> Watching:
    """The columns of a BERT: 3 embeddings and a norm, 8 tensors a layer, pooler and classifier.

    With `grad_norm` alone, as the watch mode `reach` has them: tensors of layers only.
    """
    names = [f"bert.embeddings.{kind}_embeddings.weight" for kind in ("word", "position", "token_type")]
    names.append("bert.embeddings.LayerNorm.weight")
    names += [f"bert.encoder.layer.{i}.{module}.weight" for i in range(layers) for module in MODULES]
    names += ["bert.pooler.dense.weight", "classifier.weight"]
    found = [name.removesuffix(".weight") for name in names if "embeddings" not in name and "Norm" not in name]
    if len(statistics) == 1:
        names = [f"{name}.weight" for name in found]
    layer_of = [found.index(n.removesuffix(".weight")) if n.removesuffix(".weight") in found else -1 for n in names]
    return Watching(
        time=START,
        layers=tuple(found),
        tensors=tuple(names),
        sizes=(64,) * len(names),
        layer_of=tuple(layer_of),
        statistics=tuple(statistics),
        every=10,
    )


def row_of(seen: Watching, step: int, *, stalled: bool) -> array[float]:
    """Return the statistics of one observation; in a stalled trial the gradient fades from step 80 on."""
    fade = 5.0 * min(1.0, max(0.0, (step - 70) / 50)) if stalled else 0.3
    values: list[float] = []
    last = len(seen.tensors) - 1
    for i, name in enumerate(seen.tensors):
        wobble = 0.25 * math.sin(3 * i + step / 9)
        mean = 10 ** (-3.2 - fade * (1 - i / last) + wobble)
        ratio = math.nan if name == "classifier.weight" and step < 10 else mean * 10**0.4
        zeros = 0.7 if "word_embeddings" in name else 0.0
        every = (mean, 40 * mean, 1.7 * mean, zeros, 8 * mean, 3.0, 3 * ratio, ratio)
        values += [value for value, name in zip(every, STATISTICS, strict=True) if name in seen.statistics]
    return array("f", values)


@dataclass(kw_only=True)
class Script:
    """What one attempt of a trial does, from step `first` up to `until`."""

    number: int = 1
    first: int = 0
    until: int = 640
    total: int = 640
    stalled: bool = False
    layers: int = 12
    outcome: str = "completed"
    decision: Mapping[str, object] | None = None
    exit_code: int | None = 0
    extra: Sequence[Event] = field(default_factory=tuple)
    loss: float | None = None
    statistics: Sequence[str] = STATISTICS
    skipped: int = 0

    def time(self, step: float) -> float:
        return START + 10_000 * (self.number - 1) + 5 + 0.1 * (step - self.first)

    def events(self) -> Iterator[tuple[Event, array[float] | None]]:
        seen, row = watching(self.layers, statistics=self.statistics), 0
        yield Started(time=self.time(self.first - 1), pid=1, host="here"), None
        if self.first:
            yield Resumed(time=self.time(self.first - 1), step=self.first - 1), None
        yield Plan(time=self.time(self.first), total_steps=self.total, peak_lr=6e-4), None
        yield seen, None
        for step in range(self.first, self.until):
            time = self.time(step)
            if step % 10 == 0:
                observed = row_of(seen, step, stalled=self.stalled)
                ratio = observed[-1] if "update_ratio" in self.statistics else math.nan
                reach = observed[len(observed) // len(seen.tensors) * 4] / observed[-len(self.statistics)] * 2
                yield (
                    Observation(
                        time=time,
                        step=step,
                        row=row,
                        reach=reach,
                        update_ratio=ratio,
                        learning_rate=6e-4 * (1 - step / self.total),
                        clipped=False,
                        skipped=self.skipped,
                        missing=0,
                        not_finite=0,
                    ),
                    observed,
                )
                row += 1
            if step % 10 == 9:
                loss = self.loss if self.loss is not None else 1.386 if self.stalled else 1.4 * math.exp(-step / 300)
                values = {"loss/train": loss, "gradient/norm": 1.0, "accuracy/train": 0.3}
                yield Metrics(time=time, step=step, values=values), None
            if step % 128 == 127:
                accuracy = 0.291 if self.stalled else 0.3 + 0.5 * step / self.total
                yield Metrics(time=time, step=step, values={"accuracy/test": accuracy, "loss/test": 1.0}), None
                yield Checkpointed(time=time, step=step, file=f"step-{step}"), None
        for event in self.extra:
            yield event, None
        if self.outcome:
            error = "boom" if self.outcome == "failed" else ""
            yield Finished(time=self.time(self.until), outcome=self.outcome, error=error), None


def facts(number: int = 0, **changes: Any) -> Facts:
    """The facts of a trial of a two-parameter grid."""
    shown = {"lr": 6e-4, "warmup_fraction": 0.1}
    given: dict[str, Any] = {
        "number": number,
        "configuration": number,
        "seed": 0,
        "params": {**shown, "hidden_size": 64, "pretrained": False, "dataset": ["20newsgroups", "synthetic"]},
        "shown": shown,
        "command": ("python", "-m", "sweeper.trainers.text_classification"),
        "metric": "accuracy/test",
        "maximize": True,
    }
    return Facts(**{**given, **changes})


def make_trial(run: SweepDir, number: int = 0, **changes: Any) -> TrialDir:
    """A trial that waits."""
    trial = run.trial(number)
    trial.path.mkdir(parents=True)
    write_json(trial.facts, {"format": 1, **asdict(facts(number, **changes))})
    return trial


def play(trial: TrialDir, script: Script) -> None:
    """Launch an attempt and write all that it leaves."""
    attempt = trial.attempt(script.number)
    attempt.path.mkdir(parents=True)
    launched = Launched(time=script.time(script.first) - 5, attempt=script.number, slot=f"cpu:{trial.number % 2}")
    with JournalWriter(trial.control) as control:
        control.append(launched)
    with JournalWriter(attempt.events) as journal, attempt.layers.open("wb") as rows:
        for event, row in script.events():
            if row is not None and isinstance(event, Observation):
                rows.write(row.tobytes())
                rows.flush()
                event = replace(event, row_crc=zlib.crc32(row.tobytes()))  # noqa: PLW2901 - as it is recorded
            journal.append(event)
    end = script.time(script.until)
    if script.decision is not None:
        with JournalWriter(trial.control) as control:
            decision = Decision.read(script.decision)
            control.append(StopRequested(time=end, attempt=script.number, cause="pruned", decision=decision))
    if script.exit_code is not None:
        cause, code = ("error" if script.exit_code else "completed"), script.exit_code
        ended = Exit(time=end + 1, attempt=script.number, code=code, signal=None, cause=cause, peak_memory_mb=500.0)
        attempt.exit.write_bytes(encode(ended))


def diagnose(trial: TrialDir, *changes: Diagnosed) -> None:
    """Write changes of health as the orchestrator does while the trial runs."""
    with JournalWriter(trial.control) as control:
        for change in changes:
            control.append(change)


def began(diagnosis: str, since: int, step: int | None = None, *, reason: str = "because", **more: Any) -> Diagnosed:
    """A diagnosis that begins to hold; by default it is found two observations after it began."""
    found = since + 20 if step is None else step
    given = {"attempt": 1, "time": START + 60, "evidence": {"statistic": "reach", "median": 1e-4}, **more}
    return Diagnosed(diagnosis=diagnosis, since=since, step=found, holds=True, reason=reason, **given)


def over(diagnosis: str, since: int, step: int) -> Diagnosed:
    """A diagnosis that no longer holds."""
    return Diagnosed(attempt=1, time=START + 61, diagnosis=diagnosis, since=since, step=step, holds=False)
