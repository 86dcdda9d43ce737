"""Sharpness-aware minimisation: an optimizer around another one."""

import torch
from torch import nn
class SAM(torch.optim.Optimizer):
    def __init__(self, params, base, rho=0.05, **kw):
        super().__init__(params, dict(rho=rho, **kw))
        self.base_optimizer = base(self.param_groups, **kw)
        self.param_groups = self.base_optimizer.param_groups
    @torch.no_grad()
    def first_step(self):
        for g in self.param_groups:
            for p in g["params"]:
                e = p.grad * g.get("rho",0.05); p.add_(e); self.state[p]["e"]=e
    @torch.no_grad()
    def second_step(self):
        for g in self.param_groups:
            for p in g["params"]: p.sub_(self.state[p]["e"])
        self.base_optimizer.step()
    def step(self, closure=None): raise RuntimeError
torch.manual_seed(0)
net=nn.Sequential(nn.Linear(8,16),nn.ReLU(),nn.Linear(16,16),nn.ReLU(),nn.Linear(16,16),nn.ReLU(),nn.Linear(16,1))
opt=SAM(net.parameters(), torch.optim.SGD, lr=0.05)
x=torch.randn(64,8); y=x.sum(1,keepdim=True)
for i in range(30):
    l=(net(x)-y).square().mean(); l.backward(); opt.first_step(); net.zero_grad()
    (net(x)-y).square().mean().backward(); opt.second_step(); net.zero_grad()
print("loss",l.item())
