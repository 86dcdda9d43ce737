"""Train a BERT to classify texts: one trial.

Run by `python -m sweeper.trainers.text_classification`, with or without a sweep. The hyperparameters and their defaults
are in `settings`. A training that resumes from a checkpoint gives the same results as an uninterrupted one; on a CPU,
they are identical to the last bit.
"""

from __future__ import annotations

import gc
import math
import sys
from contextlib import AbstractContextManager

import torch
from torch.nn.functional import cross_entropy

import sweeper
from sweeper.errors import SweeperError
from sweeper.trainers import best
from sweeper.trainers.data import inputs
from sweeper.trainers.data.batches import Batches
from sweeper.trainers.data.encodings import TOKENIZER, Encodings
from sweeper.trainers.model import build
from sweeper.trainers.optimizer import adamw, learning_rate, uncorrected
from sweeper.trainers.progress import restore, state_of
from sweeper.trainers.settings import DEFAULTS, Settings, parse

EVALUATION_BATCH = 16


def main() -> int:
    """Run the trial of this process, and return the exit code."""
    try:
        with sweeper.trial(defaults=DEFAULTS) as trial:
            train(trial)
    except SweeperError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def train(trial: sweeper.Trial) -> None:
    """Train until the end, or until the trial should stop. It is long, so that the training loop is in one place.

    Raises:
        UsageError: a hyperparameter is invalid.
        DataUnavailable: the data or the pretrained weights are not available.
    """
    settings = parse(trial.params)
    encodings = _encodings(settings)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    train_set, test_set = Batches.of(encodings.train, device), Batches.of(encodings.test, device)
    epoch_steps = math.ceil(len(train_set) / settings.batch_size)
    total_steps = settings.epochs * epoch_steps

    torch.manual_seed(trial.seed)
    model = build(settings, encodings, device=device)
    optimizer = adamw(model, settings)
    trial.plan(total_steps=total_steps, peak_lr=settings.lr, uncorrected=uncorrected(settings))
    watch = trial.watch(model, optimizer, every=settings.log_every)
    progress = restore(trial.restore(), model, optimizer)
    surprise = -train_set.shares().log()
    precision = _autocast(settings, device)
    if settings.compile:
        _compile(model, test_set)
    model.train()
    gc.freeze()  # objects of the libraries live as long as the process: the collector need not visit them again

    batches = train_set.shuffled(
        settings.batch_size, epochs=settings.epochs, seed=trial.seed, first_step=progress.next_step
    )
    for step, (batch, labels) in enumerate(batches, start=progress.next_step):
        rate = learning_rate(step, total_steps=total_steps, warmup_fraction=settings.warmup_fraction, peak=settings.lr)
        for group in optimizer.param_groups:
            group["lr"] = rate

        with precision:
            logits = model(**batch).logits
        loss = cross_entropy(logits.float(), labels)
        loss.backward()
        watch.look()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        optimizer.step()
        optimizer.zero_grad()
        progress.add(loss, logits, labels, surprise)

        values: dict[str, float | torch.Tensor] = {}
        if step % settings.log_every == 0 or step + 1 == total_steps:
            train_loss, prior_loss = progress.take_loss()
            values |= {"loss/train": train_loss, "loss/prior": prior_loss, "gradient/norm": norm, "learning_rate": rate}
        if _is_evaluated(step + 1, epoch_steps, settings.eval_every):
            with precision:
                test_loss, accuracy = evaluate(model, test_set)
            values |= {"accuracy/train": progress.take_accuracy(), "loss/test": test_loss, "accuracy/test": accuracy}
            if accuracy > progress.best_accuracy:
                progress.best_accuracy = accuracy
                best.save(model, encodings.path / TOKENIZER, trial.dir)
            _say(f"step {step}: loss/test {test_loss:.4f}, accuracy/test {accuracy:.4f}")
        if values:
            trial.report(values, step=step)
        if trial.should_save or trial.should_stop:
            trial.save(state_of(progress, model, optimizer), step=step)
        if trial.should_stop:
            break


@torch.inference_mode()
def evaluate(model: torch.nn.Module, examples: Batches) -> tuple[float, float]:
    """Return the mean loss over all examples, and the accuracy in 0..1."""
    model.eval()
    logits = torch.cat([model(**batch).logits for batch, _ in examples.in_order(EVALUATION_BATCH)]).float()
    model.train()
    loss = cross_entropy(logits, examples.labels)
    accuracy = (logits.argmax(dim=-1) == examples.labels).double().mean()
    return loss.item(), accuracy.item()


def _is_evaluated(steps_done: int, epoch_steps: int, every: int) -> bool:
    return steps_done % epoch_steps == 0 or (every > 0 and steps_done % every == 0)


def _encodings(settings: Settings) -> Encodings:
    cache = inputs.cache_dir()
    data = inputs.choose(settings.dataset, settings.tokenizer, cache=cache, say=_say)
    return inputs.encode(data, [settings.max_length], cache=cache)[settings.max_length]


def _autocast(settings: Settings, device: torch.device) -> AbstractContextManager[object]:
    """Return the autocast context: bfloat16 if requested, or if `precision` is auto and the device supports it."""
    automatic = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    wanted = settings.precision == "bf16" or (settings.precision == "auto" and automatic)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=wanted)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


@torch.no_grad()
def _compile(model: torch.nn.Module, examples: Batches) -> None:
    """Compile the model in place, after one uncompiled call, in which the watch's hooks see the order of the layers."""
    model.eval()
    model(**next(examples.in_order(1))[0])
    model.compile()


if __name__ == "__main__":
    sys.exit(main())
