"""The health of trials: diagnoses, their timeline and evidence, and advice."""
