from __future__ import annotations

from pathlib import Path

import pytest

from tests.auto.scripts import need, ran

ARGPARSE = """
    import argparse
    import torch
    from {package} import SummaryWriter

    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.1)
    args = parser.parse_args()
    writer = SummaryWriter("logs")
    for epoch in range(2):
        loss = torch.tensor(args.lr * (epoch + 1))
        writer.add_scalar("Loss/train", loss, epoch)
        writer.add_scalar(tag="Accuracy/test", scalar_value=0.5, global_step=epoch)
        writer.add_scalars("losses", {{"a": 1, "b": loss.item()}}, epoch)
        writer.add_text("note", "hello", epoch)
        writer.add_histogram("h", torch.zeros(3), epoch)
    writer.add_hparams({{"lr": args.lr}}, {{"hparam/best": 0.75}})
    writer.close()
"""


@pytest.mark.parametrize(
    ("package", "module"), [("torch.utils.tensorboard", "tensorboard"), ("tensorboardX", "tensorboardX")]
)
def test_scalars_are_read_and_still_written(tmp_path: Path, package: str, module: str) -> None:
    need(module)
    done = ran(tmp_path, ARGPARSE.format(package=package), arguments=["--lr", "0.5"])
    first = [
        ("SummaryWriter.add_scalar", {"Loss/train": 0.5}, 0),
        ("SummaryWriter.add_scalar", {"Accuracy/test": 0.5}, 0),
        ("SummaryWriter.add_scalars", {"losses/a": 1.0, "losses/b": 0.5}, 0),
    ]
    second = [
        ("SummaryWriter.add_scalar", {"Loss/train": 1.0}, 1),
        ("SummaryWriter.add_scalar", {"Accuracy/test": 0.5}, 1),
        ("SummaryWriter.add_scalars", {"losses/a": 1.0, "losses/b": 1.0}, 1),
    ]
    assert done.logged == [*first, *second, ("SummaryWriter.add_scalar", {"hparam/best": 0.75}, None)]
    assert done.kinds[0] == {"Loss/train": "Tensor"}  # not waited for
    assert done.notes == []
    assert list((tmp_path / "work" / "logs").glob("events.out.tfevents.*"))


def test_a_wrong_call_fails_as_without_sweeper(tmp_path: Path) -> None:
    need("tensorboard")
    script = """
        import inspect
        from torch.utils.tensorboard import SummaryWriter

        writer = SummaryWriter("logs")
        assert list(inspect.signature(writer.add_scalar).parameters)[:3] == ["tag", "scalar_value", "global_step"]
        assert SummaryWriter.add_scalar.__doc__.startswith("Add scalar data")
        for wrong in (lambda: writer.add_scalar("x", [1, 2], 0), lambda: writer.add_scalar()):
            try:
                wrong()
            except (TypeError, NotImplementedError) as error:
                print(type(error).__name__)
    """
    done = ran(tmp_path, script)
    assert done.out.split() == ["NotImplementedError", "TypeError"]
    assert done.logged == []
    assert done.notes == []


def test_a_failing_report_is_noted_once_and_does_not_reach_the_script(tmp_path: Path) -> None:
    need("tensorboard")
    script = """
        from torch.utils.tensorboard import SummaryWriter

        writer = SummaryWriter("logs")
        for step in range(3):
            writer.add_scalar("loss", 1.0, step)
        print("done")
    """
    done = ran(tmp_path, script, breaks=True)
    assert done.out == "done\n"
    assert done.notes == ["a call of SummaryWriter.add_scalar was not recorded: OSError: the disk is full"]
