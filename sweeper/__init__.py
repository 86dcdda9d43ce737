"""sweeper: hyperparameter sweeps that stop stalled runs early, and say why.

A training script needs this much of it:

    with sweeper.trial(defaults={"lr": 3e-5}) as trial:
        ...

Importing it loads the standard library only.
"""

from sweeper.worker.trial import Trial, trial

__version__ = "0.2.0"
__all__ = ["Trial", "__version__", "trial"]
