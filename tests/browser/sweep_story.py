"""A made-up sweep with everything that the live page is to show: trials that learn, stall, fail, run and wait."""

from __future__ import annotations

import math
from dataclasses import replace

from sweeper.record.events import Diagnosed
from sweeper.record.storage.layout import SweepDir, write_json
from tests.browser.story import DECISION, PRUNED_AT, Story
from tests.views.report.test_report import spec
from tests.views.synthetic import Script, began, diagnose, make_trial, play

RATES = (1e-4, 2e-4, 3e-4, 5e-4, 8e-4, 1.2e-3)
WARMUPS = (0.0, 0.1, 0.3, 0.7)
OPTIMIZERS = ("adamw", "lion")
FAILED, LAST_ENDED = 9, 43
OUTPUT = "".join(f"epoch {epoch}: loss {1.4 * math.exp(-epoch / 3):.4f}\n" for epoch in range(1, 40))


def tell(run: SweepDir, *, long_names: bool = False) -> None:
    """Write the record of a sweep of 48 trials: the last ones run, and the very last waits."""
    write_json(run.spec, {"format": 1, "name": run.path.name, "spec": spec().to_json()})
    number = 0
    for warmup in WARMUPS:
        for rate in RATES:
            for optimizer in OPTIMIZERS:
                shown: dict[str, object] = {"lr": rate, "warmup_fraction": warmup, "optimizer": optimizer}
                if long_names:
                    shown["optimizer.schedule.cosine.final_learning_rate_fraction"] = 0.1 + number / 100
                    shown["data.path"] = f"/scratch/projects/language/corpora/deduplicated/part-{number:05d}.parquet"
                _trial(run, number, shown, stalls=rate * (1 - warmup) > 4.5e-4)
                number += 1


def _trial(run: SweepDir, number: int, shown: dict[str, object], *, stalls: bool) -> None:
    rate, warmup = float(str(shown["lr"])), float(str(shown["warmup_fraction"]))
    trial = make_trial(run, number, shown=shown, params={**shown, "epochs": 5})
    if number > LAST_ENDED + 3:
        return
    comes_to = None if stalls else 0.55 + 0.25 * math.exp(-((math.log10(rate) + 3.3) ** 2)) + 0.02 * warmup
    script: Script = Story(comes_to=comes_to, seed=number % 7)
    if number == FAILED:
        script = replace(script, until=210, outcome="failed", exit_code=1)
    elif number > LAST_ENDED:
        script = replace(script, until=200 + 90 * (number - LAST_ENDED), outcome="", exit_code=None)
    elif stalls:
        script = replace(script, until=PRUNED_AT + 1, stalled=True, outcome="stopped", decision=DECISION)
    play(trial, script)
    trial.attempt(1).output.write_text(OUTPUT)
    if stalls and number <= LAST_ENDED:
        change: Diagnosed = began("vanishing_gradient", 110, PRUNED_AT, reason=str(DECISION["reason"]))
        diagnose(trial, change)
