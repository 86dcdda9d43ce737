"""Keep a library's own checkpoints below the trial's directory, where the library does not delete them.

Trainer and Lightning delete their older checkpoints by settings of their own. With `checkpoint.keep_healthy`, each
checkpoint gets a second name in `kept/` of the trial's directory: hard links, which take no room while the library has
the files too, or copies where the disk makes no links.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from pathlib import Path

from sweeper.record.storage import confined
from sweeper.record.storage.layout import TrialDir


def keep(trial: Path, checkpoint: Path, *, step: int) -> Path:
    """Give a library's checkpoint after `step` a name in the trial's `kept/`; return its path there.

    Args:
        trial: the trial's directory.
        checkpoint: the file or folder that the library wrote.
        step: the optimizer step after which the state was taken.

    Raises:
        OSError: the checkpoint does not exist, or the disk is full or gone.
    """
    folder = TrialDir(trial).kept
    final = folder / f"step-{step:09d}{''.join(checkpoint.suffixes[-1:]) if checkpoint.is_file() else ''}"
    temporary = folder / f".keeping.{os.getpid()}"
    confined.make_folder(folder, root=trial)
    _remove(trial, temporary)
    try:
        if checkpoint.is_dir():
            shutil.copytree(checkpoint, temporary, copy_function=_link_or_copy)
        else:
            _link_or_copy(os.fspath(checkpoint), os.fspath(temporary))
        _remove(trial, final)  # of an attempt before
        temporary.rename(final)
    except shutil.Error as error:
        raise OSError(f"{checkpoint}: {error}") from error
    finally:
        _remove(trial, temporary)
    return final


def prune(trial: Path, steps: Collection[int]) -> None:
    """Delete what is kept of other steps than these.

    Raises:
        OSError: the system refuses.
    """
    folder = TrialDir(trial).kept
    for name in confined.listed(folder, root=trial):
        number = name.removeprefix("step-").split(".")[0]
        if name.startswith("step-") and number.isdecimal() and int(number) not in steps:
            _remove(trial, folder / name)


def unshare(checkpoint: Path) -> None:
    """Give each file of a checkpoint that has several names its own content, because it may be written to again.

    Raises:
        OSError: the disk is full or gone.
    """
    for path in checkpoint.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_nlink > 1:
            temporary = path.with_name(f".{path.name}.{os.getpid()}")
            shutil.copy2(path, temporary)
            temporary.replace(path)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=True)
    except FileExistsError:
        raise
    except OSError:
        shutil.copy2(source, target)


def _remove(trial: Path, path: Path) -> None:
    confined.remove_folder(path, root=trial)
