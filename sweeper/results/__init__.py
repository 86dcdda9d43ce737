"""Analysis of a recorded sweep: its status, ranking, receipts, health and comparisons. Every view shows these."""
