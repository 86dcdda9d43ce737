"""Secrets are told by their form or by the name before them; everything else stays as it is."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.record.values.redaction import REDACTED, redacted, redacted_value

SECRET = "c4n4ry-0f-th3-m1n3"  # noqa: S105 - a canary
HOLDING = [
    f"https://user:{SECRET}@git.example.org/a/b.git",
    f"https://{SECRET}@github.com/a/b.git",
    f"postgresql+psycopg://me:{SECRET}@db:5432/x",
    f"python train.py --api-key={SECRET} --lr=1",
    f"python train.py --api-key {SECRET} --lr 1",
    f"python train.py --hf_token '{SECRET}'",
    f"HF_TOKEN={SECRET} python train.py",
    f"WANDB_API_KEY={SECRET}",
    f"AWS_SECRET_ACCESS_KEY={SECRET} AWS_ACCESS_KEY_ID={SECRET}",
    f"mysql --password={SECRET}",
    f"https://example.org/data?x=1&access_token={SECRET}&y=2",
    f"Authorization: Bearer {SECRET}",
    f'{{"client_secret": "{SECRET}", "lr": 1}}',
    f"parameters:\n  api_key: {{value: {SECRET}}}\n  lr: {{value: 1}}\n",
    f"parameters:\n  api_key:\n    value: {SECRET}\n",
    f"parameters:\n  api_key:\n    values: [{SECRET}, b-{SECRET}]\n",
    f'command: [python, x.py, --api-key, "{SECRET}"]',
    f"command:\n  - python\n  - --api-key\n  - {SECRET}\n  - --lr\n",
    f"+password = '{SECRET}'",
]
LOOKS = [
    "AKIAIOSFODNN7EXAMPLE",
    "ghp_" + "a1B2" * 9,
    "github_pat_" + "a1B2_" * 9,
    "hf_" + "aB3" * 11,
    "sk-proj-" + "aB3" * 11,
    "xoxb-123456789012-abcdef",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY-----",
]
HARMLESS = [
    "python -m sweeper.trainers.text_classification",
    "tokenizer: [bert-base-uncased, wordpiece]",
    "--max_tokens=512 --token-type ids --tokenizer=bert --num_tokens 3",
    "pad_token: [PAD]",
    "https://github.com/a/b.git git@github.com:a/b.git ssh://git@github.com/a/b.git",
    "runs/warmup/trials/0001 lr=3e-4, warmup_fraction=0.1",
    "secretary: ann, monkey: 3, keyboard=x, key=1, keys: [a, b]",
    "metric: {name: accuracy/test, goal: maximize}",
    "",
]


@pytest.mark.parametrize("text", HOLDING)
def test_a_secret_is_told_by_what_stands_before_it(text: str) -> None:
    told = redacted(text)
    assert SECRET not in told
    assert REDACTED in told
    for kept in ("python train.py", "--lr", "y=2", '"lr": 1', "parameters:", "git.example.org"):
        assert (kept in told) == (kept in text)


@pytest.mark.parametrize("key", LOOKS)
def test_a_key_is_told_by_its_looks(key: str) -> None:
    assert redacted(f"say {key} and") == f"say {REDACTED} and"


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redacted(text) == text


@given(st.text(st.sampled_from("ab:/@=- '\"[]{},\ntokenkeysecret"), max_size=80))
def test_redacting_twice_says_no_more(text: str) -> None:
    once = redacted(text)
    assert re.sub(r"\[redacted\]", "", redacted(once)) == re.sub(r"\[redacted\]", "", once)


def test_a_value_is_judged_by_its_name_too() -> None:
    assert redacted_value("api_key", "x") == REDACTED
    assert redacted_value("HF_TOKEN", ["x"]) == REDACTED
    assert redacted_value("tokenizer", "x") == "x"
    assert redacted_value("data", {"url": f"s3://k:{SECRET}@b/x", "n": [1, None, True]}) == {
        "url": f"s3://{REDACTED}@b/x",
        "n": [1, None, True],
    }


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "part", ["a-", "token", "--token ", "x://", "api_key: {", "a_" * 50, "-----BEGIN PRIVATE KEY-----"]
)
def test_a_long_text_is_read_soon(part: str) -> None:
    redacted(part * (200_000 // len(part)))
