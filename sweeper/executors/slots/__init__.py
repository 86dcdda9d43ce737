"""The slots of this machine: how it is divided, and which sweep holds which part."""
