"""What watching costs: this, the naive way, the bare training step, and the memory floor, side by side in one run.

    python benchmarks/watch.py [--save NAME] [--only bert-base | --by-default | --unmodified]

First it prints what a user pays by default, activations included: one loop on one core, watched at every third step.
An observed step costs what it and the step before it, which registers the hooks, take more than two steps that have
nothing to do with the watch, all as medians of CPU time. The share of training is that cost over ten unobserved steps.

Then, for each of three models, it prints the parts that do not depend on activations:

- the *observation*: one step of an optimizer that does nothing, watched at every step, the record's writing included;
- the *floor*: the time that copying as many bytes takes as the observation has to move. On a CPU these are the
  gradient, the weights twice and the snapshot twice; on CUDA the foreach kernels move fifteen times the weights' size;
- the *naive* ways: a deep copy of the weights, then statistics a scalar at a time, by NumPy or by torch;
- the *step*: forward, backward and AdamW, unwatched;
- from these, the share of training time that watching takes at every tenth step, the default, and at every step.
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import gc
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table
from torch.nn.functional import cross_entropy
from transformers import BertConfig, BertForSequenceClassification

import sweeper
from benchmarks.machine import alone, description, present
from benchmarks.unmodified import unmodified

CPU_PASSES, CUDA_PASSES = 5, 15
"""How often an observation reads or writes as many bytes as the watched weights have."""
ROUNDS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A model to watch, and the batch of its training step: (examples, tokens)."""

    name: str
    config: dict[str, Any]
    batch: tuple[int, int]


