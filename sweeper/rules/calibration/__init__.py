"""How often a rule is wrong: audits of live sweeps, and thresholds chosen from recorded runs."""
