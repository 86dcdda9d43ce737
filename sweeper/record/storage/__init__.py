"""The files of a run: their layout, journals, leases, claims and the inbox."""
