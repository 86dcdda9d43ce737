"""Which configurations are tried, in which order. The only place that knows Optuna."""

from sweeper.search.proposal import Configuration, Search, search_for

__all__ = ["Configuration", "Search", "search_for"]
