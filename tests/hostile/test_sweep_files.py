"""Any sweep file is a sweep or a list of mistakes: without a traceback, soon, and nothing is written elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from sweeper.config import load, sweep_of_command
from sweeper.config.model.sweep import LONGEST_NAME, NAME
from sweeper.errors import SpecError, UsageError
from tests.hostile import fuzz
from tests.hostile.sweep_files import changed_bytes, changed_data

FEW = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
HEAD = "name: a\nmethod: grid\nmetric: {name: loss}\ncommand: [echo]\n"


@pytest.fixture(scope="module")
def guard() -> fuzz.Guard:
    return fuzz.Guard()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert {path.name for path in tmp_path.iterdir()} <= {"sweep.yaml"}


@FEW
@given(raw=changed_data())
def test_a_sweep_with_other_data_is_planned_or_refused(folder: Path, guard: fuzz.Guard, raw: bytes) -> None:
    assert fuzz.outcome(raw, folder, guard, make=True) in {"planned", "made", "refused"}


@FEW
@given(raw=changed_bytes())
def test_a_sweep_file_with_other_bytes_is_planned_or_refused(folder: Path, guard: fuzz.Guard, raw: bytes) -> None:
    assert fuzz.outcome(raw, folder, guard, make=True) in {"planned", "made", "refused"}


def test_a_real_sweep_is_made_and_where_it_is_made_is_watched(folder: Path, guard: fuzz.Guard) -> None:
    assert fuzz.outcome(f"{HEAD}parameters: {{lr: {{values: [1, 2]}}}}\n".encode(), folder, guard, make=True) == "made"
    with pytest.raises(fuzz.WroteOutside), guard.only(folder / "runs"):
        (folder / "elsewhere").write_text("x")
    with pytest.raises(fuzz.TookTooLong), fuzz.within(0.05):
        time.sleep(10)


def loaded(text: str, folder: Path) -> str:
    """What is said of a file, within the time that the fuzzer allows."""
    (folder / "sweep.yaml").write_text(text)
    with fuzz.within(fuzz.LIMIT_S):
        try:
            load("sweep.yaml", has_cuda=False, trainers=fuzz.KNOWN)
        except UsageError as error:
            return str(error)
    return "a sweep"


def parameters(*lines: str) -> str:
    return f"{HEAD}parameters:\n" + "".join(f"  {line}\n" for line in lines)


NUMBERS = ", ".join(map(str, range(4_000)))
LARGE = [
    (parameters("a: {min: 1, max: 10001}"), "expected a grid of at most 10,000 trials, got a larger one"),
    (parameters(f"a: {{min: 0, max: {2**63 - 1}}}"), "expected a grid of at most 10,000 trials"),
    (parameters("a: {min: 0, max: 1e308, q: 5e-324}"), "expected a grid of at most 10,000 trials"),
    (parameters(*(f"p{n}: {{values: [1, 2, 3]}}" for n in range(200))), "expected a grid of at most 10,000 trials"),
    (parameters(*(f"p{n}: {{value: 1}}" for n in range(257))), "parameters: expected at most 256 parameters, got 257"),
    (parameters(*(f"p{n}: {{value: 1}}" for n in range(256))), "a sweep"),
    (
        parameters("a: {value: 1}", f"b: {{value: 1, when: {{a: [{NUMBERS}]}}}}"),
        "b.when.a: expected a value that a takes (1), got 0",
    ),
    (f"{HEAD}seeds: [{NUMBERS.replace('0', 'x')}]\n", "more mistakes"),
    (HEAD + "".join(f"k{n}: 1\n" for n in range(2_000)), "and 1,900 more mistakes"),
    (f'{HEAD}description: "{"a" * 900_000}"\n', "a sweep"),
    (f"{HEAD}description: {'[' * 33}\n", "got more than 32 levels of nesting"),
    ("x: &x [" + "a," * 200 + "]\n" + "".join(f"k{n}: *x\n" for n in range(90)), "aliases that repeat"),
    (f"{HEAD}profiles:\n" + "".join(f"  p{n}: {{}}\n" for n in range(33)), "expected at most 32 profiles, got 33"),
]


@pytest.mark.parametrize(
    ("text", "message"), LARGE, ids=[f"{n} {message[:40]}" for n, (_, message) in enumerate(LARGE)]
)
def test_a_file_that_asks_for_too_much_is_refused_soon(folder: Path, text: str, message: str) -> None:
    said = loaded(text, folder)
    assert message in said
    assert len(said) < 100_000


def test_a_grid_is_counted_with_its_conditions(folder: Path) -> None:
    kinds = ", ".join(f"k{n}" for n in range(20))
    own = [f"p{n}: {{values: [{', '.join(map(str, range(100)))}], when: {{kind: k{n}}}}}" for n in range(20)]
    # 20 kinds with 100 values each: 2,000 configurations, though the product of all the values is 20 * 100**20.
    assert loaded(parameters(f"kind: {{values: [{kinds}]}}", *own), folder) == "a sweep"
    assert loaded(parameters(f"kind: {{values: [{kinds}]}}", *own) + "seeds: [0, 1, 2, 3, 4]\n", folder) == "a sweep"
    assert "at most 10,000" in loaded(
        parameters(f"kind: {{values: [{kinds}]}}", *own) + "seeds: [0, 1, 2, 3, 4, 5]\n", folder
    )


NUL = [
    ('description: "a\\0b"', "sweep.yaml:5: description: expected text without the character NUL, got 'a\\x00b'"),
    ('parameters: {lr: {value: "\\0"}}', "sweep.yaml:5: parameters.lr.value: expected text without the character NUL"),
    ('"a\\0": 1', "sweep.yaml:5: expected text without the character NUL"),
]


@pytest.mark.parametrize(("line", "message"), NUL)
def test_nul_is_refused_wherever_it_stands(folder: Path, line: str, message: str) -> None:
    assert message in loaded(f"{HEAD}{line}\n", folder)


NO_NAMES = [
    *("..", ".", "", "~", "*", "a\tb", "a\nb", "a\0b", "x" * 10_000, "\U0001f600", "a\u202eb", "a\x1b[31m"),
]
TITLES = [
    *("../x", "a/b", "/etc", "-a", "--help", "a b", "a\\b", "a:b", "$HOME", "`x`", "[red]", "<b>", "é" * 51, "x" * 101),
]


@pytest.mark.parametrize("name", NO_NAMES, ids=[ascii(name[:12]) for name in NO_NAMES])
def test_what_is_no_name_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(SpecError, match="name: expected") as error:
        sweep_of_command(["true"], name=name, metric="loss", goal="minimize", early_stop=None)
    fuzz.assert_plain(str(error.value))
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("name", TITLES, ids=[ascii(name[:12]) for name in TITLES])
def test_the_directory_of_a_title_is_safe(folder: Path, name: str) -> None:
    spec = sweep_of_command(["true"], name=name, metric="loss", goal="minimize", early_stop=None)
    assert spec.title == name
    assert NAME.fullmatch(spec.name)
    assert len(spec.name.encode()) <= LONGEST_NAME
    assert (folder / spec.name).resolve().parent == folder.resolve()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_real_command_says_the_same(folder: Path) -> None:
    for line in ('"\\e[31m": 1', "parameters: {a: {min: 0, max: 9223372036854775807}}", "name: ../..", "k: &k [*k]"):
        assert fuzz.by_command(f"{HEAD}{line}\n".encode(), folder) == "refused"
    assert (
        fuzz.by_command(f"{HEAD}parameters: {{lr: {{values: ['[red]x', '\u202e']}}}}\n".encode(), folder) == "planned"
    )


UNHASHABLE = ("[]", "{}", "[[1]]", "{a: []}")
KEYS_OF_A_SWEEP = (
    "name: {}",
    "method: {}",
    "trainer: {}",
    "metric: {{name: loss, goal: {0}, at: {0}}}",
    "parameters: {{a: {{distribution: {}}}}}",
    "parameters: {{a: {{min: 0, max: 1, distribution: {}}}}}",
    "parameters: {{a: {{value: {0}}}, b: {{value: 1, when: {{a: [{0}]}}}}}}",
    "early_stop: {{mode: {0}, rules: [{0}]}}",
    "profiles: {{a: {{when: {0}, parameters: {0}}}}}",
    "resources: {}",
    "dataset: [{}]",
)


@pytest.mark.parametrize("line", KEYS_OF_A_SWEEP)
def test_lists_and_mappings_where_a_word_is_expected_are_a_mistake_like_any_other(folder: Path, line: str) -> None:
    key = line.partition(":")[0]
    for value in UNHASHABLE:
        text = "".join(f"{own}\n" for own in HEAD.splitlines() if not own.startswith(f"{key}:"))
        assert loaded(f"{text}{line.format(value)}\n", folder)
