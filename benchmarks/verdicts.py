"""Write docs/verdicts.md: how often diagnoses, two published detectors and two pruners are right on recorded runs.

    python -m benchmarks.verdicts docs/verdicts.md

The recordings are packed in tests/backtest: the zoo in two halves (`benchmarks/zoo`), the 128 BERT runs, and the
third-party cases (`benchmarks/external.py`). The truth of these cases is read from `../shared/external`; without it,
they are left out. Every value on the page is computed from these archives.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import external, peers
from sweeper.backtest import backtest, read_recordings, to_json

ROOT = Path(__file__).resolve().parents[1]
ARCHIVES = ROOT / "tests/backtest"
AUTO, FLAGGED = "auto", "auto + warnings"
Json = Mapping[str, Any]

HEAD = """# Verdicts

This page measures how often the [diagnoses](generated/diagnoses.md) are right. The runs were recorded to their end, and
nothing stopped them ([how a diagnosis is made, and what it cannot know](judging.md)). One command makes the page:

```
$ python -m benchmarks.verdicts docs/verdicts.md
```

## What was judged

- **The zoo, first half** (`benchmarks/zoo/tasks_a.py`): 15 small tasks, each with good settings and several ways to
  fail. **All thresholds were set on these runs**, so the results on them say nothing about other runs.
- **The zoo, second half** (`benchmarks/zoo/tasks_b.py`): 17 other tasks, recorded and judged after the thresholds
  were set.
- **Third-party programs** (`benchmarks/external.py`): 72 public training programs with known problems or none. No
  threshold was set on them.
- **128 BERT runs** of the warmup experiment, on which no threshold was set either.

The score of a zoo run is compared with the gain of its task's median good run over a trivial predictor. A run *failed*
if its last score gained less than half of that, and is *healthy* from 0.8 of it. Runs in between, and arms near the
border of learning, count in neither. The right class follows from how a run was made to fail, which was written down
before any rule was applied.

## How to read the tables

- *Flagged*: a class that stops or warns began to hold.
- *Stopped*: a class that stops began to hold, so `early_stop: auto` would have stopped the run.
- *By 10%* and *by half*: the share of the flagged failed runs that were flagged by then, in planned steps. If a run
  failed later, 10% counts from its onset.
- In brackets: 95% intervals (Clopper-Pearson).

The two published detectors are re-implemented from their published thresholds. The packed recordings have no values of
single layers, so some of their inputs are approximated; the head of `benchmarks/peers.py` lists these.

## What was changed after the first results

The second half was judged once before anything was changed because of it. 233 of its 261 failed runs were flagged, 62%
of those by 10% of the plan and 81% with the right class. None of its 156 healthy runs was stopped.

Then three mechanisms were added because of these results: an update larger than the weights is a divergence; a score
does not count as progress if the loss is that of a constant prediction; and a score that stays while the loss falls
is a warning.

A fourth mechanism came from the third-party programs: a loss that still falls is not stuck. Before, 20 of 24 failed
programs and 2 of 46 healthy ones were stopped. No threshold was set on either set, but the results below are no longer
those of unseen runs.

Two later changes exempt healthy runs with batches of one example and short fine-tunings. No set here has such
runs, and the changes cost some early flags.

Then the classes `symmetric` and `over_regularised` were added, and a run that blew up is named `diverged`, whatever
follows. Thresholds came from the first half again. The other sets were looked at once, afterwards: on the second half
with three seeds, 241 failed runs were flagged as before, 58% by 10% of the plan (57% before) and 87% with the right
class (79% before). Then all runs were recorded again with five seeds of each arm. These recordings are older than the
statistic that `symmetric` reads, so that class never begins in them.

After that, one healthy run that no set has was exempted: gradients that are accumulated over many micro-batches, each
reported as a step, are no optimizer that never steps. `no_gradient` waits longer for the first step.
"""

WHY_MISSED = """Why goals are missed:

- Some failures leave no trace in gradients or updates: labels that belong to other examples, GANs, and objectives
  that work against the score (a VAE with a large beta, an entropy bonus, a loss of the wrong tokens). A loss that
  falls while the score stays is known late only.
