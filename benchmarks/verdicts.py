"""Write docs/verdicts.md: what the diagnoses, two published detectors and two pruners make of recorded runs.

    python -m benchmarks.verdicts docs/verdicts.md

The recordings are packed in tests/backtest: the zoo in two halves (`benchmarks/zoo`), the 128 BERT runs, and the
third-party cases (`benchmarks/external.py`), whose truth is read from `../shared/external` and which are left out where
that is missing. Every figure on the page is computed from these archives.
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

How often the [diagnoses](generated/diagnoses.md) are right, on runs that were recorded to their end and that
nothing stopped ([how a verdict is made, and what it cannot know](judging.md)). The page is made by one command:

```
$ python -m benchmarks.verdicts docs/verdicts.md
```

Four sets of runs were judged:

- **The zoo, first half** (`benchmarks/zoo/tasks_a.py`): 15 small tasks, each with good settings and several ways to
  fail. **All thresholds were set on these runs**, so the figures on them say nothing about other runs.
- **The zoo, second half** (`benchmarks/zoo/tasks_b.py`): 17 other tasks, recorded and judged after the thresholds
  were set.
- **Third-party programs** (`benchmarks/external.py`): 72 public training programs with known problems or none. No
  threshold was set on them.
- **128 BERT runs** of the warmup experiment, on which no threshold was set either.

A run of the zoo *failed* if its last score gained less than half of what the median run of its task's good arms
gains over a trivial predictor, and is *healthy* from 0.8 of it; runs in between and arms near the border of
learning count in neither. Which class is right follows from how a run was made to fail, written down before any
rule looked at it.

**What was seen first.** The second half was judged once before anything was changed because of it: 233 of its 261
failed runs were flagged, 62% of those by 10% of the plan and 81% with the right class, and none of its 156 healthy
runs was stopped. Then three mechanisms were added for what it showed: an update larger than the weights is a
divergence, a score does not speak for a run whose loss is that of a constant prediction, and a score that stays
while the loss falls is a warning. A fourth came from the third-party programs, of which 20 of 24 failed and 2 of 46
healthy ones were stopped before: a loss that still falls is not stuck. No threshold was set on either, but the
figures below are no longer those of runs that nobody has seen. Two later changes, for batches of one example and
for short fine-tunings, spare healthy runs of kinds that no set here has, and cost some early flags.

*Flagged*: a class that stops or warns began to hold. *Stopped*: a class that stops did; that is what `early_stop:
auto` would have stopped. *By 10%* and *by half*: the share of the flagged failed runs that were flagged by then, in
planned steps; 10% counts from the onset of a run that failed later. In brackets: 95% intervals (Clopper-Pearson).

The two published detectors are re-expressed from their published thresholds, and the packed recordings have no values
of single layers: what was approximated stands at the head of `benchmarks/peers.py`.
"""

WHY_MISSED = """Why goals are missed: labels that belong to other examples, objectives that fight the score (a VAE
with a large beta, an entropy bonus, a loss of the wrong tokens) and GANs leave no trace in
gradients or updates, and a loss that falls while the score stays is known late only. `stuck` is
late on purpose, so tasks whose failures are of that kind are flagged after half of the plan. A run
whose learning rate is far too high dies in several ways at once, and which class is named first is
then a matter of a step. The BERT stalls that `stalled` caught beside these are slow learners: their
loss fell on after its verdict."""

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
    """What a share of runs should be at least, or at most: `part` of `whole`, both keys of an arm's row."""

    words: str
    runs: str
    arm: str
    part: str
    whole: str
    aim: float
    at_least: bool = True

    def row(self, pooled: Mapping[str, Json]) -> str:
        """The goal as a row of a table."""
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
    """What was aimed at, and what came of it."""
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
    """The flagged classes of each true class, the most frequent first."""
    lines = ["| true class | runs | flagged as |", "|---|---|---|"]
    for true, found in report["confusion"].items():
        counts = sorted(((count, name) for name, count in found.items() if count), reverse=True)
        if counts:
            flagged = ", ".join(f"{name} {count}" for count, name in counts)
            lines.append(f"| {true} | {sum(count for count, _ in counts)} | {flagged} |")
    return lines


def _listed(report: Json) -> list[str]:
    """Every healthy run that was flagged and every failed run that was not, one by one."""
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
