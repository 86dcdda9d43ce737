"""CUDA devices of this machine: which exist, which are lost, and which processes use them."""
