"""A loop with accelerate: prepared model and optimizer, accumulated gradients, a tracker."""

import sys

import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

# sweeper: import sweeper
# sweeper: trial = sweeper.start()
torch.manual_seed(0)
accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2, log_with="tensorboard", project_dir=sys.argv[1])
accelerator.init_trackers("demo")
x = torch.randn(128, 8)
loader = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=8)
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
# sweeper: trial.watch(model, optimizer)
total = 0.0
for epoch in range(4):
    for inputs, targets in loader:
        with accelerator.accumulate(model):
            loss = (model(inputs) - targets).square().mean()
            total += loss.item() / 2
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
        if accelerator.sync_gradients:
            # sweeper: trial.report({"loss/backward": total}, step=trial.next_step - 1)
            total = 0.0
    accelerator.log({"train_loss": loss.item()}, step=epoch)
accelerator.end_training()
