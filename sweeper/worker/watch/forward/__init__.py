"""What the watch measures in the forward pass: data flow between layers, activations, attention, losses."""
