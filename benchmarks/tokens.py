"""What the answers of `sweeper mcp` cost an agent: estimated tokens with 10, 1,000 and 10,000 trials.

    python benchmarks/tokens.py [--save NAME] [--sizes 10 1000 10000] [--seconds]

The record is made up: a tenth of the trials failed with long errors, a tenth was stopped, sixteen run and write long
lines, and every name and text tries to be long. The tools are those of the server, called without a process between.
Tokens are estimated from above by `sweeper.agent.text.tokens`, since tokenizers differ and their vocabularies need a
network.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import anyio
from rich.table import Table

from sweeper.agent.answers import Short
from sweeper.agent.budget import Budget, Limits
from sweeper.agent.look import Look
from sweeper.agent.short import ANSWER_TOKENS, STATE_TOKENS, WHY_TOKENS, to_text
from sweeper.agent.text import tokens
from sweeper.record.decision import Decision
from sweeper.record.events import (
    CommandGiven,
    Diagnosed,
    Event,
    Exit,
    Finished,
    Launched,
    Metrics,
    Plan,
    Started,
    StopRequested,
)
from sweeper.record.facts import Facts
from sweeper.record.storage.codec import encode_file
from sweeper.record.storage.journal import JournalWriter
from sweeper.record.storage.layout import SweepDir, TrialDir
from sweeper.record.storage.lease import acquire
from sweeper.service.service import Service

SIZES = (10, 1_000, 10_000)
RUNNING, STEPS, PARAMS = 16, 40, 6
METRIC = "accuracy/validation/top-1"
LONG = (
    "RuntimeError: the sizes of tensors must match, expected 1024 and got 768 at layer encoder.block.7.attention " * 3
)
LIMITS = {"state": STATE_TOKENS, "why": WHY_TOKENS}


def main() -> int:
    """Measure and print; the exit code is 1 if an answer is above its limit."""
    from benchmarks.machine import description, present  # with torch, which the tests of this record do not need

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--save", metavar="NAME", help="keep the table as benchmarks/results/NAME.md")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="TRIALS", help="numbers of trials")
    parser.add_argument("--seconds", action="store_true", help="add the seconds until each answer comes")
    options = parser.parse_args()
    machine = description()
    found = {size: measured(size) for size in options.sizes}
    table = Table(title="Estimated tokens of an answer, by number of trials")
    table.add_column("tool")
    table.add_column("limit", justify="right")
    for size in found:
        table.add_column(f"{size:,}", justify="right")
        if options.seconds:
            table.add_column("s", justify="right")
    for tool in next(iter(found.values())):
        pairs = [found[size][tool] for size in found]
        cells = [cell for count, s in pairs for cell in (f"{count:,}", *([f"{s:.2f}"] if options.seconds else []))]
        table.add_row(tool, f"{limit_of(tool):,}", *cells)
    table.caption = f"The list of tools itself, with --act: {listed():,} tokens, once for each conversation."
    present("What an agent reads", " ".join(["python", *sys.argv]), machine, [table], save=options.save)
    return int(any(one[tool][0] > limit_of(tool) for one in found.values() for tool in one))


def limit_of(tool: str) -> int:
    """Return the most tokens of a tool's answer."""
    return LIMITS.get(tool.split(" ", maxsplit=1)[0], ANSWER_TOKENS)


def measured(size: int) -> Mapping[str, tuple[int, float]]:
    """Return the tokens and the seconds of each tool's answer about a sweep of so many trials."""
    with tempfile.TemporaryDirectory() as folder:
        made_up(Path(folder) / "large", size)
        look = look_at(Path(folder))
        calls: dict[str, Callable[[], Short]] = {
            "runs": look.runs,
            "state": lambda: look.state("large"),
            "state again": lambda: look.state("large"),
            "trials": lambda: look.trials("large", limit=50),
            "trials filtered": lambda: look.trials("large", states=["FAIL"], sort="number", limit=50),
            "why of a failed trial": lambda: look.why("large", 1),
            "why of a stopped trial": lambda: look.why("large", 2),
            "why of a running trial": lambda: look.why("large", 0),
            "output": lambda: look.output("large", 0),
            "curves": lambda: look.curves("large", list(range(3, 9)), ["loss", METRIC], points=30),
            "compare": lambda: look.compare("large", 3, 4),
        }
        answers = {}
        for tool, call in calls.items():
            begin = time.perf_counter()
            answer = call()
            answers[tool] = (tokens(to_text(answer)), time.perf_counter() - begin)
        return answers


