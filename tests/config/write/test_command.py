"""The sweep of one command, and the file that says the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.config import EarlyStop, Goal, Stalled, SweepSpec, command_as_file, load, sweep_of_command
from sweeper.errors import SpecError
from sweeper.rules.diagnoses import STOPPING
from tests.config.conftest import Load

WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def one(
    *command: str, name: str = "one", metric: str = "loss", goal: str = "minimize", early_stop: str | None = None
) -> SweepSpec:
    return sweep_of_command(command or ("true",), name=name, metric=metric, goal=goal, early_stop=early_stop)


@given(st.lists(WORDS, min_size=1).filter(lambda words: "${" not in "".join(words)), WORDS.filter(bool))
def test_the_file_is_read_as_the_sweep_it_was_made_from(
    tmp_path_factory: pytest.TempPathFactory, command: list[str], metric: str
) -> None:
    spec = one(*command, metric=metric)
    assert (spec.command, spec.metric.name) == (tuple(command), metric)
    path = tmp_path_factory.getbasetemp() / "single.yaml"
    path.write_bytes(command_as_file(spec).encode())
    assert load(path, has_cuda=False, trainers={}) == spec


@pytest.mark.parametrize("word", ["1e-4", "no", "1:30", "0o7", "~", "", "- x", "a: b", "1_000", "line\nline", "\x7f😀"])
def test_words_that_look_like_something_else_stay_text(word: str, load_text: Load) -> None:
    assert load_text(command_as_file(one("echo", word))).command == ("echo", word)


def test_retry_and_hang_detection_are_in_the_file_if_given(load_text: Load) -> None:
    more = {"retry": {"max": 5, "on": ["error", "killed"]}, "hang_after_s": 30.0}
    spec = sweep_of_command(["true"], name="one", metric="loss", goal="minimize", early_stop=None, other_keys=more)
    assert (spec.retry.max, spec.retry.on, spec.hang_after_s) == (5, ("error", "killed"), 30)
    assert load_text(command_as_file(spec)) == spec
    assert "retry" not in command_as_file(one())
    with pytest.raises(SpecError, match=r"command line: retry.on.0: expected .*, got 'death'"):
        sweep_of_command(
            ["true"],
            name="one",
            metric="loss",
            goal="minimize",
            early_stop=None,
            other_keys={"retry": {"on": ["death"]}},
        )


def test_rules_are_the_preset_or_none_or_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rules = "rules: [{stalled: {window: 7}}]"
    Path("bare.yaml").write_text(rules)
    Path("keyed.yaml").write_text(f"early_stop: {{{rules}}}")
    Path("sweep.yaml").write_text(f"name: other\nearly_stop: {{{rules}}}\nprofiles: {{}}")
    Path("preset.yaml").write_text("early_stop: auto")
    Path("listed.yaml").write_text("rules: auto")
    for preset in (None, "auto", "preset.yaml", "listed.yaml"):
        assert one(early_stop=preset).early_stop == EarlyStop()
    assert [name for rule in one().to_json()["early_stop"]["rules"] for name in rule] == list(STOPPING)
    assert one(early_stop="none").early_stop is None
    assert "early_stop" not in command_as_file(one(early_stop="none"))
    for file in ("bare.yaml", "keyed.yaml", "sweep.yaml"):
        spec = one(early_stop=file, goal="maximize")
        assert spec.early_stop == EarlyStop(rules=(Stalled(window=7),))
        assert (spec.name, spec.metric.goal) == ("one", Goal.MAXIMIZE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rules:\n- stalled: {below: 2}\n", "r.yaml:2: rules.0.stalled.below: expected a number below 1.0, got 2"),
        (
            "early_stop:\n  rles: []\n",
            "r.yaml:2: early_stop.rles: expected one of mode, audit, most_false_prunes, keep_parked_gb, stop_when, ",
        ),
        ("rles: []\n", "r.yaml:1: expected the key early_stop or rules, got other keys: rles; did you mean rules?"),
        ("", "r.yaml:1: expected the key early_stop or rules, got null; write early_stop: auto"),
        ("rules: [\n", "r.yaml:2: expected YAML"),
    ],
)
def test_a_mistake_in_the_rules_says_where(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("r.yaml").write_text(text)
    with pytest.raises(SpecError) as caught:
        one(early_stop="r.yaml")
    assert message in str(caught.value)


def test_words_that_are_no_utf8_are_refused() -> None:
    with pytest.raises(SpecError, match=r"command line: command\.1: expected text that can be written as UTF-8"):
        one("echo", "\udcff")
