"""What sweeper does with each key, macro and distribution of W&B's sweep files: the tables of docs/compatibility.md.

    python docs/compatible.py

The names are those of W&B's own schema, in its library `sweeps` (`sweeps/config/schema.json`), and of its agent. Tests
load the example of each row (`tests/docs/test_compatible.py`). `benchmarks/compatibility.py` runs the examples by W&B's
library too, compares what both draw, and finds names of its schema that have no row here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

PAGE = Path(__file__).parent / "compatibility.md"

READ = "tests/config/read/test_wandb.py"
YAML = "tests/config/read/test_yaml_files.py"
COMMAND = "tests/orchestrator/test_trial_command.py"
QUANTILES = "tests/search/test_quantiles.py"
SEARCH = "tests/search/test_search.py"
ROWS = "tests/docs/test_compatible.py::test_each_key_has_the_effect_that_its_row_names"


class Effect(StrEnum):
    """What becomes of a key or a value of W&B's."""

    SAME = "as W&B"
    DIFFERENT = "differs"
    TRANSLATED = "translated, said"
    UNUSED = "unused, said"
    REFUSED = "refused, with what to write"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key of W&B's, or one of its values.

    Attributes:
        name: its path, as in the schema; `NAME` stands for a parameter. With a value: `method: custom`.
        example: YAML that replaces or adds to a small sweep file.
        effect: what becomes of it.
        words: more about that, for the page.
        test: the test that holds it.
    """

    name: str
    example: str
    effect: Effect
    words: str = ""
    test: str = ROWS


@dataclass(frozen=True, slots=True, kw_only=True)
class Macro:
    """A macro of W&B's agent, and the test that holds what it becomes."""

    name: str
    becomes: str
    test: str = f"{COMMAND}::test_each_macro_is_what_the_agent_of_wandb_makes_of_it"


