"""The best weights of a trial so far, in `best/`: with the tokenizer, all that is needed to use them."""

from __future__ import annotations

import shutil
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.record.storage.layout import TrialDir

if TYPE_CHECKING:
    import torch

CONFIG = "config.json"
WEIGHTS = "model.safetensors"


def save(model: torch.nn.Module, tokenizer: Path, trial: Path) -> None:
    """Replace the best weights of a trial, atomically: the other files are the same for all its models.

    Raises:
        OSError: the disk is full; the weights from before are untouched.
    """
    final = TrialDir(trial).best
    final.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".best-", dir=trial) as name:
        aside = Path(name)
        model.save_pretrained(aside)  # type: ignore[operator]  # a transformers model
        (aside / WEIGHTS).chmod(stat.S_IMODE((aside / CONFIG).stat().st_mode))  # safetensors lets only the owner read
        shutil.copyfile(tokenizer, aside / "tokenizer.json")
        for path in sorted(aside.iterdir(), key=lambda path: path.name == WEIGHTS):  # the weights last
            path.replace(final / path.name)
