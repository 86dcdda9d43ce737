"""The decisions that need more than one trial: proposals, pruners and audits."""
