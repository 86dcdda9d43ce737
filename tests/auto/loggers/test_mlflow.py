from __future__ import annotations

from pathlib import Path

from tests.auto.scripts import need, ran


def test_metrics_of_functions_and_of_the_client_are_read(tmp_path: Path) -> None:
    need("mlflow")
    script = """
        import mlflow
        from mlflow import MlflowClient
        from mlflow.entities import Metric

        with mlflow.start_run() as run:
            mlflow.log_params({"lr": 0.1})
            mlflow.log_metric("val_acc", 0.5, step=3)
            mlflow.log_metrics({"loss": 1.5, "val_acc": 0.75}, step=4)
            client = MlflowClient()
            client.log_metric(run.info.run_id, "f1", 0.25)
            client.log_batch(run.info.run_id, metrics=[Metric("loss", step, 0, step) for step in (5, 6)])
            print(client.get_run(run.info.run_id).data.metrics["val_acc"])
    """
    store = {"MLFLOW_TRACKING_URI": f"file://{tmp_path}/mlruns", "MLFLOW_ALLOW_FILE_STORE": "true"}
    done = ran(tmp_path, script, environment=store)
    assert done.out.split() == ["0.75"]
    assert done.logged == [
        ("mlflow.log_metric", {"val_acc": 0.5}, 3),
        ("mlflow.log_metrics", {"loss": 1.5, "val_acc": 0.75}, 4),
        ("mlflow.log_metric", {"f1": 0.25}, None),
        ("mlflow.log_metrics", {"loss": 5.0}, 5),
        ("mlflow.log_metrics", {"loss": 6.0}, 6),
    ]
