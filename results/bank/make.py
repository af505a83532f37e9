"""Fill a bank: train random architectures from scratch by the section ``retrain`` of a params file, and test them.

``python results/bank/make.py`` in the folder of params.yaml makes nascommon/truth/banks/digits.csv, the bank of the
default preset. Killed, the same command goes on where it was.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from pathlib import Path

from nascommon.config import load_params
from nascommon.data.preparing import prepare
from nascommon.pipeline.banking import Plan, fill_bank


def main() -> None:
    """Prepare the pictures in a folder of their own, and train what the bank lacks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--bank", type=Path, default=Path("nascommon/truth/banks/digits.csv"))
    parser.add_argument("--architectures", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=100, help="so many have all seeds before the others have a second")
    parser.add_argument("--workers", type=int, default=1)
    asked = parser.parse_args()
    params = load_params(asked.params)
    plan = Plan(asked.architectures, asked.seeds, asked.first)
    with tempfile.TemporaryDirectory() as folder:
        prepare(params.data, params.seed, Path(folder))
        fill_bank(
            params, Path(folder), asked.bank, plan, workers=asked.workers, command=shlex.join(["python", *sys.argv])
        )


if __name__ == "__main__":
    main()
