"""Watch an unmodified PyTorch script: `watch: auto` in a sweep file, or `sweeper exec --watch`.

The shim puts `inject/` at the front of the worker's PYTHONPATH. Python executes `inject/sitecustomize.py` at start-up,
which waits for the import of a package that trains or logs (`imports`), and then installs:

- `training`: hooks of all optimizers, the models that they train (`models`), and the loss at `.backward()` (`losses`);
- `frameworks`: the callbacks of `sweeper.integrations` in the Trainers of transformers and Lightning;
- `loggers`: the metrics that the script logs with other libraries.

All of them use one `session.Session`, which opens the trial of the process when there is something to record.
"""
