"""A Hydra application; Hydra changes the directory and catches exceptions."""

import hydra
import torch
from omegaconf import DictConfig
from torch import nn


@hydra.main(version_base=None, config_path="conf", config_name="config")
def main(cfg: DictConfig) -> float:
    # sweeper: import sweeper
    # sweeper: trial = sweeper.start()
    torch.manual_seed(cfg.seed)
    x = torch.randn(128, 8)
    y = x.sum(1, keepdim=True)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=cfg.optimizer.lr)
    # sweeper: trial.watch(model, optimizer)
    for _ in range(cfg.steps):
        loss = (model(x) - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        # sweeper: trial.report({"loss/backward": loss}, step=trial.next_step - 1)
    if cfg.fail:
        raise RuntimeError("as asked")
    return loss.item()


if __name__ == "__main__":
    main()
