"""Check docs/compatibility.md beside W&B's own library: its schema, its draws, its grids and its rungs.

    python benchmarks/compatibility.py --wandb PYTHON [--draws 10000] [--save NAME]

PYTHON is a Python that has W&B's library (`pip install sweeps`); it may be another environment. The examples are those
of `docs/compatible.py`. Draws are compared by a two-sample Kolmogorov-Smirnov test, and by the sets of values if there
are few of them. The exit code is 1 if W&B's schema has a name that the page lacks, or if a row of the page is wrong.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import yaml
from rich.markup import escape
from rich.table import Column, Table
from scipy import stats  # type: ignore[import-untyped]

from benchmarks.machine import description, present
from docs.compatible import BANDS, DISTRIBUTIONS, GRIDS, HEAD, KEYS, PARAMETERS, Drawn, Draws, Effect, Grid
from sweeper.config import SuccessiveHalving, SweepSpec, load
from sweeper.errors import SpecError
from sweeper.search import search_for

LEVEL = 1e-4
"""The level of each test; the draws are the same in every call."""
FEW = 64
"""Up to so many different values, the sets are compared too."""

WANDB = """
import contextlib, io, json, random, sys, warnings
from importlib.metadata import version
from pathlib import Path
warnings.simplefilter("ignore")
import numpy, sweeps
from sweeps import next_run, stop_runs, RunState, SweepRun
from sweeps.config import schema_violations_from_proposed_config
from sweeps.params import HyperParameter
asked = json.load(sys.stdin)
random.seed(0)
schema = json.loads((Path(sweeps.__file__).parent / "config" / "schema.json").read_text())

def plain(value):
    return value.item() if hasattr(value, "item") else value

def violations(config):
    try:
        return schema_violations_from_proposed_config(config)
    except Exception as error:
        return [str(error)]

def unnested(config):
    return {name: entry["value"] for name, entry in config.items()}

def grid(config):
    runs = []
    while (run := next_run(config, runs)) is not None:
        runs.append(run)
    return [unnested(run.config) for run in runs]

def bands(band):
    metric = {"name": "loss", "goal": "minimize"}
    config = {"method": "random", "metric": metric, "early_terminate": {"type": "hyperband", **band}, "parameters": {}}
    run = SweepRun(name="a", state=RunState.running, history=[{"loss": 1.0}] * 400)
    stop_runs(config, [run])
    return [band for band in run.early_terminate_info["bands"] if band <= 400]

print(json.dumps({
    "version": version("sweeps"),
    "schema": schema,
    "violations": [violations(config) for config in asked["configs"]],
    "draws": [
        [plain(HyperParameter("x", one).sample()) for _ in range(asked["draws"])] for one in asked["parameters"]
    ],
    "grids": [grid(config) for config in asked["grids"]],
    "bands": [bands(band) for band in asked["bands"]],
}))
"""


def main() -> int:
    """Print the tables; return 1 if the page is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wandb", default=sys.executable, help="a Python that has W&B's library `sweeps`")
    parser.add_argument("--draws", type=int, default=10_000, help="samples of each distribution")
    parser.add_argument("--save", help="name of the table in benchmarks/results")
    options = parser.parse_args()
    machine = description()
    theirs = asked(options.wandb, options.draws)
    found = [
        *schema_rows(theirs["schema"]),
        *key_rows(theirs["violations"]),
        *draw_rows(theirs["draws"], options.draws),
        *grid_rows(theirs["grids"]),
        *band_rows(theirs["bands"]),
    ]
    table = Table(*(Column(head, overflow="fold") for head in ("what", "W&B", "sweeper", "the page")), box=None)
    for row in found:
        table.add_row(*map(escape, row))
    wrong = sum(row[-1].startswith("WRONG") for row in found)
    command = f"python benchmarks/compatibility.py --wandb PYTHON --draws {options.draws}"
    title = f"Beside W&B's library sweeps {theirs['version']}: {len(found)} comparisons, {wrong} rows of the page wrong"
    present(title, command, machine, [table], save=options.save)
    return int(wrong > 0)


Row = tuple[str, str, str, str]


