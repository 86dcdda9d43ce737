"""The watch: gradients, updates and activations of a model, measured at every n-th optimizer step."""
