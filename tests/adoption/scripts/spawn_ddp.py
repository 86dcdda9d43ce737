"""Ranks that the script spawns by itself, without variables in the environment."""

import os, torch, torch.distributed as dist, torch.multiprocessing as mp
from torch import nn
def work(rank, n):
    os.environ["MASTER_ADDR"]="127.0.0.1"; os.environ["MASTER_PORT"]="29511"
    dist.init_process_group("gloo", rank=rank, world_size=n)
    torch.manual_seed(0)
    m=nn.parallel.DistributedDataParallel(nn.Sequential(nn.Linear(8,8),nn.ReLU(),nn.Linear(8,1)))
    o=torch.optim.SGD(m.parameters(), lr=0.01)
    torch.manual_seed(rank)
    for i in range(25):
        x=torch.randn(16,8); l=(m(x)-rank).square().mean(); o.zero_grad(); l.backward(); o.step()
    dist.destroy_process_group()
if __name__=="__main__":
    mp.spawn(work, args=(2,), nprocs=2)
