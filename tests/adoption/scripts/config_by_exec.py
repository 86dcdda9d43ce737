"""Settings are globals of the script, and words of the command line replace them."""

import sys

import torch
from torch import nn

# settings
learning_rate = 0.05
max_iters = 60
batch_size = 32
n_layer = 5
seed = 0
for word in sys.argv[1:]:
    key, _, value = word.removeprefix("--").partition("=")
    exec(f"{key} = {value}")

# sweeper: import sweeper
# sweeper: trial = sweeper.start()
torch.manual_seed(seed)
table = torch.randn(64, 16)
model = nn.Sequential(*[part for _ in range(n_layer) for part in (nn.Linear(16, 16), nn.Tanh())], nn.Linear(16, 4))
optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)
# sweeper: trial.watch(model, optimizer)
for iteration in range(max_iters):
    rows = torch.randint(0, 64, (batch_size,))
    logits = model(table[rows])
    loss = nn.functional.cross_entropy(logits, table[rows, :4].argmax(1))
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    # sweeper: trial.report({"loss/backward": loss}, step=iteration)
    if iteration % 20 == 0:
        print(f"iter {iteration}: loss {loss.item():.4f}", flush=True)
