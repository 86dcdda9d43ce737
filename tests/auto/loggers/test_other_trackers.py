"""Comet, ClearML and Aim, each offline."""

from __future__ import annotations

from pathlib import Path

from tests.auto.scripts import need, ran


def test_comet(tmp_path: Path) -> None:
    need("comet_ml")
    script = """
        from comet_ml import OfflineExperiment

        experiment = OfflineExperiment(project_name="p", offline_directory="offline", disabled=True)
        experiment.log_metric("val_acc", 0.5, step=3)
        experiment.log_metrics({"loss": 1.5, "f1": 0.25}, prefix="val", step=4)
    """
    done = ran(tmp_path, script)
    assert done.logged == [
        ("Experiment.log_metric", {"val_acc": 0.5}, 3),
        ("Experiment.log_metrics", {"val_loss": 1.5, "val_f1": 0.25}, 4),
    ]


def test_clearml(tmp_path: Path) -> None:
    need("clearml")
    script = """
        from clearml import Logger, Task

        Task.set_offline(True)
        task = Task.init(project_name="p", task_name="t", auto_connect_frameworks=False)
        Logger.current_logger().report_scalar("loss", "val", 1.5, iteration=3)
        task.get_logger().report_scalar(title="acc", series="acc", value=0.5, iteration=3)
        task.get_logger().report_single_value("best", 0.75)
        task.close()
    """
    done = ran(tmp_path, script)
    assert done.logged == [
        ("Logger.report_scalar", {"loss/val": 1.5}, 3),
        ("Logger.report_scalar", {"acc": 0.5}, 3),
        ("Logger.report_single_value", {"best": 0.75}, None),
    ]


def test_aim(tmp_path: Path) -> None:
    need("aim")
    script = """
        from aim import Run

        run = Run(repo=".", system_tracking_interval=None)
        run.track(0.5, name="loss", step=3, context={"subset": "val"})
        run.track(0.25, "acc")
        run.close()
    """
    done = ran(tmp_path, script)
    assert done.logged == [("Run.track", {"loss/val": 0.5}, 3), ("Run.track", {"acc": 0.25}, None)]
