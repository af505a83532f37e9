"""A genotype may be given in place of the one that the search finds."""

from __future__ import annotations

from nascommon.config import Params
from nascommon.search.choose import find_genotype
from nascommon.settings import UserError
from nascommon.space.genotype import Genotype


def given_genotype(params: Params) -> Genotype | None:
    """Return the genotype that ``discretize.genotype`` names; None where the search's own is to be retrained.

    Raises:
        UserError: it is nowhere, no genotype, or of another kind of space.
    """
    name = params.discretize.genotype
    if name is None:
        return None
    try:
        genotype, wanted = find_genotype(name), params.search.chosen_space().skeleton.name
        if genotype.skeleton != wanted:
            raise UserError(f"{name}: is a genotype of {genotype.skeleton}, and search.space has those of {wanted}")
    except UserError as error:
        raise UserError(f"{params.file}: discretize.genotype: {error}") from error
    return genotype