CASES = (
    Case(name="bert-base", config={}, batch=(16, 256)),
    Case(
        name="make-run",
        config={"hidden_size": 64, "num_attention_heads": 2, "intermediate_size": 256, "vocab_size": 8192},
        batch=(16, 80),
    ),
    Case(
        name="1000-layers",
        config={
            "hidden_size": 32,
            "num_attention_heads": 2,
            "intermediate_size": 64,
            "num_hidden_layers": 166,
            "vocab_size": 1000,
        },
        batch=(16, 32),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Paid:
    """A training on which the default cost is measured; `model` makes it, and a batch for its forward pass."""

    name: str
    model: Callable[[], tuple[torch.nn.Module, torch.Tensor]]


def _bert(width: int, layers: int) -> tuple[torch.nn.Module, torch.Tensor]:
    settings: Any = {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_attention_heads": width // 32,
        "num_hidden_layers": layers,
        "vocab_size": 8192,
        "num_labels": 4,
        "attn_implementation": "sdpa",
    }
    model: Any = BertForSequenceClassification(BertConfig(**settings))
    return model, torch.randint(0, 8192, (16, 80))


def _cnn() -> tuple[torch.nn.Module, torch.Tensor]:
    widths = (3, 16, 32, 64)
    layers: list[torch.nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [torch.nn.Conv2d(inputs, outputs, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2)]
    return torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(1024, 4)), torch.randn(64, 3, 32, 32)


def _mlp() -> tuple[torch.nn.Module, torch.Tensor]:
    hidden = [one for _ in range(2) for one in (torch.nn.Linear(64, 64), torch.nn.ReLU())]
    model = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.ReLU(), *hidden, torch.nn.Linear(64, 4))
    return model, torch.randn(32, 32)


PAID = (
    Paid(name="BERT, 12 layers of 64", model=lambda: _bert(64, 12)),
    Paid(name="BERT, 4 layers of 256", model=lambda: _bert(256, 4)),
    Paid(name="CNN, 3 convolutions", model=_cnn),
    Paid(name="MLP, 4 layers of 64", model=_mlp),
)
CYCLE = 3
"""Steps from one observation to the next: the observed one, one that is not, and one that registers hooks."""
PAID_CYCLES, PAID_SECONDS = 15, 3.0
"""Fewest cycles, and the least time that is measured."""


class Still(torch.optim.Optimizer):
    """An optimizer with a step that does nothing, so that all its time is the hooks'."""

    def step(self, closure: object = None) -> None:  # type: ignore[override]
        """Do nothing."""


class Subject:
    """A model on its device, with gradients."""

    def __init__(self, case: Case, device: torch.device) -> None:
        torch.manual_seed(0)
        settings: Any = {"attn_implementation": "sdpa", **case.config}
        config = BertConfig(**settings)
        self.device = device
        model: Any = BertForSequenceClassification(config)
        self.model = model.to(device).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-5)
        self._tokens = torch.randint(0, config.vocab_size, case.batch, device=device)
        self._labels = torch.zeros(case.batch[0], dtype=torch.long, device=device)
        self.step()
        self.backward()

    @property
    def watched(self) -> list[torch.Tensor]:
        """What a watch watches by default."""
        return [tensor for name, tensor in self.model.named_parameters() if not name.endswith("bias")]

    def backward(self) -> None:
        """Make gradients."""
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.device.type == "cuda"):
            logits = self.model(self._tokens).logits
        cross_entropy(logits.float(), self._labels).backward()

    def step(self) -> None:
        """One training step."""
        self.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def wait(self) -> None:
        """Until the device has done all it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=[case.name for case in CASES])
    parser.add_argument("--by-default", action="store_true", help="only what a user pays by default")
    parser.add_argument("--unmodified", action="store_true", help="only what watch: auto costs an unmodified script")
    parser.add_argument("--save", metavar="NAME", help="keep the table as benchmarks/results/NAME.md")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    machine = description()
    costs = {} if options.only else {one.name: _paid(one) for one in PAID}
    tables = [] if options.only else [paid(costs)]
    if options.unmodified:
        tables = unmodified({name: (step, observation) for name, (step, observation, _) in costs.items()})
    elif not options.by_default:
        tables.append(parts([case for case in CASES if options.only in (None, case.name)], device))
    present("What watching costs", " ".join(["python", *sys.argv]), machine, tables, save=options.save)


def parts(cases: Sequence[Case], device: torch.device) -> Table:
    """The table of what gradients and updates cost."""
    table = Table(title=f"Gradients and updates, on {device.type}; milliseconds, median of {ROUNDS}")
    table.add_column("")
    for case in cases:
        table.add_column(case.name, justify="right")
    columns = [measure(case, device) for case in cases]
    for name in columns[0]:
        table.add_row(name, *(column[name] for column in columns))
    return table


def paid(costs: Mapping[str, tuple[float, float, int]]) -> Table:
    """The table of what a user pays by default, on one core."""
    table = Table(title="What a user pays by default, on one core; milliseconds of CPU time, medians")
    for name in ("", "unobserved step", "an observation", "share at every 10th step", "cycles"):
        table.add_column(name, justify="right" if name else "left")
    for name, (unobserved, cost, cycles) in costs.items():
        share = f"{100 * cost / (10 * unobserved):.2f} %"
        table.add_row(name, f"{unobserved * 1e3:.3f}", f"{cost * 1e3:.3f}", share, str(cycles))
    return table


def _paid(one: Paid) -> tuple[float, float, int]:
    """CPU seconds of an unobserved step and of an observation, and over how many cycles.

    With one thread and nothing to wait for, this is the time that a machine without other work takes.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, batch = one.model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    labels = torch.arange(len(batch)) % 4

    def step() -> float:
        begin = time.process_time()
        out: Any = model(batch)
        cross_entropy(getattr(out, "logits", out), labels).backward()
        optimizer.step()
        optimizer.zero_grad()
        return time.process_time() - begin

    with alone(), sweeper.trial() as trial:
        trial.watch(model, optimizer, every=CYCLE)
        for _ in range(6 * CYCLE):  # in the first five observations loss functions are looked at too
            step()
        cycles: list[list[float]] = []
        while len(cycles) < PAID_CYCLES or sum(map(sum, cycles)) < PAID_SECONDS:
            cycles.append([step() for _ in range(CYCLE)])
    observed, unobserved, before = (statistics.median(column) for column in zip(*cycles, strict=True))
    torch.set_num_threads(threads)
    return unobserved, observed + before - 2 * unobserved, len(cycles)


