"""The CUDA devices of this machine: which there are, which are lost, and which processes use them."""
