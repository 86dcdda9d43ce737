from __future__ import annotations

from pathlib import Path

from tests.auto.scripts import need, ran


def test_metrics_are_read(tmp_path: Path) -> None:
    need("trackio")
    script = """
        import trackio as wandb

        run = wandb.init(project="p", config={"lr": 0.1})
        wandb.log({"val_acc": 0.5, "name": "x"})
        run.log({"val_acc": 0.75}, step=4)
        wandb.finish()
    """
    done = ran(tmp_path, script, environment={"TRACKIO_DIR": str(tmp_path / "trackio")})
    assert done.logged == [("trackio.log", {"val_acc": 0.5}, None), ("trackio.log", {"val_acc": 0.75}, 4)]
