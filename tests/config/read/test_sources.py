"""`metrics` in a sweep file: where the metrics of a script are read that reports none itself."""

from __future__ import annotations

import pytest

from sweeper.config import CsvSource, JsonSource, MetricSource, OutputSource, SweepSpec, TensorBoardSource, WandbSource
from sweeper.errors import SpecError
from tests.config.conftest import Load

HEAD = "name: s\ncommand: [train.sh]\nmethod: grid\nmetric: {name: m}\n"
KINDS = "tensorboard, wandb, output, csv or json"
ONE_KIND = f"a mapping with one key, the kind of source: {KINDS}"
BELOW = (
    "a path below the trial's directory, such as results/*.csv or **/metrics.csv, got {}; "
    "the script has this directory as ${{trial:dir}}, or in SWEEPER_TRIAL_DIR"
)


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("{tensorboard: val/acc}", TensorBoardSource(tag="val/acc")),
        ("{tensorboard: {tag: acc, file: val/*}}", TensorBoardSource(tag="acc", file=("val/*",))),
        ("{wandb: val_loss}", WandbSource(key="val_loss")),
        (r"{output: 'loss: (\S+)'}", OutputSource(regex=r"loss: (\S+)")),
        (r"{output: '(?P<step>\d+) (?P<value>.+)'}", OutputSource(regex=r"(?P<step>\d+) (?P<value>.+)")),
        ("{csv: f1}", CsvSource(column="f1", file=("**/*.csv",))),
        (
            "{csv: {file: '${trial:dir}/results/*.csv', column: f1, step: epoch}}",
            CsvSource(column="f1", file=("results/*.csv",), step="epoch"),
        ),
        ("{csv: {file: '${envvar:SWEEPER_TRIAL_DIR}/a.csv', column: f1}}", CsvSource(column="f1", file=("a.csv",))),
        ("{json: {file: [a.json, b.json], key: x.y}}", JsonSource(key="x.y", file=("a.json", "b.json"))),
    ],
)
def test_a_source_is_one_key_and_short_for_its_setting(load_text: Load, text: str, source: MetricSource) -> None:
    spec = load_text(f"{HEAD}metrics: {{accuracy/test: {text}}}")
    assert dict(spec.metrics) == {"accuracy/test": source}
    assert SweepSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{tensorbaord: a}", f"metrics.m: expected one of {KINDS}, got 'tensorbaord'; did you mean tensorboard?"),
        ("{stdout: a}", f"metrics.m: expected one of {KINDS}, got 'stdout'; did you mean output?"),
        ("val_loss", f"metrics.m: expected {ONE_KIND}, got 'val_loss'; for example {{tensorboard: TAG}}"),
        ("wandb", f"metrics.m: expected {ONE_KIND}, got 'wandb'; write {{wandb: ...}}"),
        ("{}", f"metrics.m: expected {ONE_KIND}, got nothing"),
        ("{csv: a, json: b}", f"metrics.m: expected {ONE_KIND}, got csv and json"),
        ("{csv: 3}", "metrics.m.csv: expected the column as text, or a mapping with column, file or step, got 3"),
        ("{csv: {colum: a}}", "metrics.m.csv.column: expected a value, because the key is required, got nothing"),
        ("{json: {key: 3}}", 'metrics.m.json.key: expected text, got 3; quote it: "3"'),
        ("{csv: {column: a, file: /a.csv}}", "metrics.m.csv.file.0: expected " + BELOW.format("'/a.csv'")),
        ("{csv: {column: a, file: ../a.csv}}", "metrics.m.csv.file.0: expected " + BELOW.format("'../a.csv'")),
        ("{csv: {column: a, file: '${trial:dir}/'}}", BELOW.format("'${trial:dir}/'")),
        (
            r"{output: 'loss: (\S+'}",
            (
                "metrics.m.output.regex: expected a regular expression "
                "(missing ), unterminated subpattern at position 6), "
                r"got 'loss: (\\S+'; in YAML, put it into single quotes"
            ),
        ),
        (
            "{output: 'loss: .+'}",
            (
                "metrics.m.output.regex: expected a regular expression with a group for the number, "
                "or one named value, "
                r"got 'loss: .+'; put the number into parentheses, for example 'loss: (\S+)'"
            ),
        ),
        (
            r"{output: 'epoch (?P<step>\d+)'}",
            "metrics.m.output.regex: expected a regular expression with a group for the number, or one named value",
        ),
    ],
)
def test_mistakes_say_where_and_what_to_write(load_text: Load, text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_text(f"{HEAD}metrics: {{m: {text}}}")
    assert any(message in str(mistake) for mistake in caught.value.mistakes), caught.value


def test_the_default_metric_names_what_is_read(load_text: Load) -> None:
    assert load_text(HEAD.replace("metric: {name: m}\n", "metrics: {acc: {json: acc}}\n")).metric.name == "loss/train"
