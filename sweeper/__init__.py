"""sweeper: hyperparameter sweeps that stop stalled runs early, and explain why.

A training script reports to its trial:

    import sweeper

    with sweeper.trial(defaults={"lr": 3e-5}) as trial:
        loss = train(lr=trial.params["lr"])
        trial.report({"loss/train": loss}, step=0)

The public API is `sweeper.trial`, `sweeper.start`, `sweeper.Trial` and the callbacks of `sweeper.integrations`.
Importing `sweeper` loads the standard library only.
"""

from sweeper.worker.opening import start, trial
from sweeper.worker.trial import Trial

__version__ = "0.2.0"
__all__ = ["Trial", "__version__", "start", "trial"]