- `stuck` is late on purpose, so tasks with this kind of failure are flagged after half of the plan.
- A run with a learning rate that is far too high fails in several ways at once. Which class is named first then
  depends on a single step.
- The BERT stalls that only `stalled` caught are slow learners: their loss still fell after its decision."""

NAMES = {
    AUTO: "`early_stop: auto`: stopped",
    FLAGGED: "`early_stop: auto`: flagged",
    "stalled": "`stalled`, the default of 0.1.0",
    "autotrainer": "AUTOTRAINER's thresholds",
    "bttackler": "BTTackler's thresholds",
    "median": "median pruner",
    "successive_halving": "successive halving (ASHA)",
}


def main() -> None:
    """Write the page."""
    target = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder)
        for archive in ARCHIVES.glob("*.tar.xz"):
            with tarfile.open(archive) as packed:
                packed.extractall(runs, filter="data")
        parts: list[str] = []
        pooled: dict[str, Json] = {}
        second, first = [runs / "zoo-b"], [runs / "zoo-a"]
        truths = [path / "truth.json" for path in second]
        pooled[ZOO], lines = _section("The zoo, second half", second, truths, confusion=True)
        parts += lines
        if external.EXTERNAL.is_dir() and (runs / "external").is_dir():
            truth = runs / "external.json"
            words = [sys.executable, str(ROOT / "benchmarks/external.py"), "truth", str(runs / "external")]
            truth.write_text(subprocess.run(words, check=True, capture_output=True, text=True, cwd=ROOT).stdout)
            pooled[THIRD], lines = _section("Third-party programs", [runs / "external"], [truth], confusion=True)
            parts += lines
        bert = [runs / "verdicts", runs / "verdicts-mild"]
        pooled[BERT], lines = _section("128 BERT runs", bert, [], confusion=False)
        parts += lines
        parts += _section("The zoo, first half", first, [path / "truth.json" for path in first], confusion=False)[1]
    target.write_text("\n".join([HEAD, *_goals(pooled), *parts]))
    print(f"{target}: written")


@dataclass(frozen=True)
class Goal:
    """A goal for a share of runs, at least or at most `aim`: `part` of `whole`, which are keys of an arm's row."""

    words: str
    runs: str
    arm: str
    part: str
    whole: str
    aim: float
    at_least: bool = True

    def row(self, pooled: Mapping[str, Json]) -> str:
        """Return the goal as a row of a table."""
        found = pooled[self.runs][self.arm]
        value = _share(found[self.part], found[self.whole])
        met = value is not None and (value >= self.aim if self.at_least else value <= self.aim)
        aim = f"at {'least' if self.at_least else 'most'} {self.aim:.1%}"
        measured = "-" if value is None else f"{value:.1%}"
        return f"| {self.runs}: {self.words} | {aim} | {measured} | {'met' if met else '**missed**'} |"


ZOO, THIRD, BERT = "zoo", "third-party", "BERT"
GOALS = (
    Goal("failed runs flagged", ZOO, FLAGGED, "failed_flagged", "failed", 0.98),
    Goal("of these by 10% of the plan", ZOO, FLAGGED, "flagged_early", "failed_flagged", 0.75),
    Goal("healthy runs stopped", ZOO, AUTO, "healthy_flagged", "healthy", 0.01, at_least=False),
    Goal("right class", ZOO, FLAGGED, "class_right", "class_named", 0.9),
    Goal("failed runs flagged", THIRD, FLAGGED, "failed_flagged", "failed", 0.9),
    Goal("of these in the first half", THIRD, FLAGGED, "flagged_in_half", "failed_flagged", 0.75),
    Goal("healthy runs stopped", THIRD, AUTO, "healthy_flagged", "healthy", 0.02, at_least=False),
    Goal("stalls caught, as many as by `stalled`", BERT, AUTO, "stalls_caught", "stalls", 49 / 60),
    Goal("learners stopped, as few as by `stalled`", BERT, AUTO, "learners_killed", "learners", 1 / 68, at_least=False),
)


