"""What kendall_tau could not rank by is refused before the search that it would follow."""

from __future__ import annotations

from nascommon.config import Params
from nascommon.data.prepared import Manifest
from nascommon.pipeline.truths import find_truth
from nascommon.settings import UserError
from nascommon.space.precision import Precision


def refuse_unrankable(params: Params, manifest: Manifest, precision: Precision) -> None:
    """Refuse settings of ``kendall_tau`` that these pictures, and what is known of them, cannot serve.

    Raises:
        UserError: the table or bank that is asked for does not apply, or none does and too few snapshots are kept.
    """
    if params.method().epochs == 0:  # nothing is ranked
        return
    if isinstance(find_truth(params, manifest, precision), str):
        misfits = [f"{params.file}: {misfit}" for misfit in params.snapshot_misfits()]
        if misfits:
            raise UserError(*misfits)
