"""Let `import wandb` find the stand-in, where the package is not installed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import FrameType, ModuleType

from sweeper.auto.wandb import setup

_IMPORTING = ("importlib", "importlib._bootstrap", "_frozen_importlib", "sitecustomize")


class StandInFinder:
    """The last entry of `sys.meta_path`, so that an installed package is found before.

    Only the user's own code finds the stand-in. A library that asks whether W&B is installed, such as transformers,
    gets the truth: otherwise it would begin to report to W&B only because sweeper runs the script.
    """

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return the spec of the stand-in.

        Raises:
            ModuleNotFoundError: the name is a part of W&B that the stand-in does not have.
        """
        del path, target
        if setup.current is None or name.partition(".")[0] != "wandb":
            return None
        if name == "wandb":
            is_found = _is_from_users_code()
            return ModuleSpec(name, _Loader(), is_package=True) if is_found else None  # type: ignore[arg-type]  # is one
        if not hasattr(sys.modules.get("wandb"), "__sweeper_standin__"):
            return None
        from sweeper.auto.wandb.standin.names import missing

        raise ModuleNotFoundError(missing(name), name=name)


class _Loader:
    """Make the stand-in."""

    @staticmethod
    def create_module(spec: ModuleSpec) -> ModuleType:
        from sweeper.auto.wandb.standin import StandIn

        return StandIn(spec.name)

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        from sweeper.auto.wandb.standin import StandIn

        assert isinstance(module, StandIn)  # noqa: S101 - it was made above
        assert setup.current is not None  # noqa: S101 - otherwise the finder finds nothing
        module.fill(setup.current)


def _is_from_users_code() -> bool:
    """Return whether the user's own code is importing, and not asking what `importlib.util.find_spec` finds."""
    import sysconfig

    libraries = tuple({sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib", "platstdlib")})
    frame: FrameType = sys._getframe(2)  # noqa: SLF001 - an import hook is not told which module imports
    while _is_of_import(frame.f_globals.get("__name__", "")) and frame.f_back is not None:
        frame = frame.f_back
    is_asking = frame.f_globals.get("__name__") == "importlib.util"
    return not is_asking and not frame.f_code.co_filename.startswith(libraries)


def _is_of_import(module: str) -> bool:
    """Return whether a module's frames are between an import statement and a finder: Python's or sweeper's own."""
    return module in _IMPORTING or "sweeper" in module
