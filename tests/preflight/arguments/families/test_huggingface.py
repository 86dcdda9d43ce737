"""HfArgumentParser: dataclasses of the script, and what a sweep varies of TrainingArguments."""

from __future__ import annotations

from tests.preflight.arguments.families.conftest import Init

SCRIPT = """
import json
from dataclasses import dataclass, field
from typing import Optional

from transformers import HfArgumentParser, Trainer, TrainingArguments


@dataclass
class ModelArguments:
    model_name_or_path: str = field(metadata={"help": "model to start from"})
    dropout: float = field(default=0.1, metadata={"help": "dropout"})
    freeze: bool = False
    use_fast: bool = field(default=True)
    tokenizer: Optional[str] = None


def compute_metrics(prediction):
    return {"accuracy": 0.5, "f1": 0.5}


def main():
    parser = HfArgumentParser((ModelArguments, TrainingArguments))
    model, training = parser.parse_args_into_dataclasses()
    print(json.dumps([model.__dict__, training.learning_rate, training.num_train_epochs, training.seed]))
    if False:
        Trainer(args=training, eval_dataset=[1], compute_metrics=compute_metrics)


if __name__ == "__main__":
    main()
"""

DERIVED = """
from dataclasses import dataclass
import transformers
@dataclass
class Mine(transformers.TrainingArguments):
    margin: float = 0.5
    learning_rate: float = 1e-4
parser = transformers.HfArgumentParser(Mine)
print(parser.parse_args_into_dataclasses()[0].margin)
"""


def test_training_arguments_and_a_dataclass(init: Init) -> None:
    written = init(SCRIPT, "model_name_or_path=m")
    assert written.command == ["${args}", "--output_dir=${trial:dir}/out", "--seed=${trial:seed}"]
    expected = """\
  # model to start from
  model_name_or_path: {value: m}
  # dropout
  dropout: {value: 0.1}  # to vary it: {values: [0.03, 0.1, 0.3]}
  freeze: {value: false}  # to vary it: {values: [false, true]}
  use_fast: {value: true}  # to vary it: {values: [false, true]}
  # initial learning rate
  learning_rate: {value: 5e-5}  # to vary it: {values: [2e-5, 5e-5, 2e-4]}
  # shape of the learning rate over time
  lr_scheduler_type: {value: linear}  # to vary it: {values: [linear, cosine, constant, constant_with_warmup]}
  # steps of warm-up
  warmup_steps: {value: 0}
  # weight decay
  weight_decay: {value: 0.0}
  # batch size of one device
  per_device_train_batch_size: {value: 8}
  # micro-batches of one optimizer step
  gradient_accumulation_steps: {value: 1}
  # epochs
  num_train_epochs: {value: 3.0}  # to vary it: {values: [1.0, 3.0, 9.0]}
  # gradients are clipped to this norm
  max_grad_norm: {value: 1.0}  # to vary it: {values: [0.3, 1.0, 3.0]}
  # beta1 of AdamW
  adam_beta1: {value: 0.9}  # to vary it: {values: [0.7, 0.9, 0.9667]}
  # beta2 of AdamW
  adam_beta2: {value: 0.999}  # to vary it: {values: [0.997, 0.999, 0.9997]}
  # label smoothing
  label_smoothing_factor: {value: 0.0}
  # Not in this file, so the script uses its own value:
  #   tokenizer has no default"""
    assert written.parameters == expected
    assert (written.spec.metric.name, written.spec.metric.goal.value) == ("eval_accuracy", "maximize")
    assert written.spec.seeds == (42,)
    assert written.run("accelerate") == written.run_by_hand("--model_name_or_path=m", "--output_dir=out")


def test_a_class_that_is_derived_from_training_arguments(init: Init) -> None:
    written = init(DERIVED)
    assert written.command == ["${args}", "--output_dir=${trial:dir}/out", "--seed=${trial:seed}"]
    expected = """\
  # shape of the learning rate over time
  lr_scheduler_type: {value: linear}  # to vary it: {values: [linear, cosine, constant, constant_with_warmup]}
  # steps of warm-up
  warmup_steps: {value: 0}
  # weight decay
  weight_decay: {value: 0.0}
  # batch size of one device
  per_device_train_batch_size: {value: 8}
  # micro-batches of one optimizer step
  gradient_accumulation_steps: {value: 1}
  # epochs
  num_train_epochs: {value: 3.0}  # to vary it: {values: [1.0, 3.0, 9.0]}
  # gradients are clipped to this norm
  max_grad_norm: {value: 1.0}  # to vary it: {values: [0.3, 1.0, 3.0]}
  # beta1 of AdamW
  adam_beta1: {value: 0.9}  # to vary it: {values: [0.7, 0.9, 0.9667]}
  # beta2 of AdamW
  adam_beta2: {value: 0.999}  # to vary it: {values: [0.997, 0.999, 0.9997]}
  # label smoothing
  label_smoothing_factor: {value: 0.0}
  margin: {value: 0.5}  # to vary it: {values: [0.2, 0.5, 0.75]}
  learning_rate: {value: 1e-4}  # to vary it: {values: [3e-5, 1e-4, 3e-4]}"""
    assert written.parameters == expected
    assert written.run("accelerate") == written.run_by_hand("--output_dir=out")


def test_a_script_that_asks_whether_to_train_is_told_to(init: Init) -> None:
    written = init("""
from transformers import HfArgumentParser, TrainingArguments
training_args, = HfArgumentParser(TrainingArguments).parse_args_into_dataclasses()
if training_args.do_train:
    print("trains")
""")
    assert written.command == ["--do_train=True", "${args}", "--output_dir=${trial:dir}/out", "--seed=${trial:seed}"]
    assert written.run("accelerate") == "trains"
