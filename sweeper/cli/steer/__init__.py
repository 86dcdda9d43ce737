"""Commands to a running sweep: `stop`, `pause`, `resume`, `queue`, `revive`, `exempt`, `add`."""
