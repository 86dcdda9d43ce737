"""What stands between a trial's imports and its first step, each beside the plain way, in one run.

    python -m benchmarks.construction [--repeats 3] [--save NAME]

Weights: random ones by direct construction, as the built-in trainer does it, beside one draw of each (the constructor
under `no_init_weights`, then `init_weights`) and, where there is a GPU, beside drawing them on it; `same` says whether
the weights are those of direct construction, to the last bit. Pretrained ones (of BERT's size, made here) as the
trainer reads them, mapped, beside reading them into memory; `private` is the memory that a process then has for itself.
Encodings: the texts turned into numbers anew, beside the ones of the cache, held against their digests.
The least of some repeats counts, in seconds; the ratio is that to the row above it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from safetensors.torch import load_file
from transformers import BertConfig, BertForSequenceClassification
from transformers.initialization import no_init_weights
from transformers.utils import logging

from benchmarks.machine import description, present
from sweeper.trainers.data import encodings, synthetic, tokenizer
from sweeper.trainers.data.network import TotalTimeout

SIZES: Mapping[str, dict[str, Any]] = {
    "the trainer's default": {
        "vocab_size": 8000,
        "hidden_size": 64,
        "num_hidden_layers": 12,
        "num_attention_heads": 2,
        "intermediate_size": 256,
    },
    "BERT-base": {},
}
LENGTH = 48


def main() -> None:
    """Run all, print the table and keep it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--save", metavar="NAME", help="keep the table as benchmarks/results/NAME.md")
    parser.add_argument("--private", nargs=2, metavar=("HOW", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    logging.disable_progress_bar()
    if options.private:
        print(private(*options.private))
        return
    machine = description()
    table = Table("", "seconds", "ratio", "same", "private", box=None, pad_edge=False)
    for size in SIZES:
        random_weights(table, size, options.repeats)
    with tempfile.TemporaryDirectory() as folder:
        pretrained(table, Path(folder), options.repeats)
        encoded(table, Path(folder), options.repeats)
    command = f"python -m benchmarks.construction --repeats {options.repeats}"
    present("What it takes to build a trial's model and data", command, machine, [table], save=options.save)


def least(action: Callable[[], object], repeats: int) -> float:
    """Seconds of the fastest call."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times)


def add(table: Table, name: str, rows: list[tuple[str, float, str, str]]) -> None:
    """Rows of which the first is what the others are measured by."""
    for how, seconds, same, memory in rows:
        ratio = "" if how == rows[0][0] else f"{rows[0][1] / seconds:.1f} times as fast"
        table.add_row(f"{name}: {how}", f"{seconds:.3f}", ratio, same, memory)
    table.add_row()


def random_weights(table: Table, size: str, repeats: int) -> None:
    """Routes to random weights, and whether they lead to the same."""
    config: Any = BertConfig(**{**SIZES[size], "attn_implementation": "sdpa"})
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def direct() -> torch.nn.Module:
        torch.manual_seed(0)
        model: torch.nn.Module = BertForSequenceClassification(config)
        return model.to(device)

    def once() -> torch.nn.Module:
        with no_init_weights():
            bert = BertForSequenceClassification(config)
        torch.manual_seed(0)
        bert.init_weights()
        model: torch.nn.Module = bert
        return model.to(device)

    def there() -> torch.nn.Module:
        torch.manual_seed(0)
        with device:
            return BertForSequenceClassification(config)

    routes = {"directly (ours)": direct, "each drawn once": once} | (
        {"on the device": there} if device.type == "cuda" else {}
    )
    plain = direct()
    rows = [(how, least(route, repeats), "yes" if alike(plain, route()) else "no", "") for how, route in routes.items()]
    add(table, f"random weights, {size}", rows)


def alike(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    """Whether two models have the same weights."""
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def read_into_memory(folder: str) -> torch.nn.Module:
    """The plain way: a model, then its weights copied into it."""
    model: torch.nn.Module = BertForSequenceClassification(BertConfig.from_pretrained(folder))
    model.load_state_dict(torch.load(Path(folder, "weights.pt"), weights_only=True))
    return model


def read_by_library(folder: str) -> torch.nn.Module:
    """As `sweeper.trainers.model` does."""
    model: torch.nn.Module = BertForSequenceClassification.from_pretrained(folder, local_files_only=True)
    return model


def read_bare(folder: str) -> torch.nn.Module:
    """A model without memory that is given the mapped weights: the least there is to do."""
    with no_init_weights(), torch.device("meta"):
        model: torch.nn.Module = BertForSequenceClassification(BertConfig.from_pretrained(folder))
    model.load_state_dict(load_file(Path(folder, "model.safetensors")), assign=True, strict=False)
    return model


READERS = {"copied": read_into_memory, "mapped (ours)": read_by_library, "mapped, by hand": read_bare}


def pretrained(table: Table, folder: Path, repeats: int) -> None:
    """Routes to pretrained weights, and the memory that they take beside the page cache."""
    model = BertForSequenceClassification(BertConfig())
    model.save_pretrained(folder)
    torch.save(model.state_dict(), folder / "weights.pt")
    del model
    rows = []
    for how, read in READERS.items():
        command = [sys.executable, "-m", "benchmarks.construction", "--private", how, str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
        rows.append((how, least(partial(read, str(folder)), repeats), "", f"{done.stdout.strip()} MB"))
    add(table, "pretrained weights, BERT-base", rows)


def private(how: str, folder: str) -> int:
    """MB that building the model adds to what belongs to this process alone."""
    before = _private()
    built = [READERS[how](folder)]
    after = _private()
    del built
    return (after - before) // 1024


def _private() -> int:
    fields = (line.split() for line in Path("/proc/self/smaps_rollup").read_text().splitlines())
    return sum(int(field[1]) for field in fields if field[0] == "Private_Dirty:")


def encoded(table: Table, folder: Path, repeats: int) -> None:
    """The synthetic corpus as numbers: made, and mapped."""
    corpus = synthetic.locate(TotalTimeout()).load()
    source = tokenizer.locate("wordpiece", cache=folder, timeout=TotalTimeout())

    def make() -> str:
        with tempfile.TemporaryDirectory(dir=folder) as cache:
            return encodings.build(corpus, source.load(corpus.train.texts), LENGTH, name=source.name, cache=Path(cache))

    key = encodings.build(corpus, source.load(corpus.train.texts), LENGTH, name=source.name, cache=folder)
    size = sum(path.stat().st_size for path in (folder / key).glob("*.npy"))
    rows = [
        ("made anew", least(make, repeats), "", ""),
        ("mapped (ours)", least(lambda: encodings.load(folder / key), repeats), "", ""),
    ]
    add(table, f"encodings, {len(corpus.train.texts) + len(corpus.test.texts):,} texts, {size / 1e6:.1f} MB", rows)


if __name__ == "__main__":
    main()
