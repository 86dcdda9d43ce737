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
    f"DB_PASS={SECRET}",
    f"--db-pass {SECRET} --lr 3",
    f"accessToken: {SECRET}, clientSecret={SECRET}",
    f"AccountKey={SECRET};SharedAccessKey={SECRET}",
    f"postgres://me:pass@{SECRET}@db:5432/x",
    f'{{\\"token\\": \\"{SECRET}\\"}}',
    f"https://x.blob.core.windows.net/c?sv=2020&sig={SECRET}%3D&se=1&y=2",
    f"https://b.s3.amazonaws.com/o?X-Amz-Signature={SECRET}&y=2",
    f"https://hooks.slack.com/services/T0/B0/{SECRET}",
    f"401 for url: https://api.example.org/v1?key={SECRET}",
    f"sent Bearer {SECRET}",
    f"Cookie: {SECRET}",
    "password=123456",
]
LOOKS = [
    "AKIAIOSFODNN7EXAMPLE",
    "ghp_" + "a1B2" * 9,
    "github_pat_" + "a1B2_" * 9,
    "hf_" + "aB3" * 11,
    "sk-proj-" + "aB3" * 11,
    "sk-" + "aB3" * 6,
    "sk_live_" + "aB3" * 8,
    "AIzaSy" + "aB3-" * 9,
    "glpat-" + "aB3" * 8,
    "npm_" + "aB3" * 12,
    "gsk_" + "aB3" * 8,
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
    "tokens_per_second=312.5 max_tokens: 5 n_tokens=7 stop_token=13 use_auth_token: true token=None",
    "num_passes=3 first_pass=2 forward_pass: 0.3s pass=1 bypass=yes passed=True compass: north",
    "sort_key=lr num_key_value_heads=8 key_dim: 64 primary_key=id",
    "sigma=3 signal: 15 signature of the function: f(x)",
    "author: Ann, authors=[b], session: 4, connection=slow, hook: 3",
    "SyntaxError: unexpected token: }",
    "sweep.yaml:3: notify.webhook: expected a URL, got something else",
    "parameters.api_key: expected text, got a list",
    "sk-learn-pipeline-v2-final bearer of responsibilities",
    "https://example.org/a@2x.png https://example.org/?q=key%20x",
    "secrets of training, a password manager and tokens",
    "",
]


@pytest.mark.parametrize("text", HOLDING)
def test_a_secret_is_told_by_what_stands_before_it(text: str) -> None:
    told = redacted(text)
    assert SECRET not in told
    assert "123456" not in told
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
    assert redacted_value("AWS_SECRET_ACCESS_KEY", "x") == redacted_value("db_pass", "x") == REDACTED
    assert redacted_value("password", 1234) == REDACTED
    assert [redacted_value(name, 7) for name in ("token", "first_token", "max_tokens", "num_passes")] == [7] * 4
    assert redacted_value("use_auth_token", value=True) is True
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
