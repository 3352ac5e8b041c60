"""Recipes of published and own runs as functions.

Only this package and the command line name particular data sets and models.
"""

from mien.recipes import flagship, reference, transfer  # noqa: F401 (importing registers them)
from mien.recipes.catalogue import Published as Published
from mien.recipes.catalogue import entry as entry
from mien.recipes.catalogue import evidence as evidence
from mien.recipes.catalogue import find as find
from mien.recipes.catalogue import names as names
from mien.recipes.catalogue import reference_names as reference_names
from mien.recipes.catalogue import register as register
from mien.recipes.measured import MEASURED as MEASURED
from mien.recipes.measured import Measured as Measured
