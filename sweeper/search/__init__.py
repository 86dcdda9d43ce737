"""Search: which configurations a sweep tries, and Optuna's pruners. Only this package imports Optuna."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence

from sweeper.config import Method, Patient, StopSettings, SweepSpec, Wilcoxon
from sweeper.errors import ExtraMissing
from sweeper.search.grid import Grid
from sweeper.search.known import settings_of
from sweeper.search.proposal import Configuration, Search

__all__ = ["Configuration", "Search", "require_libraries", "search_for"]

LIBRARIES = {Method.CMAES: "cmaes", Method.GP: "scipy", Method.QMC: "scipy"}
"""Libraries that Optuna imports for a method and that it does not require itself."""


def require_libraries(spec: SweepSpec) -> None:
    """Check that the libraries of a sweep's method and pruners are installed.

    Raises:
        ExtraMissing: one is not.
    """
    for what, library in _needed(spec):
        if importlib.util.find_spec(library) is None:
            raise ExtraMissing(what, library, "search")


def _needed(spec: SweepSpec) -> Iterator[tuple[str, str]]:
    if spec.method in LIBRARIES:
        yield f"method: {spec.method.value}", LIBRARIES[spec.method]
    rules = () if spec.early_stop is None else spec.early_stop.rules
    if any(isinstance(_innermost(rule), Wilcoxon) for rule in rules):
        yield "the pruner wilcoxon", "scipy"


def _innermost(rule: StopSettings) -> StopSettings:
    """Return the pruner that `patient` wraps, at any depth; any other rule itself."""
    while isinstance(rule, Patient) and rule.wrapped is not None:
        rule = rule.wrapped
    return rule


def search_for(spec: SweepSpec, learned: Sequence[Configuration] = ()) -> Search:
    """Return the search that a sweep asks for (`method` in the file).

    Args:
        spec: The sweep.
        learned: Configurations of other runs that it learns from (`learn_from`), with negative numbers.

    Raises:
        ExtraMissing: a library that it needs is not installed.
    """
    require_libraries(spec)
    if spec.method is Method.GRID:
        return Grid(spec.parameters, settings_of(spec))
    from sweeper.search.optuna_search import OptunaSearch  # Optuna takes most of a second to import

    if spec.method is Method.PBT:
        from sweeper.search.population import PopulationSearch

        first = spec.model_copy(update={"method": Method.RANDOM})
        # Every parameter can be drawn anew, so none depends on another one, and none is of a known setting.
        free = {name: parameter.model_copy(update={"when": {}}) for name, parameter in spec.parameters.items()}
        anew = first.model_copy(update={"start_with": (), "parameters": free})
        return PopulationSearch(spec, OptunaSearch(first), OptunaSearch(anew))
    return OptunaSearch(spec, learned)
