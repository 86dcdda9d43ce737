"""Measurements in the forward pass: data flow between layers, activations, attention logits, and losses."""
