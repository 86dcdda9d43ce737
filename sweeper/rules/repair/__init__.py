"""How a run that failed is tried again: which parameters change, and from which step it continues. Pure.

`repairs` returns the trials that a repair is due for. `repair` returns what is changed, or why nothing helps.
"""

from __future__ import annotations

from sweeper.rules.repair.domain import Domain
from sweeper.rules.repair.failure import Failure, failure_of
from sweeper.rules.repair.lineage import depth_of, repair, repairs
from sweeper.rules.repair.parameters import ROLES, RepairedParameters, guessed
from sweeper.rules.repair.policy import NoRepair, proposal
from sweeper.rules.repair.recipes import RECIPES, Recipe
from sweeper.rules.repair.siblings import Sibling, is_alike, is_near, siblings_of
from sweeper.rules.repair.situation import RepairSettings, Situation

__all__ = [
    "RECIPES",
    "ROLES",
    "Domain",
    "Failure",
    "NoRepair",
    "Recipe",
    "RepairSettings",
    "RepairedParameters",
    "Sibling",
    "Situation",
    "depth_of",
    "failure_of",
    "guessed",
    "is_alike",
    "is_near",
    "proposal",
    "repair",
    "repairs",
    "siblings_of",
]
