"""Print the result that lies in data/evaluate: verdict, figures, time, and what to try next."""

from __future__ import annotations

from nascommon.pipeline.closing import print_closing
from stages.cli import run_stage


def main() -> None:
    """Print what `evaluate` printed last, about ten lines, also where all of it came from DVC's cache.

    The time of a stage is that of the run that made what lies here.
    """
    print_closing()


if __name__ == "__main__":
    run_stage(main)
