"""The files of a run: layout, codec, journals, leases, claims and the inbox."""
