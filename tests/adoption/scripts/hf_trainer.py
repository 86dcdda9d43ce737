"""transformers' Trainer with an evaluation."""

import sys

import torch
from torch import nn
from transformers import Trainer, TrainingArguments

# sweeper: import sweeper
# sweeper: from sweeper.integrations import HuggingFaceCallback
# sweeper: trial = sweeper.start()


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(*[part for _ in range(5) for part in (nn.Linear(8, 8), nn.Tanh())])
        self.head = nn.Linear(8, 2)

    def forward(self, x, labels=None):
        logits = self.head(self.body(x))
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


torch.manual_seed(0)
x = torch.randn(96, 8)
data = [{"x": row, "labels": int(row[0] > 0)} for row in x]
arguments = TrainingArguments(
    output_dir=sys.argv[1],
    max_steps=int(sys.argv[2]) if len(sys.argv) > 2 else 30,
    per_device_train_batch_size=8,
    learning_rate=1e-2,
    logging_steps=5,
    eval_strategy="steps",
    eval_steps=10,
    save_strategy="no",
    report_to=[],
    disable_tqdm=True,
    use_cpu=True,
    seed=0,
)
trainer = Trainer(model=Model(), args=arguments, train_dataset=data, eval_dataset=data[:32])
# sweeper: trainer.add_callback(HuggingFaceCallback(trial))
trainer.train()
