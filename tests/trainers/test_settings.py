"""Hyperparameters: what is refused, and in which words."""

from __future__ import annotations

import json

import pytest

from sweeper.errors import UsageError
from sweeper.trainers import TRAINERS
from sweeper.trainers.settings import DEFAULTS, LIMITS, Settings, parse


def test_the_defaults_are_settings_also_after_json() -> None:
    assert parse(json.loads(json.dumps(dict(DEFAULTS)))) == Settings()
    assert parse({}) == Settings()


def test_every_hyperparameter_has_a_limit() -> None:
    assert set(DEFAULTS) == set(LIMITS)
    assert TRAINERS["text-classification"].defaults == DEFAULTS


def test_a_name_is_accepted_as_a_list_of_one() -> None:
    assert parse({"dataset": "synthetic-topics"}).dataset == ("synthetic-topics",)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"lr": -1e-4}, "lr: expected a number above 0, got -0.0001"),
        ({"lr": "1e-4"}, "lr: expected a number above 0, got '1e-4'"),
        ({"lr": float("nan")}, "lr: expected a number above 0, got nan"),
        ({"warmup_fraction": 1.5}, "warmup_fraction: expected a number from 0 to 1, got 1.5"),
        ({"beta2": 1}, "beta2: expected a number from 0 to below 1, got 1"),
        ({"epochs": True}, "epochs: expected a whole number from 1, got True"),
        ({"epochs": 2.0}, "epochs: expected a whole number from 1, got 2.0"),
        ({"max_length": 513}, "max_length: expected a whole number from 3 to 512, BERT's positions, got 513"),
        ({"precision": "fp16"}, 'precision: expected "auto", "fp32" or "bf16", got \'fp16\''),
        ({"precision": ["fp32"]}, 'precision: expected "auto", "fp32" or "bf16", got [\'fp32\']'),
        ({"compile": 1}, "compile: expected true or false, got 1"),
        ({"tokenizer": []}, "tokenizer: expected a name, or a list of names, got ()"),
        ({"hidden_size": 65}, "hidden_size: expected a multiple of num_attention_heads (2), got 65"),
        ({"learning_rate_": 1}, "learning_rate_: not a hyperparameter of text-classification"),
        ({"batchsize": 1}, "batchsize: not a hyperparameter of text-classification; did you mean batch_size?"),
    ],
)
def test_a_mistake_is_reported_with_what_was_expected(params: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(params)
    assert str(error.value).startswith(message)


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(UsageError) as error:
        parse({"lr": 0, "clip": -1, "epochs": 0})
    assert [line.split(":")[0] for line in str(error.value).splitlines()] == ["lr", "clip", "epochs"]


def test_clipping_can_be_turned_off() -> None:
    assert parse({"clip": float("inf")}).clip == float("inf")