def look_at(folder: Path, *, can_act: bool = True, limits: Limits | None = None) -> Look:
    """Return the tools over a folder of runs."""
    service = Service(folder)
    return Look(
        service=service, budget=Budget(limits or Limits(trials=20_000), service), directory=folder, can_act=can_act
    )


def listed() -> int:
    """Return the tokens of the list of tools: names, descriptions and arguments, which clients give to their models."""
    from sweeper.agent.server import AgentServer

    with tempfile.TemporaryDirectory() as folder:
        tools = anyio.run(AgentServer(look_at(Path(folder))).list_tools)
    return sum(tokens(json.dumps([tool.name, tool.description, tool.input_schema])) for tool in tools)


# ---- the record ------------------------------------------------------------------------------------------------------


def made_up(path: Path, size: int) -> SweepDir:
    """Make a run of so many trials, as long as it may become."""
    run = SweepDir(path)
    run.path.mkdir(parents=True)
    acquire(run.lease, holder=f"pid {os.getpid()} on here")
    run.spec.write_text(json.dumps({"format": 1, "spec": {}}))
    with JournalWriter(run.log) as log:
        for number in range(0, min(size, 400), 10):
            because = (
                f"its loss of the last {number} steps is far above that of its siblings, which use less of the budget"
            )
            given = CommandGiven(
                time=1e9, do="stop", trials=(number,), by="agent:a-client for a-user on a-host", because=because
            )
            log.append(given)
    for number in range(size):
        make_trial(run.trial(number), number)
    return run


def make_trial(trial: TrialDir, number: int) -> None:
    """Make a trial: of ten, one failed, one was stopped, and the others completed; the first sixteen tens run."""
    params: dict[str, object] = {f"optimizer.group_{i}.learning_rate": 1e-5 * (number + i) for i in range(PARAMS)}
    params["schedule"] = f"warmup_then_cosine_with_restarts_{number}"
    facts = Facts(
        number=trial.number,
        configuration=number,
        seed=0,
        params=params,
        shown=params,
        command=["python", "train.py"],
        metric=METRIC,
        maximize=True,
    )
    attempt, moment = trial.attempt(1), 1e9 + number
    attempt.path.mkdir(parents=True)
    trial.facts.write_text(json.dumps({"format": 1, **asdict(facts)}))
    kind = number % 10
    ends: list[Event] = [Finished(time=moment + 50, outcome="completed")]
    with JournalWriter(trial.control) as control:
        control.append(Launched(time=moment, attempt=1, slot=f"gpu {number % 8}", gpus=1))
        if kind in (0, 2):
            reason = "reach fell below 0.01 at three observations, and the loss did not improve for 200 steps; " * 3
            evidence = {"reach": 0.004, "loss": 2.31, "layers": [f"encoder.block.{i}.mlp.weight" for i in range(24)]}
            diagnosis = "vanishing_gradient"
            control.append(
                Diagnosed(
                    time=moment,
                    attempt=1,
                    diagnosis=diagnosis,
                    step=20,
                    since=10,
                    holds=True,
                    reason=reason,
                    evidence=evidence,
                )
            )
            if kind == 2:
                decision = Decision(rule=diagnosis, step=20, reason=reason, evidence=evidence)
                control.append(StopRequested(time=moment + 40, attempt=1, cause="pruned", decision=decision))
                ends = [Finished(time=moment + 50, outcome="stopped")]
    if kind == 1:
        ends = [Finished(time=moment + 50, outcome="failed", error=LONG)]
    is_running = kind == 0 and number < 10 * RUNNING
    if is_running:
        acquire(attempt.lease, holder="a worker")
    with JournalWriter(attempt.events) as events:
        events.extend(reported(number, moment))
        if not is_running:
            events.extend(ends)
    attempt.output.write_text("\n".join([f"{LONG} {line}" for line in range(50)] if number < 20 else []))
    if not is_running:
        code = 1 if kind == 1 else 0
        end = Exit(
            time=moment + 50, attempt=1, code=code, signal=None, cause="error" if code else "", peak_memory_mb=1.0
        )
        attempt.exit.write_bytes(encode_file(end))


def reported(number: int, moment: float) -> Sequence[Event]:
    """Return what the script of a trial reported."""
    metrics = [
        Metrics(
            time=moment + step,
            step=step,
            values={
                METRIC: 1 - 1 / (2 + step) + number * 1e-7,
                "loss": 1 / (1 + step),
                **{f"loss/part_{i}": 0.1 * i for i in range(4)},
            },
        )
        for step in range(STEPS)
    ]
    begun = Started(time=moment, pid=1, host="here", attempt=1)
    return [begun, Plan(time=moment, total_steps=100), *metrics]


if __name__ == "__main__":
    sys.exit(main())
