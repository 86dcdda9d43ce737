"""The Ray executor: Ray places attempts on the nodes of a cluster, and their records are transferred back."""
