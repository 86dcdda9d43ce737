"""Search: which configurations a sweep tries, and Optuna's pruners. Only this package imports Optuna."""

from __future__ import annotations

from sweeper.config import Method, SweepSpec
from sweeper.search.grid import Grid
from sweeper.search.proposal import Configuration, Search

__all__ = ["Configuration", "Search", "search_for"]


def search_for(spec: SweepSpec) -> Search:
    """Return the search that a sweep asks for (`method` in the file)."""
    if spec.method is Method.GRID:
        return Grid(spec.parameters)
    from sweeper.search.optuna_search import OptunaSearch  # Optuna takes most of a second to import

    return OptunaSearch(spec)
