"""Train one model in two processes under sweeper: a deep network that learns or fails, depending on its activation.

    torchrun --standalone --nproc-per-node=2 experiments/ddp.py     one run, recorded below runs/
    sweeper run experiments/ddp.yaml                                the sweep

Every rank makes the same calls of the trial. Rank 0 writes the record, and all ranks stop after the same step.
"""

from __future__ import annotations

import torch
from torch import distributed, nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

import sweeper

DEPTH, WIDTH, CLASSES, BATCH = 12, 32, 4, 32
ACTIVATIONS = {"tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
DEFAULTS = {"activation": "tanh", "lr": 1e-3, "steps": 600}


def examples(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return random points, and for each the nearest of four fixed directions."""
    points = torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed))
    directions = torch.randn(WIDTH, CLASSES, generator=torch.Generator().manual_seed(0))
    return points, (points @ directions).argmax(dim=1)


def network(activation: str) -> nn.Sequential:
    """Return a classifier of many narrow layers, each followed by the activation."""
    linear = [nn.Linear(WIDTH, WIDTH) for _ in range(DEPTH)]
    for layer in linear:
        nn.init.orthogonal_(layer.weight)
    layers = [nn.Sequential(layer, ACTIVATIONS[activation]()) for layer in linear]
    return nn.Sequential(*layers, nn.Linear(WIDTH, CLASSES))


distributed.init_process_group("gloo")
rank, ranks = distributed.get_rank(), distributed.get_world_size()

with sweeper.trial(defaults=DEFAULTS) as trial:  # sweeper: provide parameters, keep the record
    torch.manual_seed(trial.seed)
    (train_x, train_y), (test_x, test_y) = examples(2048, seed=1), examples(512, seed=2)
    model = DistributedDataParallel(network(trial.params["activation"]))
    optimizer = torch.optim.AdamW(model.parameters(), lr=trial.params["lr"])
    trial.plan(total_steps=trial.params["steps"], peak_lr=trial.params["lr"])
    trial.watch(model, optimizer, every=10)  # sweeper: record gradients and updates of each layer

    state = trial.restore()
    if state is not None:  # resume an interrupted run
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])

    for step in range(trial.next_step, trial.params["steps"]):
        random = torch.Generator().manual_seed(step * ranks + rank)
        rows = torch.randint(len(train_x), (BATCH // ranks,), generator=random)
        loss = cross_entropy(model(train_x[rows]), train_y[rows])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

        values = {"loss/train": loss}
        if (step + 1) % 50 == 0:
            with torch.no_grad():
                values["accuracy/test"] = (model.module(test_x).argmax(dim=1) == test_y).float().mean()
        trial.report(values, step=step)  # sweeper: record values; tensors do not block
        stop = trial.should_stop  # sweeper: all ranks agree on it; read it once per step, so that a stop is saved too
        if stop or trial.should_save:
            trial.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, step=step)
        if stop:
            print(f"rank {rank} stops after step {step}")
            break

distributed.destroy_process_group()