def measure(case: Case, device: torch.device) -> dict[str, str]:
    """One column of the table."""
    subject = Subject(case, device)
    size = sum(tensor.numel() * tensor.element_size() for tensor in subject.watched)
    passes = CPU_PASSES if device.type == "cpu" else CUDA_PASSES
    floor = timed(copying(subject), subject) * passes / 2
    full, reach = observation(subject, "full"), observation(subject, "reach")
    by_numpy = timed(lambda: naively(subject.model), subject, rounds=3)
    by_torch = timed(lambda: naively_by_torch(subject.model), subject, rounds=3)
    rounds = 2 if device.type == "cpu" and case.name == "bert-base" else ROUNDS
    step = timed(subject.step, subject, rounds=rounds)
    memory = {kind: extra_memory(case, device, kind) / size for kind in ("full", "reach")}
    column = {
        "watched tensors": str(len(subject.watched)),
        "their size, MB": f"{size / 1e6:.1f}",
        "observation, full": f"{full * 1e3:.2f}",
        "observation, reach": f"{reach * 1e3:.2f}",
        "floor: copying the bytes of full": f"{floor * 1e3:.2f}",
        "naive, by NumPy": f"{by_numpy * 1e3:.1f}",
        "naive, by torch": f"{by_torch * 1e3:.1f}",
        "bare training step": f"{step * 1e3:.1f}",
        "full / floor": f"{full / floor:.2f}",
        "naive by NumPy / full": f"{by_numpy / full:.1f}",
        "naive by torch / full": f"{by_torch / full:.1f}",
        "share of training, every 10th step": f"{100 * full / (10 * step):.2f} %",
        "share of training, every step": f"{100 * full / step:.2f} %",
        "extra memory at its peak, full": f"{memory['full']:.2f} of the size",
        "extra memory at its peak, reach": f"{memory['reach']:.2f} of the size",
    }
    if device.type == "cuda":
        column |= in_a_loop(subject)
    return column


def observation(subject: Subject, kind: Any) -> float:  # noqa: ANN401 - a literal
    """Seconds of an observation, from the gradients to the record."""
    with alone(), sweeper.trial() as trial:
        still = Still(subject.model.parameters(), {})
        trial.watch(subject.model, still, every=1, statistics=kind)
        return timed(lambda: still.step(), subject)  # noqa: PLW0108 - the hooks hang on the bound method


def copying(subject: Subject) -> Callable[[], object]:
    """Copies the watched weights: as many bytes read as written."""
    tensors = [tensor.detach() for tensor in subject.watched]
    copies = [torch.empty_like(tensor) for tensor in tensors]
    return lambda: torch._foreach_copy_(copies, tensors)


def naively(model: torch.nn.Module) -> list[dict[str, float]]:
    """What is often written for this: deep copies, and NumPy, tensor by tensor."""
    before = copy.deepcopy(dict(model.named_parameters()))
    rows = []
    for name, tensor in model.named_parameters():
        if tensor.grad is None or name.endswith("bias"):
            continue
        gradient = np.abs(tensor.grad.detach().float().cpu().numpy())
        old, new = before[name].detach().cpu().numpy(), tensor.detach().cpu().numpy()
        row = {"mean": gradient.mean(), "max": gradient.max(), "std": gradient.std(), "zero": (gradient == 0).mean()}
        row |= {"norm": np.linalg.norm(gradient), "old": np.linalg.norm(old), "update": np.linalg.norm(new - old)}
        rows.append({key: float(value) for key, value in row.items()})
    return rows


