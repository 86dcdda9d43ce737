"""Two phases of training, each with an optimizer."""

import torch
from torch import nn
torch.manual_seed(0)
x=torch.randn(64,8); y=x.sum(1,keepdim=True)
enc=nn.Sequential(nn.Linear(8,8),nn.ReLU(),nn.Linear(8,8)); head=nn.Linear(8,1)
a=torch.optim.Adam(head.parameters(), lr=1e-2)
for i in range(20):
    l=(head(enc(x))-y).square().mean(); a.zero_grad(); l.backward(); a.step()
b=torch.optim.Adam(list(enc.parameters())+list(head.parameters()), lr=1e-3)
for i in range(100):
    l=(head(enc(x))-y).square().mean(); b.zero_grad(); l.backward(); b.step()
