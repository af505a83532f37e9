"""A genotype may be given in place of the one that the search finds."""

from __future__ import annotations

from nascommon.config import Params
from nascommon.search.choose import find_genotype
from nascommon.settings import UserError
from nascommon.space.genotype import Genotype


def given_genotype(params: Params) -> Genotype | None:
    """Return the genotype that ``discretize.genotype`` names; None where the search's own is to be retrained.

    Raises:
        UserError: it is nowhere, or no genotype.
    """
    try:
        return None if params.discretize.genotype is None else find_genotype(params.discretize.genotype)
    except UserError as error:
        raise UserError(f"{params.file}: discretize.genotype: {error}") from error
