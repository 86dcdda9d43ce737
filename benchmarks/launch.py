"""What a trial costs that does nothing: from the call of each tool to the end of its last trial, side by side.

    python benchmarks/launch.py [--trials 20] [--torch] [--peers PYTHON] [--save NAME]

`first line`: from the record's word that an attempt is launched to the script's first line, the median. `a trial`: the
slope of the wall time of a whole sweep over its number of trials, on two slots, so that what a tool does once is not
counted. `--torch`: the script imports torch and transformers first, as one that trains would. The peers (Ray Tune, Syne
Tune, Optuna with n_jobs) run where they are installed, by default in this Python (`pip install "sweeper[bench]"`).
Ray Tune's and Optuna's trials are a function, in a worker process that is reused where the tool does that, and in a
thread; Syne Tune's and ours are a process each. Optuna's writes nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

from rich.table import Table

from benchmarks.machine import description, present

SLOTS = 2
SCRIPT = """
import time
first = time.time()
{imports}
import sweeper
with sweeper.trial() as trial:
    (trial.dir / "first").write_text(repr(first))
    trial.report({"x": trial.params["i"]}, step=0)
"""
IMPORTS = "import torch, transformers\n"
SYNE_SCRIPT = """
{imports}
from argparse import ArgumentParser
from syne_tune import Reporter
parser = ArgumentParser()
parser.add_argument("--i", type=int)
Reporter()(x=parser.parse_known_args()[0].i, epoch=1)
"""
PEERS = {
    "Ray Tune": """
        import os, sys, time
        os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
        import ray
        from ray import tune
        count, start = int(sys.argv[1]), time.monotonic()
        ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
        def train(config):
            {imports}
            tune.report({"x": config["i"]})
        tune.Tuner(train, param_space={"i": tune.grid_search(list(range(count)))},
                   run_config=tune.RunConfig(verbose=0)).fit()
        print(time.monotonic() - start)
    """,
    "Syne Tune": """
        import sys, time
        from syne_tune import Tuner, StoppingCriterion
        from syne_tune.backend import LocalBackend
        from syne_tune.config_space import randint
        from syne_tune.optimizer.baselines import RandomSearch
        count, start = int(sys.argv[1]), time.monotonic()
        Tuner(trial_backend=LocalBackend(entry_point="syne_train.py"),
              scheduler=RandomSearch({"i": randint(0, 10**6)}, metrics=["x"]),
              stop_criterion=StoppingCriterion(max_num_trials_completed=count), n_workers=2, sleep_time=0.1,
              print_update_interval=1e9, save_tuner=False).run()
        print(time.monotonic() - start)
    """,
    "Optuna, n_jobs=2": """
        import sys, time
        {imports}
        import optuna
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        count, start = int(sys.argv[1]), time.monotonic()
        optuna.create_study().optimize(lambda trial: trial.suggest_int("i", 0, 10**6), n_trials=count, n_jobs=2)
        print(time.monotonic() - start)
    """,
}


def main() -> None:
    """Run all, print the table and keep it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--torch", action="store_true")
    parser.add_argument("--peers", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--save", metavar="NAME", help="keep the table as benchmarks/results/NAME.md")
    options = parser.parse_args()
    imports = IMPORTS if options.torch else ""
    machine = description()
    rows: list[tuple[str, float | None, float | None]] = []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        rows += [
            (f"sweeper, launch: {how}", *ours(place, how, options.trials, imports)) for how in ("preload", "spawn")
        ]
        rows += [(name, None, peer(place, name, options.peers, options.trials, imports)) for name in PEERS]
    table = Table("", "first line", "a trial", "ratio to preload", box=None, pad_edge=False)
    best = rows[0][2] or float("nan")
    for name, first, trial in rows:
        ratio = "-" if trial is None else f"{trial / best:.1f}"
        table.add_row(name, *("-" if t is None else f"{1000 * t:.0f} ms" for t in (first, trial)), ratio)
    command = f"python benchmarks/launch.py --trials {options.trials}{' --torch' if options.torch else ''}"
    present("What a trial costs that does nothing", command, machine, [table], save=options.save)


def ours(folder: Path, launch: str, trials: int, imports: str) -> tuple[float, float]:
    """Seconds to the first line, and of a trial. Preloaded: of those that were forked, the plain first ones apart."""
    (folder / "train.py").write_text(SCRIPT.replace("{imports}", imports))
    spec = {
        "name": f"noop-{launch}",
        "method": "grid",
        "command": ["${interpreter}", "train.py", "${args}"],
        "metric": {"name": "x"},
        "parameters": {"i": {"values": list(range(trials))}},
        "resources": {"cpus": 1},
        "launch": launch,
    }
    (folder / "noop.yaml").write_text(json.dumps(spec))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-m", "sweeper.cli", "run", "noop.yaml", "--workers", str(SLOTS)]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    launched, firsts, ended = [], [], []
    for trial in sorted((folder / f"runs/noop-{launch}/trials").iterdir()):
        launched.append(json.loads((trial / "control.jsonl").read_text().splitlines()[0])["time"])
        firsts.append(float((trial / "first").read_text()) - launched[-1])
        ended.append(json.loads((trial / "attempts/1/exit.json").read_text())["time"])
    half = trials // 2  # by then the preloaded process serves
    return statistics.median(firsts[half:]), (max(ended) - launched[half]) / (trials - half)


def peer(folder: Path, name: str, python: str, trials: int, imports: str) -> float | None:
    """Seconds of a trial; None where the tool is not installed or fails."""
    script, on_one_line = folder / "peer.py", imports.strip() or "pass"
    script.write_text(textwrap.dedent(PEERS[name]).replace("{imports}", on_one_line))
    (folder / "syne_train.py").write_text(SYNE_SCRIPT.replace("{imports}", on_one_line))
    times = []
    for count in (2, 2 + trials):
        done = subprocess.run(
            [python, script.name, str(count)], cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            print(f"{name}: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else 'failed'}")
            return None
        times.append(float(done.stdout.strip().splitlines()[-1]))
        time.sleep(1)
    return (times[1] - times[0]) / trials


if __name__ == "__main__":
    main()
