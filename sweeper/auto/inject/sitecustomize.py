"""Executed by Python at start-up in each process of a worker with `watch: auto`, before the user's own `sitecustomize`.

Most of these processes neither train nor log. Therefore this file imports nothing of sweeper until the first import of
a package in `PACKAGES`, and it uses only modules that Python has loaded already.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # importing typing would take longer than all of this
if TYPE_CHECKING:
    from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib is not loaded yet
SWEEPER = os.path.dirname(os.path.dirname(HERE))  # noqa: PTH120
TRIAL = os.environ.get("SWEEPER_TRIAL_DIR", "")  # now, because the script may change its environment
ATTEMPT = os.environ.get("SWEEPER_ATTEMPT", "1")
PACKAGES = frozenset(
    [
        "accelerate",
        "aim",
        "clearml",
        "comet_ml",
        "lightning",
        "lightning_fabric",
        "mlflow",
        "pytorch_lightning",
        "tensorboardX",
        "torch",
        "trackio",
        "transformers",
        "wandb",
    ]
)


class FirstImport:
    """A finder that prepares sweeper's own finder before the first import of one of `PACKAGES`."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Return the spec of a package as sweeper's own finder does, or None."""
        if name not in PACKAGES or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        finder = _prepared()
        return None if finder is None else finder.find_spec(name, path, target)


def _prepared() -> Any:
    """Return the finder of `sweeper.auto.imports`; None, with a message, if there is something wrong."""
    try:
        return _finder()
    except Exception as error:  # noqa: BLE001 - whatever is wrong here, the script must run
        version = ".".join(map(str, sys.version_info[:3]))
        sys.stderr.write(f"sweeper: this process is not watched: {error!r} (Python {version})\n")
        return None


def _finder() -> Any:
    """Return the finder, also in an environment in which sweeper is not installed."""
    try:
        from sweeper.auto.install import finder
    except ModuleNotFoundError as error:
        if error.name != "sweeper":
            raise
        from importlib.util import module_from_spec, spec_from_file_location

        spec = spec_from_file_location("sweeper", os.path.join(SWEEPER, "__init__.py"))  # noqa: PTH118
        if spec is None or spec.loader is None:
            raise
        sys.modules["sweeper"] = sweeper = module_from_spec(spec)
        spec.loader.exec_module(sweeper)
        from sweeper.auto.install import finder

    return finder(TRIAL, ATTEMPT)


def _next_sitecustomize() -> None:
    """Import the `sitecustomize` that this one hides, if there is one."""
    this = sys.modules.pop("sitecustomize")
    try:
        import sitecustomize  # type: ignore[import-not-found]  # noqa: F401 - the folder of this one is no longer on the path
    except ImportError as error:
        if error.name != "sitecustomize":
            raise
    finally:
        sys.modules.setdefault("sitecustomize", this)


sys.path[:] = [folder for folder in sys.path if os.path.abspath(folder) != HERE]  # noqa: PTH100
if TRIAL:
    if PACKAGES.isdisjoint(sys.modules):
        sys.meta_path.insert(0, FirstImport())
    else:  # a fork of a process that has imported them
        _prepared()
if __name__ == "sitecustomize":
    _next_sitecustomize()
