"""A policy and a value function as separate networks with one loss and one optimizer; rollouts without gradients."""

import torch
from torch import nn

# sweeper: import sweeper
# sweeper: trial = sweeper.start()
torch.manual_seed(0)


class Agent(nn.Module):
    def __init__(self):
        super().__init__()
        self.actor = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 2))
        self.critic = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))


agent = Agent()
optimizer = torch.optim.Adam(agent.parameters(), lr=1e-3)
# sweeper: trial.watch(agent, optimizer)
for update in range(20):
    with torch.no_grad():
        states = torch.randn(128, 4)
        actions = torch.distributions.Categorical(logits=agent.actor(states)).sample()
        rewards = (actions == (states[:, 0] > 0).long()).float()
        advantages = rewards - agent.critic(states).squeeze(1)
    for _ in range(2):
        policy = torch.distributions.Categorical(logits=agent.actor(states))
        policy_loss = -(policy.log_prob(actions) * advantages).mean()
        value_loss = (agent.critic(states).squeeze(1) - rewards).square().mean()
        loss = policy_loss + 0.5 * value_loss - 0.01 * policy.entropy().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
        optimizer.step()
        # sweeper: trial.report({"loss/backward": loss}, step=trial.next_step - 1)
