"""Inventory of pictures, a given genotype and a bank, by content: DVC sees no file outside of the project by itself.

This runs at every ``dvc repro``, so it imports nothing that is slow to import. Complaints are left to ``prepare``, but
for that of an unknown method.
"""

from __future__ import annotations

from nascommon.pipeline.inventory import refuse_unknown_method, write_inventory
from stages.cli import PARAMS, ParamsFile, run_stage


def main(
    params: ParamsFile = PARAMS,
) -> None:
    """Write data/inventory.json: how many pictures the folders in data.path hold, and a hash of names and contents.

    A file is read once, and again only where its size or times have changed. data/given.json has the hash of the file
    that discretize.genotype names, if any, and data/bank.json that of the bank that baseline.bank names.
    """
    write_inventory(params)
    refuse_unknown_method(params)


if __name__ == "__main__":
    run_stage(main)
