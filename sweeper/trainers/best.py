"""Keep the best weights of a trial in `best/`, together with the configuration and the tokenizer."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.record.storage import confined
from sweeper.record.storage.layout import TrialDir

if TYPE_CHECKING:
    import torch

CONFIG = "config.json"
WEIGHTS = "model.safetensors"


def save(model: torch.nn.Module, tokenizer: Path, trial: Path) -> None:
    """Replace the best weights of a trial atomically. The other files are the same for all models of the trial.

    Raises:
        OSError: the disk is full. The previous weights are unchanged.
    """
    final = TrialDir(trial).best
    final.mkdir(exist_ok=True)
    with confined.folder(final) as best, tempfile.TemporaryDirectory(prefix=".best-", dir=trial) as name:
        folder = Path(name)
        model.save_pretrained(folder)  # type: ignore[operator]  # a transformers model
        (folder / WEIGHTS).chmod(stat.S_IMODE((folder / CONFIG).stat().st_mode))  # safetensors lets only the owner read
        shutil.copyfile(tokenizer, folder / "tokenizer.json")
        for path in sorted(folder.iterdir(), key=lambda path: path.name == WEIGHTS):  # the weights last
            os.replace(path, path.name, dst_dir_fd=best)
