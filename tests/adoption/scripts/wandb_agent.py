"""Written for W&B's sweep agent: no arguments, the parameters come from wandb.config."""

import torch
import wandb
from torch import nn

# sweeper: import sweeper
# sweeper: trial = sweeper.start()
wandb.init(project="demo", config={"lr": 0.5, "width": 16})
config = wandb.config
torch.manual_seed(0)
x = torch.randn(128, 10)
y = x[:, :4].argmax(1)
model = nn.Sequential(
    nn.Linear(10, config.width), nn.GELU(), nn.Linear(config.width, config.width), nn.GELU(), nn.Linear(config.width, 4)
)
wandb.watch(model)
optimizer = torch.optim.Adam(model.parameters(), lr=config["lr"])
# sweeper: trial.watch(model, optimizer)
for epoch in range(5):
    for batch in torch.randperm(128).split(32):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x[batch]), y[batch])
        loss.backward()
        optimizer.step()
        # sweeper: trial.report({"loss/backward": loss}, step=trial.next_step - 1)
    accuracy = (model(x).argmax(1) == y).float().mean().item()
    wandb.log({"epoch": epoch, "val_acc": accuracy, "image": wandb.Image(torch.zeros(4, 4).numpy())})
print("lr", config.lr)
wandb.finish()
