"""The code that runs in and beside the training process: trial API, watch, checkpoints, shim. Does not import torch."""