class Draws(StrEnum):
    """How the draws of random search compare with those of W&B's library."""

    SAME = "same"
    ENDS = "same values; other shares at the ends"
    INSIDE = "multiples from `min` to `max` only"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A distribution of W&B's.

    Attributes:
        name: its name.
        parameters: examples, as W&B reads them.
        draws: how random search draws from it, beside W&B's library.
        words: more, for the page.
        deprecated: whether W&B's library refuses it today.
        test: the test that holds it.
    """

    name: str
    parameters: Sequence[Mapping[str, object]]
    draws: Draws = Draws.SAME
    words: str = ""
    deprecated: bool = False
    test: str = ""


HEAD = {"program": "train.py", "method": "random", "metric": {"name": "loss"}, "run_cap": 3}
"""The sweep file that examples add to, without its parameters."""

PARAMETERS = {"x": {"values": [1, 2]}}

BAND = "early_terminate: {type: hyperband, min_iter: 3"
RUNGS = f"{READ}::test_the_rungs_are_those_of_wandb"
REFUSALS = f"{READ}::test_unsupported_keys_are_reported_with_what_to_write_instead"
FIRST = f"{READ}::test_wandbs_first_example_runs_and_unused_keys_are_reported_with_their_lines"
TARGET = "tests/end_to_end/test_commands.py::test_a_target_that_is_reached_ends_the_launches_as_with_wandb"
SCHEDULER = "write `method: tpe`, `gp`, `cmaes` or `qmc`"
LISTED = "see distributions, below"
JOB = "`executor` says where trials run"

KEYS: Sequence[Key] = (
    Key(name="program", example="program: train.py", effect=Effect.SAME, test=f"{COMMAND}::test_each_macro"),
    Key(
        name="command",
        example="command: ['${env}', python, '${program}', '${args}', 5]",
        effect=Effect.SAME,
        words="[macros](#macros) below",
        test="tests/config/test_words.py::test_numbers_and_booleans_are_words",
    ),
    Key(
        name="name",
        example="name: base",
        effect=Effect.SAME,
        words="any text",
        test=f"{YAML}::test_a_name_that_is_no_directory_is_the_title",
    ),
    Key(name="description", example="description: text", effect=Effect.SAME),
    Key(
        name="method: grid",
        example="method: grid",
        effect=Effect.SAME,
        words="in the order of the file; W&B's is by name",
        test=f"{SEARCH}::test_a_grid_has_every_combination_once_and_the_last_parameter_varies_fastest",
    ),
    Key(
        name="method: random",
        example="method: random",
        effect=Effect.SAME,
        test=f"{YAML}::test_search_without_an_end_is_said",
    ),
    Key(
        name="method: bayes",
        example="method: bayes",
        effect=Effect.DIFFERENT,
        words="Optuna's TPE; `gp` is a Gaussian process, as W&B's",
        test="tests/search/test_imputation.py::test_fewer_than_six_of_thirty_proposals_diverge_where_half_of_the_range_does",
    ),
    Key(name="method: custom", example="method: custom", effect=Effect.REFUSED, test=REFUSALS),
    Key(name="run_cap", example="run_cap: 5", effect=Effect.SAME, test=FIRST),
    Key(name="metric.name", example="metric: {name: val/loss}", effect=Effect.SAME, test=FIRST),
    Key(name="metric.goal", example="metric: {name: acc, goal: maximize}", effect=Effect.SAME, test=FIRST),
    Key(
        name="metric.target",
        example="metric: {name: acc, goal: maximize, target: 0.9}",
        effect=Effect.SAME,
        words="no more trials are started; running ones end by themselves",
        test=TARGET,
    ),
    Key(
        name="metric.impute",
        example="metric: {name: loss, impute: latest}",
        effect=Effect.SAME,
        words="also `off`; a trial that was killed from outside [is not imputed](reference/search.md#trials-that-fail)",
        test=f"{READ}::test_impute_is_read",
    ),
    Key(
        name="metric.impute_while_running",
        example="metric: {name: loss, impute_while_running: latest}",
        effect=Effect.UNUSED,
        words="[the method](reference/search.md) decides",
    ),
    Key(name="metrics", example="metric: null\nmetrics: [{name: a}, {name: b}]", effect=Effect.REFUSED, test=REFUSALS),
    Key(name="parameters", example="parameters: {x: {value: 1}}", effect=Effect.SAME, test=FIRST),
    Key(
        name="parameters.NAME.value",
        example="parameters: {x: {value: 1}}",
        effect=Effect.SAME,
        test="tests/config/test_words.py::test_a_mapping_is_a_value",
    ),
    Key(
        name="parameters.NAME.values",
        example="parameters: {x: {values: [1, {a: 2}]}}",
        effect=Effect.SAME,
        words="each value once",
        test="tests/config/test_words.py::test_a_mapping_is_a_value",
    ),
    Key(
        name="parameters.NAME.probabilities",
        example="parameters: {x: {values: [1, 2], probabilities: [0.1, 0.9]}}",
        effect=Effect.SAME,
        test=f"{QUANTILES}::test_values_with_probabilities_are_drawn_as_often",
    ),
    Key(
        name="parameters.NAME.min",
        example="parameters: {x: {min: 1, max: 8}}",
        effect=Effect.SAME,
        words=LISTED,
        test=FIRST,
    ),
    Key(
        name="parameters.NAME.max",
        example="parameters: {x: {min: 0.1, max: 8}}",
        effect=Effect.SAME,
        words=LISTED,
        test=FIRST,
    ),
    Key(
        name="parameters.NAME.q",
        example="parameters: {x: {min: 1, max: 8, q: 2, distribution: q_uniform}}",
        effect=Effect.SAME,
        words=LISTED,
        test=f"{SEARCH}::test_every_distribution_stays_in_its_range_and_on_its_multiples",
    ),
    Key(
        name="parameters.NAME.mu",
        example="parameters: {x: {distribution: normal, mu: 1}}",
        effect=Effect.SAME,
        words=LISTED,
        test=f"{QUANTILES}::test_random_search_draws_from_the_distribution",
    ),
    Key(
        name="parameters.NAME.sigma",
        example="parameters: {x: {distribution: normal, sigma: 2}}",
        effect=Effect.SAME,
        words="above 0",
        test=f"{QUANTILES}::test_random_search_draws_from_the_distribution",
    ),
    Key(
        name="parameters.NAME.a",
        example="parameters: {x: {distribution: beta, a: 2}}",
        effect=Effect.SAME,
        words="from 0.01 to 1000",
        test=f"{QUANTILES}::test_quantiles_of_beta_are_right",
    ),
    Key(
        name="parameters.NAME.b",
        example="parameters: {x: {distribution: beta, b: 2}}",
        effect=Effect.SAME,
        words="from 0.01 to 1000",
        test=f"{QUANTILES}::test_quantiles_of_beta_are_right",
    ),
    Key(
        name="parameters.NAME.distribution",
        example="parameters: {x: {values: [1], distribution: categorical}}",
        effect=Effect.SAME,
        words=LISTED,
        test=f"{YAML}::test_a_wrong_distribution_is_named",
    ),
    Key(
        name="parameters.NAME.parameters",
        example="parameters: {x: {parameters: {y: {value: 1}}}}",
        effect=Effect.SAME,
        words="[groups](reference/command.md#groups-and-mappings)",
        test=f"{COMMAND}::test_only_groups_of_the_sweep_file_are_nested_in_json",
    ),
    Key(
        name="early_terminate.type",
        example=f"{BAND}}}",
        effect=Effect.TRANSLATED,
        words="to `successive_halving`",
        test=f"{READ}::test_hyperband_is_translated_to_successive_halving_with_the_same_rungs",
    ),
    Key(
        name="early_terminate.min_iter",
        example=f"{BAND}}}",
        effect=Effect.TRANSLATED,
        words="the same rungs",
        test=RUNGS,
    ),
    Key(
        name="early_terminate.max_iter",
        example="early_terminate: {type: hyperband, max_iter: 27, s: 2}",
        effect=Effect.TRANSLATED,
        words="the same rungs",
        test=RUNGS,
    ),
    Key(
        name="early_terminate.s",
        example="early_terminate: {type: hyperband, max_iter: 27, s: 3}",
        effect=Effect.TRANSLATED,
        words="the same rungs",
        test=RUNGS,
    ),
    Key(
        name="early_terminate.eta",
        example=f"{BAND}, eta: 2}}",
        effect=Effect.TRANSLATED,
        words="whole numbers only",
        test=RUNGS,
    ),
    Key(
        name="early_terminate.strict",
        example=f"{BAND}, strict: true}}",
        effect=Effect.TRANSLATED,
        words="as `strict: true` in any case",
        test=f"{READ}::test_hyperband_is_translated_to_successive_halving_with_the_same_rungs",
    ),
    Key(name="project", example="project: p", effect=Effect.UNUSED, test=FIRST),
    Key(name="entity", example="entity: e", effect=Effect.UNUSED, test=FIRST),
    Key(name="apiVersion", example="apiVersion: '1'", effect=Effect.UNUSED),
    Key(name="kind", example="kind: sweep", effect=Effect.UNUSED),
    Key(
        name="controller.type",
        example="controller: {type: local}",
        effect=Effect.UNUSED,
        words="`sweeper run` is the controller",
    ),
    Key(name="job", example="program: null\njob: a/b:latest", effect=Effect.REFUSED, words=JOB, test=REFUSALS),
    Key(name="image_uri", example="program: null\nimage_uri: a/b", effect=Effect.REFUSED, words="[Docker](docker.md)"),
    Key(
        name="scheduler.engine",
        example="scheduler: {engine: wandb}",
        effect=Effect.REFUSED,
        words=SCHEDULER,
        test=REFUSALS,
    ),
    Key(
        name="scheduler.source",
        example="scheduler: {engine: wandb, source: a.py}",
        effect=Effect.REFUSED,
        words=SCHEDULER,
    ),
    Key(
        name="scheduler.optimizer",
        example="scheduler: {engine: wandb, source: a.py, optimizer: f}",
        effect=Effect.REFUSED,
        words=SCHEDULER,
    ),
    Key(
        name="scheduler.search_space",
        example="scheduler: {engine: wandb, source: a.py, search_space: f}",
        effect=Effect.REFUSED,
        words=SCHEDULER,
    ),
)

MACROS: Sequence[Macro] = (
    Macro(name="env", becomes="`/usr/bin/env`", test=f"{COMMAND}::test_each_macro"),
    Macro(name="interpreter", becomes="the Python of sweeper", test=f"{COMMAND}::test_each_macro"),
    Macro(name="program", becomes="the file of `program`", test=f"{COMMAND}::test_each_macro"),
    Macro(name="args", becomes="`--lr=0.1 --amp=True`"),
    Macro(name="args_no_hyphens", becomes="`lr=0.1 amp=True`"),
    Macro(name="args_no_equals", becomes="`--lr 0.1 --amp True`"),
    Macro(name="args_no_boolean_flags", becomes="`--lr=0.1 --amp`"),
    Macro(name="args_append_hydra", becomes="`+lr=0.1 +amp=True`"),
    Macro(name="args_override_hydra", becomes="`++lr=0.1 ++amp=True`"),
    Macro(name="args_json", becomes="JSON in one word"),
    Macro(
        name="args_json_file",
        becomes="the path of a file with that JSON",
        test=f"{COMMAND}::test_variables_and_the_file_of_parameters_are_those_of_the_executing_machine",
    ),
    Macro(
        name="envvar:NAME",
        becomes="the variable, where the trial runs",
        test=f"{COMMAND}::test_variables_and_the_file_of_parameters_are_those_of_the_executing_machine",
    ),
)

EVERY = f"{SEARCH}::test_every_distribution_stays_in_its_range_and_on_its_multiples"
EXPONENTS = f"{READ}::test_distributions_of_exponents_are_translated_to_distributions_of_values"
SHAPED = f"{QUANTILES}::test_random_search_draws_from_the_distribution"
ROUNDED = f"{QUANTILES}::test_every_sampler_draws_them_and_rounded_values_are_multiples"
ANY = f"{READ}::test_distributions_of_exponents_are_translated_to_distributions_of_values"
E = "bounds are exponents of e; refused if they look like values"


def _one(**keys: object) -> Sequence[Mapping[str, object]]:
    return (keys,)


DISTRIBUTIONS: Sequence[Drawn] = (
    Drawn(name="constant", parameters=_one(value=3, distribution="constant"), test=ANY),
    Drawn(name="categorical", parameters=_one(values=["a", 1, None], distribution="categorical"), test=ANY),
    Drawn(
        name="categorical_w_probabilities",
        parameters=_one(
            values=["a", "b", "c"], probabilities=[0.7, 0.2, 0.1], distribution="categorical_w_probabilities"
        ),
        test=f"{QUANTILES}::test_values_with_probabilities_are_drawn_as_often",
    ),
    Drawn(
        name="int_uniform",
        parameters=({"min": 1, "max": 8, "distribution": "int_uniform"}, {"min": -2, "max": 2}),
        test=EVERY,
    ),
    Drawn(
        name="uniform",
        parameters=({"min": 0.1, "max": 0.5, "distribution": "uniform"}, {"min": 0, "max": 1.5}),
        test=EVERY,
    ),
    Drawn(
        name="q_uniform",
        parameters=_one(min=0, max=1, q=0.25, distribution="q_uniform"),
        draws=Draws.ENDS,
        words="all values equally often; W&B draws the ends half as often",
        test=EVERY,
    ),
    Drawn(
        name="log_uniform",
        parameters=_one(min=-9.0, max=-2.0, distribution="log_uniform"),
        words=E,
        deprecated=True,
        test=EXPONENTS,
    ),
    Drawn(
        name="log_uniform_values", parameters=_one(min=1e-5, max=1e-1, distribution="log_uniform_values"), test=EVERY
    ),
    Drawn(
        name="q_log_uniform",
        parameters=_one(min=1.0, max=5.0, q=8, distribution="q_log_uniform"),
        draws=Draws.INSIDE,
        words=E,
        deprecated=True,
        test=EXPONENTS,
    ),
    Drawn(
        name="q_log_uniform_values",
        parameters=_one(min=8, max=256, q=8, distribution="q_log_uniform_values"),
        draws=Draws.ENDS,
        words="each value by the width of its step in the logarithm; at W&B half a step at the ends",
        test=EVERY,
    ),
    Drawn(
        name="inv_log_uniform",
        parameters=_one(min=1.0, max=6.0, distribution="inv_log_uniform"),
        words="bounds are exponents of 1/e",
        test=EXPONENTS,
    ),
    Drawn(
        name="inv_log_uniform_values",
        parameters=_one(min=1e-4, max=0.1, distribution="inv_log_uniform_values"),
        test=EXPONENTS,
    ),
    Drawn(
        name="normal",
        parameters=({"distribution": "normal", "mu": 3, "sigma": 0.5}, {"distribution": "normal"}),
        test=SHAPED,
    ),
    Drawn(name="q_normal", parameters=_one(distribution="q_normal", mu=64, sigma=30, q=8), test=ROUNDED),
    Drawn(name="log_normal", parameters=_one(distribution="log_normal", mu=-7, sigma=1.5), test=SHAPED),
    Drawn(name="q_log_normal", parameters=_one(distribution="q_log_normal", mu=3, sigma=1, q=0.5), test=ROUNDED),
    Drawn(name="beta", parameters=({"distribution": "beta", "a": 2, "b": 5}, {"distribution": "beta"}), test=SHAPED),
    Drawn(name="q_beta", parameters=_one(distribution="q_beta", a=0.5, b=0.5, q=0.1), test=ROUNDED),
)


@dataclass(frozen=True, slots=True)
class Grid:
    """Parameters of a grid; `values` are those of the last one if W&B's differ, for the page."""

    parameters: Mapping[str, object]
    differs: str = ""


