"""Metrics that accelerate passes on to several trackers are recorded once."""

from __future__ import annotations

from pathlib import Path

from tests.auto.scripts import need, ran


def test_metrics_for_several_trackers_are_recorded_once(tmp_path: Path) -> None:
    need("accelerate", "tensorboard", "wandb")
    script = """
        import wandb
        from accelerate import Accelerator

        accelerator = Accelerator(cpu=True, log_with=["tensorboard", "wandb"], project_dir="logs")
        accelerator.init_trackers("project", config={"lr": 0.1})
        accelerator.log({"train_loss": 1.5, "val_acc": 0.5}, step=2)
        accelerator.get_tracker("wandb").log({"by_tracker": 1.0}, step=3)
        accelerator.get_tracker("tensorboard", unwrap=True).add_scalar("by_writer", 2.0, 4)
        wandb.log({"by_wandb": 3.0})
        accelerator.end_training()
    """
    done = ran(tmp_path, script)
    assert done.logged == [
        ("Accelerator.log", {"train_loss": 1.5, "val_acc": 0.5}, 2),
        ("WandBTracker.log", {"by_tracker": 1.0}, 3),
        ("SummaryWriter.add_scalar", {"by_writer": 2.0}, 4),
        ("wandb.log", {"by_wandb": 3.0}, None),
    ]
    assert done.notes == []


def test_a_tracker_of_the_users_own_is_read(tmp_path: Path) -> None:
    need("accelerate")
    script = """
        from accelerate import Accelerator
        from accelerate.tracking import GeneralTracker

        class Mine(GeneralTracker):
            name, requires_logging_directory, tracker = "mine", False, None

            def log(self, values, step=None, **kwargs):
                print("logged", values, step)

        accelerator = Accelerator(cpu=True, log_with=Mine())
        accelerator.init_trackers("project")
        accelerator.log({"loss": 1.5}, step=2)
        accelerator.trackers[0].log({"loss": 2.5})
    """
    done = ran(tmp_path, script)
    assert done.out.splitlines() == ["logged {'loss': 1.5} 2", "logged {'loss': 2.5} None"]
    assert done.logged == [("Accelerator.log", {"loss": 1.5}, 2), ("Mine.log", {"loss": 2.5}, None)]
