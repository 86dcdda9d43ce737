"""Which configurations are tried, in which order. The only place that knows Optuna."""

from __future__ import annotations

from sweeper.config import Method, SweepSpec
from sweeper.search.grid import Grid
from sweeper.search.proposal import Configuration, Search

__all__ = ["Configuration", "Search", "search_for"]


def search_for(spec: SweepSpec) -> Search:
    """The search that a sweep asks for."""
    if spec.method is Method.GRID:
        return Grid(spec.parameters)
    from sweeper.search.optuna_search import OptunaSearch  # Optuna takes most of a second to import

    return OptunaSearch(spec)
