"""Discretize: from the mixing weights to one genotype, and what the supernet loses by it."""

from __future__ import annotations

from nascommon.config import load_params
from nascommon.pipeline.discretize import discretize
from stages.cli import PARAMS, ParamsFile, run_stage


def main(params: ParamsFile = PARAMS) -> None:
    """Write data/discretize: genotype.json, its drawing as SVG and PNG, and the discretization gap.

    The gap is the validation accuracy of the supernet with its mixing weights minus that with the kept operations
    alone, same network weights, before and after batch norm is recalibrated.
    """
    discretize(load_params(params))


if __name__ == "__main__":
    run_stage(main)