GRIDS: Sequence[Grid] = (
    Grid({"a": {"values": [3, 1, 2]}, "b": {"value": 7}, "c": {"min": 1, "max": 3}}),
    Grid({"a": {"values": ["x", "y"]}, "n": {"parameters": {"c": {"values": [1, 2]}, "d": {"values": [True, None]}}}}),
    Grid({"b": {"values": [1, 2]}, "a": {"values": [3, 4]}}, "the order: W&B sorts the names"),
    Grid({"a": {"min": 0, "max": 1, "q": 0.25, "distribution": "q_uniform"}}, "the values: W&B leaves out `max`"),
)

BANDS: Sequence[Mapping[str, object]] = (
    {"min_iter": 3},
    {"min_iter": 2, "eta": 2},
    {"max_iter": 27, "s": 2},
    {"max_iter": 10, "s": 2, "eta": 3},
    {"max_iter": 100, "s": 5, "eta": 4},
    {"max_iter": 300, "s": 2, "eta": 3, "min_iter": 3},
)


# ---- the page --------------------------------------------------------------------------------------------------------


def tables() -> Mapping[str, str]:
    """Return the tables of the page, by the name of their place in it."""
    keys = [(f"`{one.name}`", _effect(one), _test(one.test)) for one in KEYS]
    macros = [(f"`${{{one.name}}}`", one.becomes, _test(one.test)) for one in MACROS]
    drawn = [
        (f"`{one.name}`", "; ".join(filter(None, [one.draws.value, one.words])), _test(one.test))
        for one in DISTRIBUTIONS
    ]
    return {
        "keys": _table(("W&B's key", "sweeper", "test"), keys),
        "macros": _table(("macro", "becomes", "test"), macros),
        "distributions": _table(("distribution", "draws of `random`", "test"), drawn),
    }


def filled(page: str) -> str:
    """Return the text of the page with its tables."""
    for name, table in tables().items():
        before, begin, rest = page.partition(f"<!-- {name}: begin -->\n")
        _, end, after = rest.partition(f"<!-- {name}: end -->")
        page = before + begin + table + end + after
    return page


def _effect(key: Key) -> str:
    return f"{key.effect.value}{': ' if key.words else ''}{key.words}"


def _test(test: str) -> str:
    return f"`{test}`"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)) + "\n"


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
