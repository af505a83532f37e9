"""Some supernets of a search are kept on the way, so that its search scores can be asked again later."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from nascommon.runtime import ranks
from nascommon.runtime.artefacts import read_json, write_json
from nascommon.runtime.atomic import atomic
from nascommon.search.artefact import describe_state, save_state
from nascommon.search.state import SearchState


class Snapshots:
    """Keeps evenly spaced epochs, the last included, in a folder that survives a kill, until the search is done.

    A search that stops early keeps its last epoch too, whichever that is; those that it did not reach are missing.
    """

    def __init__(self, folder: Path, epochs: int, count: int) -> None:
        """Choose ``count`` of ``epochs`` epochs; fewer where there are not so many."""
        self.folder = folder
        count = min(count, epochs)
        self.epochs = {round((index + 1) * epochs / count) - 1 for index in range(count)}

    @ranks.first_only
    def keep(self, row: dict[str, Any], state: SearchState, *, last: bool) -> None:
        """Write the state if its epoch is one of the chosen, or the last where any is to be kept."""
        if row["epoch"] in self.epochs or (last and self.epochs):
            file = f"epoch_{row['epoch']:04d}.safetensors"
            save_state(self.folder / file, state)
            write_json(self.folder / f"epoch_{row['epoch']:04d}.json", describe_state(f"snapshots/{file}", state, row))

    def move_to(self, destination: Path) -> list[dict[str, Any]]:
        """Bring the kept files to their place among the outputs; return their descriptions by epoch."""
        kept = []
        for description in sorted(self.folder.glob("epoch_*.json")):
            source = description.with_suffix(".safetensors")
            with atomic(destination / source.name) as temporary:
                shutil.copyfile(source, temporary)
            kept.append(read_json(description))
        return kept
