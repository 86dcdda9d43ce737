"""The page docs/repair.md, from the lines of docs/repair.jsonl alone."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from benchmarks.repairs.arithmetic import Paired, Share, cost, extra, is_within, mean, paired
from benchmarks.repairs.plan import ADDED, BERT, DRAWN, REPAIR, WAYS, ZOO
from benchmarks.repairs.population import METHODS, SEEDS, STEPS

Line = Mapping[str, Any]
BERT_GOAL, ZOO_GOAL, EXTRA_GOAL, HEALTHY_GOAL = 0.8, 0.6, 0.25, 300
WIDTH = 120

HEAD = """# How many failing runs a repair saves

This page measures [repair](reference/repair.md): a trial that a diagnosis stopped is tried again, from before the
failure and with changed parameters. One command measures, and resumes where it was left; another writes the page:

```
$ python -m benchmarks.repair --jobs 2
$ python -m benchmarks.repair --part pbt --jobs 2
$ python -m benchmarks.repair --part moments --jobs 2
$ python -m benchmarks.repair --write
```

## What was measured

Each failing run is a sweep of one configuration with `early_stop: {repair: auto, max_repairs: 2}` and checkpoints at
each twentieth of the plan. A repair has no siblings to learn from there, so it has the run's own record only.

- **BERT**: the recorded runs with odd seeds that did not learn (`experiments/verdicts.yaml`, `verdicts-mild.yaml`). The
  margin before a failure was measured on even seeds, and so was the learning rate at which runs break in a warmup
  (`python -m benchmarks.repairs.onsets`).
- **The zoo** (`benchmarks/zoo`): 32 small training tasks, each in several variants (*arms*) that were made to succeed
  or to fail. Of each task, two failing arms were drawn by chance. So they include faults of a script, such as shuffled
  labels, which no parameter mends. Arms that fail by a parameter alone were added until each task had two of them, if
  it has so many; they are counted apart. All runs have seed 1.
- What a repair does was designed on the first half of the zoo, with seed 0. The thresholds of the diagnoses were set on
  the first half with all its seeds. **The second half judges**, and is shown apart.

Where a rule of repairs changed later, the runs that it changes were measured again; the log names the commit of each.
Two of the 26 BERT runs (lr=0.0005 warmup=0.4, seed 107; lr=0.0008 warmup=0.1, seed 101) had been repaired by an
earlier rule, which saved neither. The present rule was then chosen on even seeds, and saved both.

The parameters of a sweep are those that a task reads, under its own names: the learning rate, and where there are any,
warmup, clipping and weight decay. A *learner* is a run as in [verdicts](verdicts.md): its last score gains at least 0.8
of what the task's median good run gains. A BERT run has learned with half of the best gain in its recording. A run
*between* (0.5 to 0.8) counts as not repaired.

**Restarts.** A restart begins where the repair does: after the same diagnosis stopped the run at the same step. Then
the run begins anew, with the whole plan, and the same rules may stop it. There are as many restarts as there were
repairs, and at least one. So a way with restarts may use at least as many steps as the repair.

- (a) another seed
- (b) a random draw: the learning rate log-uniform over four decades, centred on that of an arm that learns;
  warmup uniform up to half of the plan; clipping log-uniform from 0.1 to 10, weight decay from 1e-5 to 0.1
- (c) a third of the learning rate, and then a ninth

If no diagnosis stopped a run, nothing is repaired or restarted, and all four ways have failed.

