"""Commands that show a run: `status`, `why`, `logs`, `tensorboard`, `report`, `compare`, `export`."""
