"""A made-up sweep that tells the article's story, with everything that TensorBoard is to show of one.

Four trials, learning rate by warmup: two learn, one stalls and was pruned, one runs. The best offers its documents.
"""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, replace

from sweeper.record.events import Event, Metrics, Observation
from sweeper.record.storage.layout import SweepDir, TrialDir
from sweeper.views.tensorboard.process import project
from tests.views.synthetic import Script, make_trial, play

CLASSES = ("graphics", "medicine", "religion", "space")
DOCUMENTS, DIMENSIONS = 300, 16
PRUNED_AT = 160
REASON = "The gradient no longer reaches the first layers: median reach 5e-05 over 5 observations, below 0.005."
DECISION = {
    "rule": "stalled",
    "step": PRUNED_AT,
    "reason": REASON,
    "evidence": {
        "statistic": "reach",
        "window": [
            [step, value] for step, value in zip(range(120, 161, 10), (6e-5, 5e-5, 5e-5, 4e-5, 5e-5), strict=True)
        ],
        "median": 5e-5,
        "threshold": 0.005,
        "learning_rate": 8e-4,
    },
}
TRIALS = (
    ({"lr": 3e-4, "warmup_fraction": 0.1}, 0.74),
    ({"lr": 3e-4, "warmup_fraction": 0.7}, 0.79),
    ({"lr": 8e-4, "warmup_fraction": 0.1}, None),
    ({"lr": 8e-4, "warmup_fraction": 0.7}, 0.77),
)
"""What is varied, and the accuracy that it comes to; None for the one that stalls."""
NAMES = tuple(
    f"{number:04d}_lr={lr}_warmup_fraction={warmup}"
    for number, (lr, warmup) in enumerate([("3e-4", 0.1), ("3e-4", 0.7), ("8e-4", 0.1), ("8e-4", 0.7)])
)


@dataclass(kw_only=True)
class Story(Script):
    """An attempt with realistic curves, which reaches the accuracy `comes_to`, or stalls."""

    comes_to: float | None = None
    seed: int = 0

    def events(self) -> Iterator[tuple[Event, array[float] | None]]:
        chance = random.Random(self.seed)
        for event, row in super().events():
            yield self._told(event, chance), row

    def _told(self, event: Event, chance: random.Random) -> Event:
        match event:
            case Observation():
                low = 0.09 * 10 ** (-3.3 * min(1.0, max(0.0, (event.step - 70) / 50)))
                reach = (low if self.comes_to is None else 0.3 + 0.4 * self._learnt(event.step)) * chance.uniform(
                    0.8, 1.25
                )
                ratio = 2e-3 * math.sqrt(reach) * chance.uniform(0.8, 1.25)
                return replace(event, reach=reach, update_ratio=ratio)
            case Metrics():
                loss = 1.386 - 1.1 * self._learnt(event.step) + chance.uniform(-0.04, 0.04)
                reported = {"loss/train": loss, "loss/test": loss + 0.1}
                reported["accuracy/test"] = 0.291 + ((self.comes_to or 0.291) - 0.291) * self._learnt(event.step)
                return replace(
                    event, values={**event.values, **{k: v for k, v in reported.items() if k in event.values}}
                )
        return event

    def _learnt(self, step: int) -> float:
        """How much of it, 0..1."""
        return 0.0 if self.comes_to is None else 1 / (1 + math.exp((230 + 20 * self.seed - step) / 60))


def tell(run: SweepDir) -> None:
    """Write the record of the sweep, and project it."""
    run.spec.write_text("{}")
    run.sweep_yaml.write_text("name: warmup\nparameters:\n  lr: {values: [3e-4, 8e-4]}\n")
    for number, (shown, accuracy) in enumerate(TRIALS):
        trial = make_trial(run, number, shown=shown, params={**shown, "epochs": 5})
        script = Story(comes_to=accuracy, seed=number)
        if accuracy is None:
            script = replace(script, until=PRUNED_AT + 1, stalled=True, outcome="stopped", decision=DECISION)
        elif number == len(TRIALS) - 1:
            script = replace(script, until=400, outcome="", exit_code=None)
        play(trial, script)
    _offer_documents(run.trial(1))
    project(run, 160)


def _offer_documents(trial: TrialDir) -> None:
    chance = random.Random(0)
    centres = [[chance.gauss(0, 1) for _ in range(DIMENSIONS)] for _ in CLASSES]
    trial.embeddings.mkdir()
    vectors, lines = [], ["class\tpredicted\tright\ttext"]
    for number in range(DOCUMENTS):
        label = number % len(CLASSES)
        guess = label if chance.random() < 0.8 else chance.randrange(len(CLASSES))
        vectors.append("\t".join(f"{chance.gauss(mean, 0.3):.4f}" for mean in centres[guess]))
        right = "yes" if guess == label else "no"
        lines.append(f"{CLASSES[label]}\t{CLASSES[guess]}\t{right}\tdocument {number} on {CLASSES[label]}")
    (trial.embeddings / "vectors.tsv").write_text("\n".join(vectors) + "\n")
    (trial.embeddings / "metadata.tsv").write_text("\n".join(lines) + "\n")
