"""Make the decisions that depend on several trials: proposals, pruners and audits."""