def _goals(pooled: Mapping[str, Json]) -> list[str]:
    """Return the section of the goals, with the measured values."""
    lines = ["## Goals", "", "| goal | aimed at | measured | |", "|---|---|---|---|"]
    return [*lines, *(goal.row(pooled) for goal in GOALS if goal.runs in pooled), "", WHY_MISSED, ""]


def _section(
    title: str, runs: Sequence[Path], truths: Sequence[Path], *, confusion: bool
) -> tuple[Mapping[str, Json], list[str]]:
    recordings = read_recordings(runs, truths=list(truths), say=print)
    report: Json = to_json(backtest(recordings, list(peers.arms())), reasons=True)
    known = bool(truths)
    lines = [f"## {title}", "", *_table(report, known=known), ""]
    if confusion:
        lines += [*_confusion(report), ""]
    lines += [*_listed(report), ""] if known else []
    return {row["rule"]: row for row in report["pooled"]}, lines


def _table(report: Json, *, known: bool) -> list[str]:
    rows = {row["rule"]: row for row in report["pooled"]}
    heads = ["", "failed runs", "healthy runs", *(["by 10%", "by half", "right class"] if known else ["steps saved"])]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for name, words in NAMES.items():
        row = rows[name]
        failed, healthy = ("failed", "healthy") if known else ("stalls", "learners")
        caught, killed = ("failed_flagged", "healthy_flagged") if known else ("stalls_caught", "learners_killed")
        cells = [words, _counted(row, caught, failed), _counted(row, killed, healthy)]
        if known:
            named = row.get("class_named")
            cells += [_percent(_share(row[name], row[caught])) for name in ("flagged_early", "flagged_in_half")]
            cells.append(_percent(_share(row["class_right"], named) if named else None))
        else:
            cells.append(_percent(row["steps_saved"] / row["steps"]))
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _counted(row: Json, flagged: str, of: str) -> str:
    low, high = row[f"{flagged}_interval"]
    return f"{row[flagged]} of {row[of]} [{100 * low:.0f}-{100 * high:.0f}%]"


def _share(count: int, of: int) -> float | None:
    return count / of if of else None


def _percent(part: float | None) -> str:
    return "-" if part is None else f"{part:.0%}"


def _confusion(report: Json) -> list[str]:
    """Return a table of the flagged classes of each true class, the most frequent first."""
    lines = ["| true class | runs | flagged as |", "|---|---|---|"]
    for true, found in report["confusion"].items():
        counts = sorted(((count, name) for name, count in found.items() if count), reverse=True)
        if counts:
            flagged = ", ".join(f"{name} {count}" for count, name in counts)
            lines.append(f"| {true} | {sum(count for count, _ in counts)} | {flagged} |")
    return lines


def _listed(report: Json) -> list[str]:
    """Return lists of the healthy runs that were flagged and of the failed runs that were not."""
    trials = [trial for run in report["runs"] for trial in run["trials"]]
    flagged = {id(trial): trial.get("flags", {}).get(FLAGGED, []) for trial in trials}
    wrong = [
        f"{_named(trial)}: {'; '.join(_said(one) for one in flagged[id(trial)])}"
        for trial in trials
        if trial["outcome"] == "healthy" and flagged[id(trial)]
    ]
    missed = [_named(trial) for trial in trials if trial["outcome"] == "failed" and not flagged[id(trial)]]
    return [
        *_bullets("Healthy runs that were flagged:", wrong, "No healthy run was flagged."),
        *_bullets("Failed runs that were not flagged:", missed, "Every failed run was flagged."),
    ]


def _named(trial: Json) -> str:
    return f"{trial['number']:04d} {trial['label'].removeprefix('case=')}, seed {trial['seed']}"


def _said(flag: Json) -> str:
    return f"`{flag['class']}` at step {flag['step']} ({flag['reason']})"


def _bullets(title: str, items: Iterable[str], none: str) -> list[str]:
    listed = [textwrap.fill(item, 120, initial_indent="- ", subsequent_indent="  ") for item in items]
    return [title, "", *listed, ""] if listed else [none, ""]


if __name__ == "__main__":
    main()