def asked(python: str, draws: int) -> dict[str, Any]:
    """Return what W&B's library does with the examples."""
    asks = {
        "configs": [sweep_file(yaml.safe_load(key.example)) for key in KEYS],
        "parameters": [parameter for one in DISTRIBUTIONS for parameter in one.parameters],
        "grids": [{"method": "grid", "parameters": grid.parameters} for grid in GRIDS],
        "bands": BANDS,
        "draws": draws,
    }
    done = subprocess.run([python, "-c", WANDB], input=json.dumps(asks), capture_output=True, text=True, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no output"]
        sys.exit(f"W&B's library: {last[0]}; name a Python that has it with --wandb (pip install sweeps)")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def sweep_file(example: Mapping[str, Any]) -> dict[str, Any]:
    """Return a sweep file with the keys of an example; `null` removes a key."""
    given = {**HEAD, "parameters": PARAMETERS, **example}
    return {key: value for key, value in given.items() if value is not None}


def judged(*, right: bool, row: str) -> str:
    """Return how a row of the page stands."""
    return row if right else f"WRONG: {row}"


# ---- names and files -------------------------------------------------------------------------------------------------


def schema_rows(schema: Mapping[str, Any]) -> Iterator[Row]:
    """Compare the names of the schema with those of the page."""
    keys, distributions = set(key_names(schema)), set(distribution_names(schema))
    listed = {key.name.partition(":")[0] for key in KEYS}
    for what, theirs, ours in (
        ("keys of the schema", keys, listed),
        ("distributions of the schema", distributions, {one.name for one in DISTRIBUTIONS}),
    ):
        missing, more = sorted(theirs - ours), sorted(ours - theirs)
        difference = f"the page lacks {missing}, W&B lacks {more}"
        right = not missing and not more
        yield what, str(len(theirs)), str(len(ours)), judged(right=right, row="all listed" if right else difference)


def key_names(schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield the keys of a sweep file as the page names them."""
    definitions = schema["definitions"]
    sections = {
        "metric": definitions["metric"],
        "scheduler": definitions["scheduler"],
        "early_terminate": definitions["hyperband_stopping"],
        "controller": schema["properties"]["controller"],
    }
    for key in schema["properties"]:
        inner = sections.get(key, {}).get("properties", {})
        yield from (f"{key}.{name}" for name in inner)
        if not inner:
            yield key
    for name, definition in definitions.items():
        if name.startswith("param_"):
            for form in definition.get("anyOf", [definition]):
                yield from (f"parameters.NAME.{key}" for key in form["properties"])


def distribution_names(schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield the distributions of the schema."""
    for definition in schema["definitions"].values():
        for form in definition.get("anyOf", [definition]):
            yield from form.get("properties", {}).get("distribution", {}).get("enum", ())


def key_rows(violations: Sequence[Sequence[str]]) -> Iterator[Row]:
    """Load the example of each key by both."""
    for key, theirs in zip(KEYS, violations, strict=True):
        try:
            notes: list[str] = []
            loaded(sweep_file(yaml.safe_load(key.example)), notes)
            ours = "accepted, with a note" if notes else "accepted"
        except SpecError:
            ours = "refused"
        right = (ours == "refused") == (key.effect is Effect.REFUSED)
        name = key.name.removeprefix("parameters.")
        yield name, "refused" if theirs else "accepted", ours, judged(right=right, row=key.effect.partition(",")[0])


def loaded(given: Mapping[str, Any], notes: list[str]) -> SweepSpec:
    """Load a sweep file; note what is said about it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sweep.yaml"
        path.write_text(yaml.safe_dump(given, sort_keys=False))
        said: list[str] = []
        spec = load(path, has_cuda=False, trainers={}, say=said.append)
        notes += [note for note in said if "name is " not in note]
        return spec


# ---- draws, grids and rungs ------------------------------------------------------------------------------------------


def draw_rows(theirs: Sequence[Sequence[Any]], count: int) -> Iterator[Row]:
    """Draw from each distribution by both."""
    examples = [(one, parameter) for one in DISTRIBUTIONS for parameter in one.parameters]
    names = [f"x{number}" for number in range(len(examples))]
    parameters = dict(zip(names, (parameter for _, parameter in examples), strict=True))
    spec = loaded({**HEAD, "name": "draws", "parameters": parameters}, [])
    drawn = [one.params for one in islice(search_for(spec).proposals([]), count)]
    for name, (one, parameter), peer in zip(names, examples, theirs, strict=True):
        text = json.dumps({key: value for key, value in parameter.items() if key != "distribution"}).replace('"', "")
        yield draw_row(one, f"{one.name} {text}", [params[name] for params in drawn], peer)


def draw_row(one: Drawn, what: str, ours: Sequence[Any], theirs: Sequence[Any]) -> Row:
    """Compare the draws of one distribution."""
    if not all(isinstance(value, int | float) for value in (*ours, *theirs)):
        return choice_row(one, what, list(map(json.dumps, ours)), list(map(json.dumps, theirs)))
    # W&B's multiples of 0.1 have 0.30000000000000004 among them.
    rounded = [[round(float(value), 12) for value in side] for side in (ours, theirs)]
    test = stats.ks_2samp(*rounded)
    values = [sorted(set(side)) for side in rounded]
    few = max(map(len, values)) <= FEW
    found = f"p = {test.pvalue:.2g}" if test.pvalue >= LEVEL else f"p < {LEVEL:g}"
    right = {
        Draws.SAME: test.pvalue >= LEVEL,
        Draws.ENDS: few and values[0] == values[1] and test.pvalue < LEVEL,
        Draws.INSIDE: few and set(values[0]) < set(values[1]),
    }[one.draws]
    sides = [f"{len(side)} values" if few else f"{side[0]:.3g} to {side[-1]:.3g}" for side in values]
    return what, sides[1], f"{sides[0]}, {found}", judged(right=right, row=one.draws.value)


def choice_row(one: Drawn, what: str, ours: Sequence[str], theirs: Sequence[str]) -> Row:
    """Compare the draws of values that are no numbers."""
    counts = [Counter(side) for side in (theirs, ours)]
    names = sorted(counts[0] | counts[1])
    p = stats.chi2_contingency([[count[name] for name in names] for count in counts]).pvalue if len(names) > 1 else 1.0
    shares = [" ".join(f"{name} {count[name] / count.total():.2f}" for name in names) for count in counts]
    right = set(counts[0]) == set(counts[1]) and p >= LEVEL
    return what, shares[0], f"{shares[1]}, p = {p:.2g}", judged(right=right, row=one.draws.value)


def grid_rows(theirs: Sequence[Sequence[Mapping[str, Any]]]) -> Iterator[Row]:
    """Compare the combinations of each grid, and their order."""
    for grid, peer in zip(GRIDS, theirs, strict=True):
        spec = loaded({**HEAD, "method": "grid", "run_cap": 99, "parameters": grid.parameters}, [])
        ours = [flat(one.params) for one in search_for(spec).proposals([])]
        yield grid_row(grid, ours, [flat(one) for one in peer])


def grid_row(grid: Grid, ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]]) -> Row:
    """Compare one grid."""
    same_set = sorted(map(key_of, ours)) == sorted(map(key_of, theirs))
    same_order = list(map(key_of, ours)) == list(map(key_of, theirs))
    found = "the same, in the same order" if same_order else "the same, in another order" if same_set else "others"
    kind = grid.differs.partition(":")[0]
    right = {"": same_order, "the order": same_set and not same_order, "the values": not same_set}[kind]
    names = ", ".join(grid.parameters)
    row = f"differs: {grid.differs}" if grid.differs else "the same"
    return f"grid of {names}", f"{len(theirs)} combinations", f"{len(ours)}, {found}", judged(right=right, row=row)


def flat(params: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Return the values by dotted names."""
    found: dict[str, Any] = {}
    for name, value in params.items():
        found |= flat(value, f"{before}{name}.") if isinstance(value, Mapping) else {f"{before}{name}": value}
    return found


def key_of(params: Mapping[str, Any]) -> str:
    """Return a text that is equal for equal combinations; 1 and 1.0 are equal."""
    numbers = {name: float(v) if type(v) in (int, float) else v for name, v in params.items()}
    return json.dumps(numbers, sort_keys=True)


def band_rows(theirs: Sequence[Sequence[int]]) -> Iterator[Row]:
    """Compare the rungs up to the 400th evaluation."""
    for band, peer in zip(BANDS, theirs, strict=True):
        spec = loaded({**HEAD, "early_terminate": {"type": "hyperband", **band}, "parameters": PARAMETERS}, [])
        (rule,) = spec.early_stop.rules if spec.early_stop else ()
        assert isinstance(rule, SuccessiveHalving)  # noqa: S101 - for mypy
        ours = rungs(rule, 400)
        text = ", ".join(f"{key} {value}" for key, value in band.items())
        yield f"hyperband {text}", str(list(peer)), str(ours), judged(right=list(peer) == ours, row="the same rungs")


def rungs(rule: SuccessiveHalving, most: int) -> list[int]:
    """Return the rungs up to an evaluation."""
    if rule.rungs is not None:
        return [rung for rung in rule.rungs if rung <= most]
    found = [int(rule.min_resource)]
    while found[-1] * rule.reduction_factor <= most:
        found.append(found[-1] * rule.reduction_factor)
    return found


if __name__ == "__main__":
    sys.exit(main())