def naively_by_torch(model: torch.nn.Module) -> list[dict[str, float]]:
    """The same with torch's functions and `.item()`."""
    before = copy.deepcopy(dict(model.named_parameters()))
    rows = []
    for name, tensor in model.named_parameters():
        if tensor.grad is None or name.endswith("bias"):
            continue
        gradient, old, new = tensor.grad.abs(), before[name].detach(), tensor.detach()
        row = {"mean": gradient.mean(), "max": gradient.max(), "std": gradient.std()}
        row |= {"zero": (gradient == 0).float().mean(), "norm": gradient.norm()}
        row |= {"old": old.norm(), "update": (new - old).norm()}
        rows.append({key: value.item() for key, value in row.items()})
    return rows


def in_a_loop(subject: Subject) -> dict[str, str]:
    """The same in a real loop on CUDA, watched and not in turns; and whether anything waits for the device."""
    shares: dict[int, list[float]] = {1: [], 10: []}
    for _ in range(3):
        bare = loop(subject, every=None)
        for every, ratios in shares.items():
            ratios.append(loop(subject, every=every) / bare - 1)
    torch.cuda.set_sync_debug_mode("error")
    try:
        loop(subject, every=1, steps=100)
        waits = "none in 100 steps"
    except RuntimeError as error:
        waits = str(error)[:40]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return {
        "loop, every 10th step": f"{100 * statistics.median(shares[10]):+.2f} %",
        "loop, every step": f"{100 * statistics.median(shares[1]):+.2f} %",
        "waits for the device": waits,
    }


def loop(subject: Subject, *, every: int | None, steps: int = 60) -> float:
    """Seconds of a number of training steps, reports included where it is watched."""
    with alone(), sweeper.trial() as trial:
        if every is not None:
            trial.watch(subject.model, subject.optimizer, every=every)
        for _ in range(3):
            subject.step()
        subject.wait()
        begin = time.perf_counter()
        for _ in range(steps):
            subject.step()
        subject.wait()
        return time.perf_counter() - begin


def extra_memory(case: Case, device: torch.device, kind: Any) -> float:  # noqa: ANN401 - a literal
    """Bytes that watching adds to the peak of a process that has watched another model before."""
    subject = Subject(case, device)
    _watch_still(_small(device), kind, device)
    gc.collect()
    return _watch_still(subject.model, kind, device)


def _watch_still(model: torch.nn.Module, kind: Any, device: torch.device) -> float:  # noqa: ANN401 - a literal
    with alone(), sweeper.trial() as trial:
        still = Still(model.parameters(), {})
        trial.watch(model, still, every=1, statistics=kind)
        before = reset_peak(device)
        for _ in range(3):
            still.step()
        return max(0.0, peak(device) - before)


def _small(device: torch.device) -> torch.nn.Module:
    """Layers with gradients, as large as what the statistics are computed in."""
    model = torch.nn.Sequential(*(torch.nn.Linear(600, 600) for _ in range(4))).to(device)
    model(torch.ones(1, 600, device=device)).sum().backward()
    return model


def reset_peak(device: torch.device) -> float:
    """Forget the highest memory so far; returns what is in use, bytes."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    ctypes.CDLL(None).malloc_trim(0)  # what was freed and kept would be taken again unseen
    Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets the peak resident set size
    return _status("VmRSS")


def peak(device: torch.device) -> float:
    """The highest memory since then, bytes."""
    return torch.cuda.max_memory_allocated() if device.type == "cuda" else _status("VmHWM")


def _status(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * float(next(line for line in lines if line.startswith(field)).split()[1])


def timed(action: Callable[[], object], subject: Subject, *, rounds: int = ROUNDS) -> float:
    """The median of the seconds that an action takes, after one that does not count."""
    seconds = []
    for _ in range(rounds + 1):
        begin = time.perf_counter()
        action()
        subject.wait()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds[1:])


if __name__ == "__main__":
    main()
