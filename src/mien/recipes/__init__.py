"""Recipes of published and own runs as functions.

Only this package and the command line name particular data sets and models.
"""

from mien.recipes import flagship, reference, transfer  # noqa: F401 (importing registers them)
from mien.recipes.catalogue import (
    Published,
    entry,
    evidence,
    find,
    names,
    reference_names,
    register,
)
from mien.recipes.measured import MEASURED, Measured

__all__ = [
    "MEASURED",
    "Measured",
    "Published",
    "entry",
    "evidence",
    "find",
    "names",
    "reference_names",
    "register",
]
