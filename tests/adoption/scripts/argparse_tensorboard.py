"""Arguments by argparse, accumulated gradients, metrics by a SummaryWriter."""

import argparse
import os

import torch
from torch import nn
from torch.utils.tensorboard import SummaryWriter

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--accumulate", type=int, default=2)
parser.add_argument("--logdir", default="logs")
args = parser.parse_args()

# sweeper: import sweeper
# sweeper: trial = sweeper.start()
torch.manual_seed(0)
x = torch.randn(256, 20)
y = (x[:, :3].sum(1) > 0).long()
net = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
optimizer = torch.optim.SGD(net.parameters(), lr=args.lr, momentum=0.9)
writer = SummaryWriter(os.path.join(args.logdir, "run"))
# sweeper: trial.watch(net, optimizer)
for epoch in range(args.epochs):
    total = 0.0
    for number, batch in enumerate(torch.randperm(256).split(16)):
        loss = nn.functional.cross_entropy(net(x[batch]), y[batch]) / args.accumulate
        loss.backward()
        total += loss.item()
        if (number + 1) % args.accumulate == 0:
            # sweeper: trial.report({"loss/backward": total}, step=trial.next_step)
            optimizer.step()
            optimizer.zero_grad()
            total = 0.0
    with torch.no_grad():
        accuracy = (net(x).argmax(1) == y).float().mean()
    writer.add_scalar("val/accuracy", accuracy, epoch)
writer.close()
