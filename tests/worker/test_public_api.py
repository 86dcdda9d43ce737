"""The public API: everything that a script may call is typed, documented with an example, and under `sweeper` alone."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mypy import api

import sweeper
from sweeper.integrations import HuggingFaceCallback, LightningCallback

REPOSITORY = Path(__file__).parents[2]
SCRIPT = '''
"""A user's training script."""

from typing import Any

import torch

import sweeper
from sweeper.integrations import HuggingFaceCallback, LightningCallback


def main() -> None:
    model = torch.nn.Linear(2, 2)
    with sweeper.trial(defaults={"lr": 3e-4}) as trial:
        torch.manual_seed(trial.seed)
        optimizer = torch.optim.SGD(model.parameters(), lr=trial.params["lr"])
        trial.plan(total_steps=10, peak_lr=3e-4)
        watch = trial.watch(model, optimizer, every=2, statistics="reach", layers=["weight"], include_bias=True)
        state = trial.restore()
        if state is not None:
            model.load_state_dict(state["model"])
        for step in range(trial.next_step, 10):
            loss = model(torch.ones(1, 2)).sum()
            loss.backward()
            watch.look()
            optimizer.step()
            trial.report({"loss/train": loss, "accuracy/test": 0.5}, step=step)
            if trial.should_save:
                trial.save({"model": model.state_dict()}, step=step)
            if trial.should_stop:
                trial.note(f"left {trial.dir} after step {step}")
                break


def with_trainer(trial: sweeper.Trial) -> str | None:
    return HuggingFaceCallback(trial, every=5).resume()


def with_lightning(trial: sweeper.Trial) -> str | None:
    return LightningCallback(trial, statistics="full").resume()


def in_a_notebook() -> None:
    for lr in (1e-4, 3e-4):
        trial = sweeper.start(defaults={"lr": lr})
        trial.report({"loss/train": lr}, step=0)
        trial.finish()


def as_trainer(lr: float, trial: sweeper.Trial) -> dict[str, Any]:
    with sweeper.trial() as same:
        assert same is trial
    return {"loss/train": lr}
'''
METHODS = (
    *("plan", "watch", "restore", "report", "guard", "should_stop", "should_save", "save", "note", "next_step"),
    "finish",
)
OBJECTS: dict[str, Any] = {
    "trial": sweeper.trial,
    "start": sweeper.start,
    "Trial": sweeper.Trial,
    **{f"Trial.{name}": inspect.getattr_static(sweeper.Trial, name) for name in METHODS},
    "HuggingFaceCallback": HuggingFaceCallback,
    "HuggingFaceCallback.resume": HuggingFaceCallback.resume,
    "LightningCallback": LightningCallback,
    "LightningCallback.resume": LightningCallback.resume,
}


def mypy(path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path) -> tuple[str, int]:
    """Type-check a file strictly, without the types of transformers and lightning, which take minutes to check."""
    settings = folder / "mypy.ini"
    skipped = "".join(f"[mypy-{name}.*]\nfollow_imports = skip\n" for name in ("transformers", "lightning"))
    settings.write_text(f"[mypy]\nstrict = true\nfollow_imports = silent\n{skipped}")
    monkeypatch.setenv("MYPYPATH", str(REPOSITORY))
    monkeypatch.chdir(folder)
    options = [f"--config-file={settings}", f"--cache-dir={REPOSITORY / '.mypy_cache' / 'public_api'}"]
    output, _, status = api.run([*options, str(path)])
    return output, status


def test_a_script_of_a_user_type_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    assert mypy(script, monkeypatch, tmp_path) == ("Success: no issues found in 1 source file\n", 0)


def test_a_wrong_call_does_not_type_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "wrong.py"
    script.write_text(
        "import sweeper\n"
        "with sweeper.trial() as trial:\n"
        "    trial.report({'loss': 'high'}, step=0)\n"
        "    trial.save({}, step=None)\n"
        "    trial.append('an event')\n"
        "sweeper.trial().report({'loss': 1.0}, step=0)\n"
        "sweeper.start().report({'loss': 1.0}, step='first')\n"
    )
    output, _ = mypy(script, monkeypatch, tmp_path)
    assert [line.split(":")[1] for line in output.splitlines() if "error:" in line] == ["3", "4", "5", "6", "7"]


@pytest.mark.parametrize("name", OBJECTS)
def test_the_docstring_has_what_a_caller_needs(name: str) -> None:
    thing = OBJECTS[name]
    text = inspect.getdoc(thing) or ""
    assert "Example:" in text
    if isinstance(thing, property):
        return
    call: Callable[..., object] = thing
    arguments = set(inspect.signature(call).parameters) - {"self", "recorder", "directory"}
    if arguments and name != "Trial":
        assert "Args:" in text
        assert [argument for argument in sorted(arguments) if f"{argument}: " not in text] == []
    if name != "Trial":
        assert "Raises:" in text


def test_nothing_else_is_public() -> None:
    assert sorted(name for name in vars(sweeper.Trial) if not name.startswith("_")) == sorted(METHODS)
    assert sweeper.__all__ == ["Trial", "__version__", "start", "trial"]
