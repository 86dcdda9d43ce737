"""Workers of a data loader, and a forked child that goes on training for itself."""

import os, torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
torch.manual_seed(0)
net=nn.Sequential(nn.Linear(8,8),nn.ReLU(),nn.Linear(8,1)); o=torch.optim.SGD(net.parameters(), lr=0.01)
x=torch.randn(64,8)
dl=DataLoader(TensorDataset(x,x.sum(1,keepdim=True)), batch_size=16, num_workers=2)
for epoch in range(3):
    for a,b in dl:
        l=(net(a)-b).square().mean(); o.zero_grad(); l.backward(); o.step()
pid=os.fork()
if pid==0:
    for i in range(30):
        l=net(x).square().mean(); o.zero_grad(); l.backward(); o.step()
    os._exit(0)   # child
os.waitpid(pid,0)
pid=os.fork()
if pid==0:
    raise SystemExit(0)
os.waitpid(pid,0)
for a,b in dl:
    l=(net(a)-b).square().mean(); o.zero_grad(); l.backward(); o.step()
