"""How many proposals diverge once some have: sweeper, Optuna's default, and W&B's own search, side by side.

    python benchmarks/failures.py [--repeats 5] [--wandb PYTHON] [--learn-from N] [--save NAME]

A search of 30 trials over one learning rate, log-uniform from 1e-5 to 10. Above 1e-2, half of the range, a trial
diverges: it has no finite value, or raises, which is the same for a search. Below, its loss is analytic and lowest at
`optimum`, so nothing is trained. Optuna's trials that diverge are told as failed, as `Study.optimize` does for both.
W&B's search is its library `sweeps` (`pip install sweeps`), by default run by this Python; a trial that diverges is a
failed run there, and `impute` has its default, `worst`. Each table has the mean over the repeats.

With `--learn-from N` there is one table for each optimum instead: a search alone, and one that learns from a random run
of N trials (`learn_from` in a sweep file).
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import optuna
from rich.table import Table

from benchmarks.machine import description, present
from sweeper.config import SweepSpec
from sweeper.search import Configuration, search_for

LEAST, MOST, LIMIT = 1e-5, 10.0, 1e-2
TRIALS, FIRST = 30, 10
OPTIMA = (1e-3, 3e-3)
METHODS = ("tpe", "gp", "cmaes", "qmc", "random")
SAMPLERS: dict[str, Callable[[int], optuna.samplers.BaseSampler]] = {
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed),
    "gp": lambda seed: optuna.samplers.GPSampler(seed=seed),
    "cmaes": lambda seed: optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False),
    "qmc": lambda seed: optuna.samplers.QMCSampler(seed=seed, warn_independent_sampling=False),
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
}
WANDB = """
import json, math, random, sys, warnings
warnings.simplefilter("ignore")
import numpy
from sweeps import RunState, next_run
least, most, limit, optimum, trials, seed = json.loads(sys.argv[1])
lr = {"min": least, "max": most, "distribution": "log_uniform_values"}
config = {"method": "bayes", "metric": {"name": "loss", "goal": "minimize"}, "parameters": {"lr": lr}}
random.seed(seed)
numpy.random.seed(seed)
runs, proposed = [], []
for _ in range(trials):
    run = next_run(config, runs)
    proposed.append(run.config["lr"]["value"])
    run.state = RunState.failed if proposed[-1] > limit else RunState.finished
    if proposed[-1] <= limit:
        value = {"loss": 0.5 + math.log10(proposed[-1] / optimum) ** 2 / 4}
        run.history, run.summary_metrics = [value], value
    runs.append(run)
