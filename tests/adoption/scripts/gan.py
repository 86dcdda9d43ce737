"""Two networks that take turns, each with an optimizer."""

import torch
from torch import nn

# sweeper: import sweeper
# sweeper: trial = sweeper.start()
torch.manual_seed(0)
real_data = torch.randn(512, 8) * 0.5 + 2
netG = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 8))
netD = nn.Sequential(nn.Linear(8, 32), nn.LeakyReLU(0.2), nn.Linear(32, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
optD = torch.optim.Adam(netD.parameters(), lr=1e-3, betas=(0.5, 0.999))
optG = torch.optim.Adam(netG.parameters(), lr=1e-3, betas=(0.5, 0.999))
criterion = nn.BCEWithLogitsLoss()
ones, zeros = torch.ones(64, 1), torch.zeros(64, 1)
# sweeper: trial.watch(nn.ModuleDict({"netD": netD, "netG": netG}), [optD, optG])
for step in range(60):
    real = real_data[torch.randint(0, 512, (64,))]
    fake = netG(torch.randn(64, 4))
    optD.zero_grad()
    loss_real = criterion(netD(real), ones)
    loss_real.backward()
    loss_fake = criterion(netD(fake.detach()), zeros)
    loss_fake.backward()
    optD.step()
    optG.zero_grad()
    loss_g = criterion(netD(fake), ones)
    loss_g.backward()
    optG.step()
    # sweeper: trial.report({"loss/backward/optD": loss_real + loss_fake, "loss/backward/optG": loss_g}, step=step)
