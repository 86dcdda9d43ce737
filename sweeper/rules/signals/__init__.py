"""The signals of a run, which every diagnosis reads: levels and trends of reported values and of observations."""
