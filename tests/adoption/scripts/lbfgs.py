"""An optimizer that calls a closure several times a step."""

import torch
from torch import nn
torch.manual_seed(0)
net=nn.Sequential(nn.Linear(8,16),nn.Tanh(),nn.Linear(16,1))
opt=torch.optim.LBFGS(net.parameters(), lr=0.5)
x=torch.randn(64,8); y=x.sum(1,keepdim=True)
def closure():
    opt.zero_grad(); l=(net(x)-y).square().mean(); l.backward(); return l
for i in range(15): l=opt.step(closure)
print("loss",l.item())
