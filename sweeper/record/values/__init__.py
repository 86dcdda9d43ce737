"""Pure functions on recorded values: the depth profile of gradients, learning rates, parameters, redaction."""
