from __future__ import annotations

from pathlib import Path

import pytest

from tests.auto.scripts import need, ran

SWEEP_STYLE = """
    import wandb

    def main():
        with wandb.init(project="p", config={"lr": 0.5, "batch_size": 8}) as run:
            config = wandb.config
            print(config.lr, config["batch_size"], config.get("depth", 3), run is wandb.run)
            wandb.log({"epoch": 0, "val_acc": 0.25, "nested": {"a": 1, "b": {"c": 2}}, "text": "x", "flag": True})
            run.log({"val_acc": 0.5}, step=7)
            wandb.run.log(data={"val_acc": 0.75}, commit=False)
            wandb.log({"media": wandb.Histogram([1, 2, 3]), "table": wandb.Table(columns=["a"], data=[[1]])})
            run.summary["best"] = 0.75
            wandb.summary.update({"worst": 0.25})

    main()
"""
LOGGED = [
    ("wandb.log", {"epoch": 0.0, "val_acc": 0.25, "nested.a": 1.0, "nested.b.c": 2.0}, None),
    ("wandb.log", {"val_acc": 0.5}, 7),
    ("wandb.log", {"val_acc": 0.75}, None),
    ("wandb.summary", {"best": 0.75}, None),
    ("wandb.summary", {"worst": 0.25}, None),
]


@pytest.mark.parametrize("hidden", [[], ["wandb"]])
def test_a_script_without_argparse_gets_the_parameters_and_its_metrics_are_read(
    tmp_path: Path, hidden: list[str]
) -> None:
    if not hidden:
        need("wandb")
    done = ran(tmp_path, SWEEP_STYLE, params={"lr": 1e-05}, hidden=hidden)
    assert done.out.splitlines()[0] == "1e-05 8 3 True"
    assert done.logged == LOGGED
    assert done.notes == []


def test_metrics_of_a_disabled_run_are_read(tmp_path: Path) -> None:
    need("wandb")
    done = ran(tmp_path, SWEEP_STYLE, params={"lr": 0.1}, environment={"WANDB_MODE": "disabled"})
    assert done.out.splitlines()[0] == "0.1 8 3 True"
    assert done.logged == LOGGED


def test_a_wrong_call_fails_as_without_sweeper(tmp_path: Path) -> None:
    need("wandb")
    script = """
        import wandb

        for call in (lambda: wandb.log({"a": 1}), lambda: wandb.init().log("a"), lambda: wandb.log({1: 2})):
            try:
                call()
            except (wandb.Error, TypeError) as error:
                print(f"{type(error).__name__}: {error}")
    """
    done = ran(tmp_path, script)
    assert "Error: You must call wandb.init() before wandb.log()" in done.out
    assert "TypeError: wandb.log must be passed a dictionary" in done.out
    assert "TypeError: Key values passed to `wandb.log` must be strings." in done.out
    assert done.logged == []
    assert done.notes == []
