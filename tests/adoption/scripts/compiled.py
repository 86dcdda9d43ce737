"""A compiled model, loss or step."""

import torch, sys, os
from torch import nn
mode=sys.argv[1]
torch.manual_seed(0)
net=nn.Sequential(*[m for _ in range(5) for m in (nn.Linear(16,16),nn.Tanh())], nn.Linear(16,2))
opt=torch.optim.AdamW(net.parameters(), lr=1e-2)
count=0
def backend(gm, ex):
    global count; count+=1
    return gm.forward
model=net
if mode=="model": model=torch.compile(net, backend=backend)
if mode=="inplace": net.compile(backend=backend)
x=torch.randn(64,16); y=(x[:,0]>0).long()
def lossfn(x,y): return nn.functional.cross_entropy(model(x),y)
if mode=="fn": lossfn=torch.compile(lossfn, backend=backend)
if mode=="full": lossfn=torch.compile(lossfn, backend=backend, fullgraph=True)
def step():
    loss=lossfn(x,y); opt.zero_grad(); loss.backward(); opt.step(); return loss
if mode=="step": step=torch.compile(step, backend=backend)
for i in range(45): l=step()
print(mode,"compiles",count,"loss",l.item())
