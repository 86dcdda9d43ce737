"""Distributed data parallel training, started by torchrun."""

import os
import sys

import torch
import torch.distributed as dist
from torch import nn

# sweeper: import sweeper
# sweeper: trial = sweeper.start()
steps = int(sys.argv[1]) if len(sys.argv) > 1 else 40
dist.init_process_group("gloo")
rank = dist.get_rank()
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1))
model = nn.parallel.DistributedDataParallel(model)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
torch.manual_seed(rank)
# sweeper: trial.watch(model, optimizer)
try:
    for step in range(steps):
        x = torch.randn(32, 8)
        loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        # sweeper: trial.report({"loss/backward": loss}, step=step)
        print(f"rank {rank} step {step}", flush=True)
finally:
    print(f"rank {rank} left", flush=True)
dist.destroy_process_group()
