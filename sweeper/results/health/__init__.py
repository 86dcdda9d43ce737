"""The health of trials: the diagnoses that hold, their timeline, and advice from sibling trials."""
