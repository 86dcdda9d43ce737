"""A loop with a gradient scaler, a warmup and a summary in a CSV file, as in image classification scripts."""

import argparse
import csv
import os

import torch
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.05)
parser.add_argument("--epochs", type=int, default=2)
parser.add_argument("--output", default=".")
args = parser.parse_args()

# sweeper: import sweeper
# sweeper: trial = sweeper.start()
torch.manual_seed(0)
images = torch.randn(128, 1, 8, 8)
labels = (images.mean((1, 2, 3)) > 0).long()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.conv3 = nn.Conv2d(8, 8, 3, padding=1)
        self.fc = nn.Linear(8, 2)

    def forward(self, x):
        for conv in (self.conv1, self.conv2, self.conv3):
            x = torch.relu(conv(x))
        return self.fc(x.mean((2, 3)))


model = Net()
ema = torch.optim.swa_utils.AveragedModel(model)
optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9, nesterov=True)
scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, total_iters=8)
scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
# sweeper: trial.watch(model, optimizer)
with open(os.path.join(args.output, "summary.csv"), "w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["epoch", "train_loss", "eval_top1"])
    for epoch in range(args.epochs):
        model.train()
        for batch in torch.randperm(128).split(16):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            scheduler.step()
            ema.update_parameters(model)
            # sweeper: trial.report({"loss/backward": loss}, step=trial.next_step - 1)
        model.eval()
        with torch.no_grad():
            top1 = (model(images).argmax(1) == labels).float().mean().item()
        table.writerow([epoch, loss.item(), top1])
        file.flush()
