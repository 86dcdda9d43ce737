"""What the record says about a sweep and its trials: status, ranking, receipts, comparisons; for every view."""