print(json.dumps(proposed))
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The learning rates that one search proposed."""

    proposed: Sequence[float]

    @property
    def diverged(self) -> int:
        """How many diverge."""
        return sum(lr > LIMIT for lr in self.proposed)

    @property
    def diverged_later(self) -> int:
        """How many diverge after the first ones."""
        return sum(lr > LIMIT for lr in self.proposed[FIRST:])

    def lowest(self, optimum: float) -> float:
        """Return the lowest loss; 0.5 is possible."""
        return min((value for lr in self.proposed if (value := loss(lr, optimum)) is not None), default=math.nan)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--optima", type=float, nargs="+", default=OPTIMA, help="learning rates of the lowest loss")
    parser.add_argument("--wandb", default=sys.executable, help="a Python that has W&B's library `sweeps`")
    parser.add_argument("--save", help="name of the table in benchmarks/results")
    parser.add_argument("--learn-from", type=int, metavar="N", help="compare with a search that learns from N trials")
    options = parser.parse_args()
    machine = description()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    command = f"python benchmarks/failures.py --repeats {options.repeats}"
    if options.learn_from:
        tables = [learning_table(optimum, options.repeats, options.learn_from) for optimum in options.optima]
        command += f" --learn-from {options.learn_from}"
    else:
        tables = [table(optimum, options.repeats, options.wandb) for optimum in options.optima]
    present("Proposals that diverge once some have", command, machine, tables, save=options.save)


def table(optimum: float, repeats: int, wandb: str) -> Table:
    """Return the table for one optimum."""
    later = f"of {TRIALS - FIRST} after the first {FIRST}"
    rows = Table(f"optimum {optimum:g}", "diverge, of 30", later, "in each repeat", "lowest loss", box=None)
    for method in METHODS:
        named = [
            ("sweeper", [ours(method, "worst", optimum, seed) for seed in range(repeats)]),
            ("sweeper, impute: off", [ours(method, "off", optimum, seed) for seed in range(repeats)]),
            ("Optuna, told as failed", [optunas(method, optimum, seed) for seed in range(repeats)]),
        ]
        for name, outcomes in named if method not in ("qmc", "random") else named[:1]:
            add(rows, f"{method}: {name}", outcomes, optimum)
    peers = [wandbs(wandb, optimum, seed) for seed in range(repeats)]
    if found := [outcome for outcome in peers if outcome is not None]:
        add(rows, "bayes: W&B's library sweeps", found, optimum)
    return rows


def learning_table(optimum: float, repeats: int, count: int) -> Table:
    """Return the table of searches that learn from a random run of `count` trials, beside those that do not."""
    later = f"of {TRIALS - FIRST} after the first {FIRST}"
    rows = Table(f"optimum {optimum:g}", "diverge, of 30", later, "in each repeat", "lowest loss", box=None)
    for method in ("tpe", "gp", "cmaes"):
        alone = [ours(method, "worst", optimum, seed) for seed in range(repeats)]
        others = [searched("random", "worst", optimum, f"other{seed}", count=count) for seed in range(repeats)]
        learned = [[replace(one, number=one.number - count) for one in other] for other in others]
        knowing = [ours(method, "worst", optimum, seed, learned[seed]) for seed in range(repeats)]
        add(rows, f"{method}: alone", alone, optimum)
        add(rows, f"{method}: learns from {count} random trials", knowing, optimum)
    return rows


def add(rows: Table, name: str, outcomes: Sequence[Outcome], optimum: float) -> None:
    """Add a row: the means of several repeats."""
    total, later = ([getattr(one, what) for one in outcomes] for what in ("diverged", "diverged_later"))
    best = statistics.fmean(one.lowest(optimum) for one in outcomes)
    means = f"{statistics.fmean(total):.1f}", f"{statistics.fmean(later):.1f}"
    rows.add_row(name, *means, " ".join(map(str, total)), f"{best:.4f}")


def loss(lr: float, optimum: float) -> float | None:
    """Return the final loss of a trial; None if it diverges."""
    return None if lr > LIMIT else 0.5 + math.log10(lr / optimum) ** 2 / 4


def ours(method: str, impute: str, optimum: float, seed: int, learned: Sequence[Configuration] = ()) -> Outcome:
    """Search with sweeper; the name of a sweep is its seed."""
    seen = searched(method, impute, optimum, f"s{seed}", count=TRIALS, learned=learned)
    return Outcome([float(str(one.params["lr"])) for one in seen])


def searched(  # noqa: PLR0913 - most by name
    method: str, impute: str, optimum: float, name: str, *, count: int, learned: Sequence[Configuration] = ()
) -> list[Configuration]:
    """Return the configurations of a search with their results."""
    lr = {"min": LEAST, "max": MOST, "distribution": "log_uniform_values"}
    spec = {"name": name, "method": method, "metric": {"name": "loss", "impute": impute}, "command": ["train"]}
    search = search_for(SweepSpec.from_json({**spec, "parameters": {"lr": lr}}), learned)
    seen: list[Configuration] = []
    for _ in range(count):
        proposed = search.propose(seen)
        assert proposed is not None  # noqa: S101 - only a grid ends
        value = loss(float(str(proposed.params["lr"])), optimum)
        failed = float(value is None and impute != "off")
        state = "FAIL" if value is None else "COMPLETE"
        seen.append(replace(proposed, state=state, value=value, failed=failed))
    return seen


def optunas(method: str, optimum: float, seed: int) -> Outcome:
    """Search with Optuna, by its defaults."""
    study, proposed = optuna.create_study(sampler=SAMPLERS[method](seed)), []
    for _ in range(TRIALS):
        trial = study.ask()
        proposed.append(trial.suggest_float("lr", LEAST, MOST, log=True))
        value = loss(proposed[-1], optimum)
        study.tell(trial, value, state=optuna.trial.TrialState.FAIL if value is None else None)
    return Outcome(proposed)


def wandbs(python: str, optimum: float, seed: int) -> Outcome | None:
    """Search with W&B's library; None where it is not installed."""
    settings = json.dumps([LEAST, MOST, LIMIT, optimum, TRIALS, seed])
    done = subprocess.run([python, "-c", WANDB, settings], capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"W&B's library: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else 'failed'}")
        return None
    return Outcome(json.loads(done.stdout))


if __name__ == "__main__":
    main()
