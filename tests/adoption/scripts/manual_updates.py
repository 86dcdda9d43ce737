"""Parameters without modules, updated by hand, without an optimizer."""

import torch

# sweeper: import sweeper
# sweeper: trial = sweeper.start()
torch.manual_seed(0)
x = torch.randn(128, 6)
y = x @ torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0, 1.0])
w = torch.zeros(6, requires_grad=True)
for step in range(50):
    loss = (x @ w - y).square().mean()
    loss.backward()
    with torch.no_grad():
        w -= 0.05 * w.grad
        w.grad = None
    # sweeper: trial.report({"loss/backward": loss}, step=step)