**Extra steps** are all steps of the failing run and its repairs, less those of the plan, as a share of the plan, and 0
if they are fewer. In brackets: exact 95% intervals (Clopper-Pearson). A step of the zoo is slowed to 20 ms, because its
trainings end before a stop would reach them.
"""


def text(lines: Sequence[Line]) -> str:
    """Return the page."""
    sections = [HEAD, *_state(lines), *_goals(lines), *_outcomes(lines), *_paired(lines), *_unrepaired(lines)]
    return "\n".join([*sections, *_healthy(lines), *_populations(lines), *_moments(lines)]).rstrip() + "\n"


# ---- what there is ---------------------------------------------------------------------------------------------------


def _part(lines: Sequence[Line], *parts: str) -> list[Line]:
    return [line for line in lines if line["part"] in parts]


def _by_run(lines: Sequence[Line]) -> dict[tuple[str, str, int], dict[str, Line]]:
    found: dict[tuple[str, str, int], dict[str, Line]] = {}
    for line in _part(lines, ZOO, BERT):
        found.setdefault((line["task"], line["arm"], line["seed"]), {})[line["way"]] = line
    return found


def _complete(lines: Sequence[Line]) -> list[dict[str, Line]]:
    """Return the ways of the runs of which all were measured."""
    return [ways for ways in _by_run(lines).values() if ways.keys() >= WAYS.keys()]


def _repairs(lines: Sequence[Line]) -> list[Line]:
    """Return the lines about repairs, also of runs that were not restarted yet."""
    return [line for line in _part(lines, ZOO, BERT) if line["way"] == REPAIR]


SETS: Mapping[str, Callable[[Line], bool]] = {
    "BERT": lambda line: line["part"] == BERT,
    "of these, stopped by a diagnosis": lambda line: line["part"] == BERT and line["first"]["class"] is not None,
    "zoo, drawn arms": lambda line: line["part"] == ZOO and line["group"] == DRAWN,
    "of these, second half": lambda line: line["part"] == ZOO and line["group"] == DRAWN and line["half"] == "zoo-b",
    "of the drawn, by a parameter": lambda line: (
        line["part"] == ZOO and line["group"] == DRAWN and line["by_parameter"]
    ),
    "of the drawn, by a fault": lambda line: line["part"] == ZOO and not line["by_parameter"],
    "zoo, added arms (by a parameter)": lambda line: line["part"] == ZOO and line["group"] == ADDED,
    "all by a parameter, second half": lambda line: line["half"] == "zoo-b" and line["by_parameter"],
}


def _state(lines: Sequence[Line]) -> Iterator[str]:
    plan = next(iter(_part(lines, "plan")), {})
    done = _complete(lines)
    counts = Counter(ways[REPAIR]["part"] for ways in done)
    commits = sorted({line["commit"] for line in lines if "commit" in line})
    yield "## How far it is"
    yield ""
    whole = ", ".join(f"{counts[part]} of {plan.get(part, 0)} of {name}"
                      for part, name in ((ZOO, "the zoo"), (BERT, "BERT")))  # fmt: skip
    repaired = Counter(line["part"] for line in _repairs(lines))
    yield from _filled(f"Measured in all four ways: {len(done)} failing runs ({whole}). "
                       f"By repair alone so far: {repaired.total() - len(done)}. "
                       f"Populations: {len(_part(lines, 'pbt'))} of {plan.get('pbt', 0)} sweeps. "
                       f"Commits: {', '.join(commits) or 'none'}.")  # fmt: skip
    yield ""


# ---- goals -----------------------------------------------------------------------------------------------------------


def _goals(lines: Sequence[Line]) -> Iterator[str]:
    done = _complete(lines)
    bert = [line for line in _repairs(lines) if SETS["BERT"](line)]
    zoo = [line for line in _repairs(lines) if SETS["zoo, drawn arms"](line)]
    plan = next(iter(_part(lines, "plan")), {})

    def so_far(measured: int, *parts: str) -> str:
        return " so far" if measured < sum(plan.get(part, 0) for part in parts) else ""

    of_bert = so_far(len(bert), BERT)
    of_zoo = so_far(sum(line["part"] == ZOO for line in _repairs(lines)), ZOO)
    of_all = so_far(len(done), ZOO, BERT)
    yield "## Goals"
    yield ""
    yield "| goal | aimed at | measured | |"
    yield "|---|---|---|---|"
    at_all, cheap = _share(bert), Share(sum(is_within(one, EXTRA_GOAL) for one in bert), len(bert))
    yield _goal("BERT runs that did not learn, and do after a repair", f"at least {BERT_GOAL:.0%}", str(at_all),
                at_all.value, lambda x: x >= BERT_GOAL, so_far=of_bert)  # fmt: skip
    yield _goal(f"the same at no more than {EXTRA_GOAL:.0%} extra steps", f"at least {BERT_GOAL:.0%}", str(cheap),
                cheap.value, lambda x: x >= BERT_GOAL, so_far=of_bert)  # fmt: skip
    share = _share(zoo)
    yield _goal("failing runs of the zoo (drawn arms) that learn after a repair", f"at least {ZOO_GOAL:.0%}",
                str(share), share.value, lambda x: x >= ZOO_GOAL, so_far=of_zoo)  # fmt: skip
    for way in (way for way in WAYS if way != REPAIR):
        pair = paired(done, way)
        aim = "beyond the interval"
        value = float(pair.is_better) if pair.count else None
        yield _goal(f"better than {WAYS[way]}", aim, pair.text(), value, bool, so_far=of_all)
    healthy = _part(lines, "healthy")
    touched = sum(line["repaired"] for line in healthy)
    count = sum(line["healthy"] for line in healthy)
    enough = count >= HEALTHY_GOAL
    yield _goal("healthy runs repaired", f"none of {HEALTHY_GOAL}", str(Share(touched, count)) if healthy else "-",
                float(touched) if enough else None, lambda x: x == 0)  # fmt: skip
    yield ""
    yield from _reasons(bert, zoo, done)


def _reasons(bert: Sequence[Line], zoo: Sequence[Line], done: Sequence[Mapping[str, Line]]) -> Iterator[str]:
    """Yield what the goals of BERT and of the zoo depend on beside the repairs."""
    faults = [line for line in zoo if not line["by_parameter"]]
    stopped = [line for line in bert if line["first"]["class"] is not None]
    if zoo:
        yield from _filled(f"- Of the {len(zoo)} drawn runs of the zoo, {len(faults)} fail because of a fault of their "
                           f"script, which no parameter mends; a repair saved {_share(faults)} of them. Of the others, "
                           f"it saved {_share([line for line in zoo if line['by_parameter']])}.",
                           indent="  ")  # fmt: skip
    if bert:
        yield from _filled(f"- Of the {len(bert)} runs of BERT, a diagnosis stopped {len(stopped)}. The others ran to "
                           "their ends, and nothing was repaired.", indent="  ")  # fmt: skip
    yield from _not_told_apart(done)
    yield ""


def _not_told_apart(done: Sequence[Mapping[str, Line]]) -> Iterator[str]:
    """Yield where repair is no better than a restart on one part of the runs, whatever the whole says."""
    for part, words in ((BERT, "the runs of BERT"), (ZOO, "those of the zoo")):
        chosen = [ways for ways in done if ways[REPAIR]["part"] == part]
        for way in (way for way in WAYS if way != REPAIR):
            if chosen and not paired(chosen, way).is_better:
                saved = [_share([ways[one] for ways in chosen]) for one in (REPAIR, way)]
                text = f"- On {words} alone, repair is not better than {WAYS[way]} beyond the interval: repair saved "
                yield from _filled(f"{text}{saved[0]}, the restart {saved[1]}.", indent="  ")


def _goal(  # noqa: PLR0913 - one argument for each cell
    words: str, aim: str, measured: str, value: float | None, holds: Callable[[float], bool], *, so_far: str = ""
) -> str:
    """Return a goal as a row of a table; `so_far` follows the verdict while runs are missing."""
    met = "not measured" if value is None else ("met" if holds(value) else "**missed**") + so_far
    return f"| {words} | {aim} | {measured} | {met} |"


def _share(lines: Sequence[Line]) -> Share:
    return Share(sum(line["outcome"] == "learned" for line in lines), len(lines))


# ---- tables ----------------------------------------------------------------------------------------------------------


def _outcomes(lines: Sequence[Line]) -> Iterator[str]:
    done = _complete(lines)
    yield "## Learners"
    yield ""
    yield "| runs | " + " | ".join(WAYS.values()) + " |"
    yield "|---" * (1 + len(WAYS)) + "|"
    for name, belongs in SETS.items():
        chosen = [ways for ways in done if belongs(ways[REPAIR])]
        yield f"| {name} | " + " | ".join(str(_share([ways[way] for ways in chosen])) for way in WAYS) + " |"
    yield ""
    yield "Steps, in plans: those of the failing run until it was stopped, and of all that was tried then."
    yield ""
    yield "| runs | " + " | ".join(WAYS.values()) + " | extra steps of repair | of the runs that it saved |"
    yield "|---" * (3 + len(WAYS)) + "|"
    for name, belongs in SETS.items():
        chosen = [ways for ways in done if belongs(ways[REPAIR])]
        repairs = [ways[REPAIR] for ways in chosen]
        cells = [_number(mean([cost(ways[way]) for ways in chosen])) for way in WAYS]
        saved = [extra(line) for line in repairs if line["outcome"] == "learned"]
        cells += [_percent(mean([extra(line) for line in repairs])), _percent(mean(saved))]
        yield f"| {name} | " + " | ".join(cells) + " |"
    yield ""


def _paired(lines: Sequence[Line]) -> Iterator[str]:
    done = _complete(lines)
    yield "## Run by run"
    yield ""
    yield from _filled("Each row compares the two ways on the same failing runs. What decides are the runs that only "
                       "one of the two saved. Repair is better beyond the interval if the interval of its "
                       "share of these is above a half.")  # fmt: skip
    yield ""
    yield "| beside | runs | only repair saved | only the restart saved | repair's share | |"
    yield "|---|---|---|---|---|---|"
    for part, chosen in (("all", done), *((p, [w for w in done if w[REPAIR]["part"] == p]) for p in (BERT, ZOO))):
        for way in (way for way in WAYS if way != REPAIR):
            pair: Paired = paired(chosen, way)
            share = Share(pair.won, pair.won + pair.lost)
            verdict = "better" if pair.is_better else "worse" if pair.is_worse else "no difference beyond the interval"
            yield f"| {part}: {WAYS[way]} | {pair.count} | {pair.won} | {pair.lost} | {share} | {verdict} |"
    yield ""


def _unrepaired(lines: Sequence[Line]) -> Iterator[str]:
    left = [line for line in _repairs(lines) if line["outcome"] != "learned"]
    yield "## What was not repaired"
    yield ""
    for line in left:
        yield from _filled(f"- {line['task']}/{line['arm']}, seed {line['seed']}: {_why(line)}", indent="  ")
    yield "" if left else "Nothing.\n"


def _why(line: Line) -> str:
    """Return why a run did not become a learner: what was tried, and how it ended."""
    first, tries = line["first"], line["tries"]
    if first["class"] is None:
        return "no diagnosis stopped it"
    told = f"`{first['class']}` at step {first['at']}"
    if not tries:
        return f"{told}, and no repair: {line['reason'] or 'no reason was recorded'}"
    for one in tries:
        changes = ", ".join(f"{name}={value:g}" for name, value in one["changes"].items())
        where = "from the start" if one["from"] is None else f"from step {one['from']}"
        ended = f"`{one['class']}` at step {one['at']}" if one["class"] else f"ran to its end ({line['outcome']})"
        told += f"; with {changes or 'no change'} {where}: {ended}"
    return told + (f"; no further repair: {line['reason']}" if line["reason"] else "")


def _healthy(lines: Sequence[Line]) -> Iterator[str]:
    yield "## Healthy runs"
    yield ""
    yield from _filled("The recorded healthy runs were replayed through `early_stop: auto` with repairs (`sweeper "
                       "backtest --repair`): a replayed decision is the one that a live sweep makes.")  # fmt: skip
    yield ""
    yield "| recording | thresholds were set on it | healthy runs | stopped | repaired |"
    yield "|---|---|---|---|---|"
    healthy = _part(lines, "healthy")
    for line in healthy:
        stopped, repaired = (Share(line[name], line["healthy"]) for name in ("stopped", "repaired"))
        used = "yes" if line["used"] else "no"
        yield f"| {line['run']} | {used} | {line['healthy']} | {stopped} | {repaired} |"
    for name, chosen in (("all", healthy), ("those on which none was set", [x for x in healthy if not x["used"]])):
        count = sum(line["healthy"] for line in chosen)
        shares = (Share(sum(line[key] for line in chosen), count) for key in ("stopped", "repaired"))
        yield f"| {name} | | {count} | " + " | ".join(map(str, shares)) + " |"
    yield ""
    for line in healthy:
        for which in line["which"]:
            yield from _filled(f"- {line['run']}: {which}", indent="  ")
    yield ""


def _populations(lines: Sequence[Line]) -> Iterator[str]:
    found = {(line["method"], line["seed"]): line for line in _part(lines, "pbt")}
    yield "## Populations"
    yield ""
    yield from _filled(f"`method: pbt` with four members and five turns on the task of `experiments/warmup.yaml`, "
                       f"beside the grid of that file and random search with ASHA (`successive_halving`), which starts "
                       f"trials until as many steps are done ({STEPS}). The population and the random search draw from "
                       f"1e-4 to 1.2e-3 (log-uniform) and a warmup of 0.1 to 0.7. Each cell is the last test accuracy "
                       f"of the best trial that reached the last step.")  # fmt: skip
    yield ""
    yield "| | " + " | ".join(f"seed {seed}" for seed in SEEDS) + " | mean | steps |"
    yield "|---" * (3 + len(SEEDS)) + "|"
    for method, name in METHODS.items():
        rows = [found.get((method, seed)) for seed in SEEDS]
        scores = [None if row is None else row["score"] for row in rows]
        known = [score for score in scores if score is not None]
        steps = ", ".join("-" if row is None else str(row["steps"]) for row in rows)
        yield f"| {name} | " + " | ".join(map(_number, scores)) + f" | {_number(mean(known))} | {steps} |"
    yield ""
    yield from _filled("Three seeds are too few to tell methods apart that differ by less than their own spread. A "
                       "population may have fewer steps, because a member that a diagnosis stopped does not end its "
                       "turn.")  # fmt: skip
    yield ""


def _moments(lines: Sequence[Line]) -> Iterator[str]:
    found = _part(lines, "moments")
    pairs = [line for line in found if line["kept"] is not None]
    yield "## The moments of the optimizer"
    yield ""
    words = f"""
        A repair that continues from a checkpoint restores the moments of the optimizer too. These runs of BERT, with
        even seeds, were also continued from the same checkpoint with the same parameters and without the moments
        (`sweeper derive --fresh-optimizer`). Each cell is the last test accuracy. Of {len(found)} failing runs,
        {len(pairs)} were continued from a checkpoint; the others were not stopped, or began again at the start.
        Runs that a replay of the recordings stops were measured first.
    """
    yield from _filled(" ".join(words.split()))
    yield ""
    if not pairs:
        return
    yield "| run | from step | with the moments | without them |"
    yield "|---|---|---|---|"
    for line in pairs:
        cells = [_moment_text(line[name]) for name in ("kept", "fresh")]
        yield f"| {line['arm']}, seed {line['seed']} | {line['kept']['from']} | {' | '.join(cells)} |"
    kept, fresh = ([line[name]["score"] or 0.0 for line in pairs] for name in ("kept", "fresh"))
    better = sum(one > other for one, other in zip(kept, fresh, strict=True))
    worse = sum(one < other for one, other in zip(kept, fresh, strict=True))
    yield f"| mean | | {_number(mean(kept))} | {_number(mean(fresh))} |"
    yield ""
    pair = Paired(better, worse, len(pairs))
    verdict = "Neither is better beyond the interval, so a repair keeps them: the checkpoint stays as it was."
    if pair.is_better or pair.is_worse:
        verdict = f"A repair {'keeps' if pair.is_better else 'should not keep'} them."
    words = f"With the moments, {Share(better, better + worse)} of the pairs with different accuracies ended better. "
    yield from _filled(words + verdict)


def _moment_text(one: Line) -> str:
    ended = f" (`{one['class']}` at step {one['at']})" if one["class"] else ""
    return _number(one["score"]) + ended


# ---- words -----------------------------------------------------------------------------------------------------------


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _filled(words: str, indent: str = "") -> list[str]:
    return textwrap.fill(words, WIDTH, subsequent_indent=indent, break_long_words=False,
                         break_on_hyphens=False).splitlines()  # fmt: skip
