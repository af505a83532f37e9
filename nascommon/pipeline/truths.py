"""Which known accuracies apply to a search: those of a table, those of a bank, or none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nascommon.config import Params
from nascommon.data.prepared import Manifest
from nascommon.runtime.home import at_home
from nascommon.settings import UserError
from nascommon.space.precision import Precision
from nascommon.statistics.null import FEWEST_TO_SHOW
from nascommon.truth.bank import Bank, matching_bank
from nascommon.truth.known import Truth
from nascommon.truth.protocol import TrainingProtocol
from nascommon.truth.table import find_table, seeds_truth, table_truth


@dataclass(frozen=True)
class Source:
    """Where known accuracies come from.

    Attributes:
        kind: of the source.
        scores: what architectures are ranked by, the mean over their trainings.
        trainings: the same of single trainings, which tell the noise; None where they are not known.
    """

    kind: Literal["table", "bank"]
    scores: Truth
    trainings: Truth | None


def find_bank(params: Params, manifest: Manifest, precision: Precision) -> Bank | str:
    """Return the bank of the protocol of ``retrain``, or why none applies.

    Raises:
        UserError: a bank is torn or edited.
    """
    return matching_bank(protocol_of(params, manifest, precision), own_bank(params))


def protocol_of(params: Params, manifest: Manifest, precision: Precision) -> TrainingProtocol:
    """Return the protocol of ``retrain`` on prepared pictures."""
    return TrainingProtocol.of(params.retrain, manifest, params.search.chosen_space(), precision)


def own_bank(params: Params) -> Path | None:
    """Return where the user's own bank is, or shall be."""
    return None if params.baseline.bank is None else at_home(params.baseline.bank)


def find_truth(params: Params, manifest: Manifest, precision: Precision) -> Source | str:
    """Return what ``kendall_tau.truth`` asks for, or why architectures are to be trained now; see ``find_truth_by``."""
    return find_truth_by(params, protocol_of(params, manifest, precision))


def find_truth_by(params: Params, here: TrainingProtocol) -> Source | str:
    """Return what ``kendall_tau.truth`` asks for, or why architectures are to be trained now.

    Raises:
        UserError: a table or bank is asked for, and there is none that applies.
    """
    asked = params.kendall_tau.truth
    if asked == "retrain":
        return "kendall_tau.truth is retrain"
    if not params.kendall_tau.knowable:
        return "only inherited_val of a single run scores architectures that are known"
    data_set = find_table(params.search.space, here.data.source) if asked != "bank" else None
    if data_set is not None:
        return Source("table", table_truth(data_set), seeds_truth() if data_set == "cifar10" else None)
    if asked == "table":
        raise UserError(
            f"{params.file}: kendall_tau.truth: there is no table of space {params.search.space} on "
            f"{here.data.source}; set it to auto"
        )
    bank = matching_bank(here, own_bank(params))
    if isinstance(bank, Bank):
        known = len(bank.genotypes())
        if asked == "bank" or known >= FEWEST_TO_SHOW:
            return Source("bank", bank, bank)
        bank = f"the bank knows {known} architectures, and {FEWEST_TO_SHOW} are needed"
    if asked == "bank":
        raise UserError(f"{params.file}: kendall_tau.truth: {bank}; set it to auto or retrain")
    return bank
