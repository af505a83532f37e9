"""The architectures of the Kendall tau stage, by mode, with the data that scores and retrains them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from nascommon.cost.footprint import prepared_shape
from nascommon.data.batches import Again, Batches
from nascommon.data.loading import Data
from nascommon.gaps.architectures import Architecture, SavedSupernet, from_epochs, sampled
from nascommon.method import Method
from nascommon.pipeline.memory_limit import require_trainings
from nascommon.pipeline.paths import SEARCH, TARGET_DATA
from nascommon.pipeline.run import Run
from nascommon.pipeline.search import FurtherSearch, searches_at_a_time
from nascommon.pipeline.side_by_side import executor_of
from nascommon.runtime.checkpoint import Checkpoint
from nascommon.runtime.divergence import DivergenceError
from nascommon.runtime.executor import Piece
from nascommon.runtime.progress import epoch_figures, pieces
from nascommon.runtime.seeding import derive
from nascommon.search.artefact import SavedSearch, SavedState, load_search
from nascommon.search.choose import choose_genotype, inherited_accuracy
from nascommon.search.loop import Hooks
from nascommon.search.state import SearchState
from nascommon.settings import UserError
from nascommon.space.genotype import Genotype
from nascommon.space.network import NetworkSpec
from nascommon.training.settings import NetworkSettings


@dataclass(frozen=True)
class RankingSetup:
    """Search, data and settings that the ranking is made from."""

    run: Run
    method: Method
    search: SavedSearch
    data: Data
    validation: Batches

    @staticmethod
    def open(run: Run) -> RankingSetup:
        """Open the search and the data."""
        data = run.open(TARGET_DATA)
        training = run.params.kendall_tau.training
        valid = data.evaluation(data.prepared.part("architecture"), training.batch_size, training.pieces)
        return RankingSetup(run, run.params.method(), load_search(SEARCH), data, valid)

    def trained(self) -> bool:
        """Say whether the search trained a supernet; plain random sampling does not."""
        return self.method.epochs > 0

    def network_spec(self, network: NetworkSettings) -> NetworkSpec:
        """Return the size of the retrained networks."""
        manifest = self.data.prepared.manifest
        spec = network.spec(classes=len(manifest.classes), image_channels=manifest.channels)
        return replace(spec, precision=self.run.precision)

    def rounds(self) -> dict[str, NetworkSettings]:
        """Return the network of each round of retraining: once, once more with another seed, and once deep."""
        settings = self.run.params.kendall_tau
        rounds = {"first": settings.network}
        if settings.retest:
            rounds["second"] = settings.network
        if settings.deep_network is not None:
            rounds["deep"] = settings.deep_network
        return rounds

    def at_a_time(self) -> int:
        """Return how many retrainings run at a time.

        Raises:
            UserError: not even one fits into the free memory.
        """
        settings, shape = self.run.params.kendall_tau, prepared_shape(self.data.prepared)
        specs = [self.network_spec(network) for network in self.rounds().values()]
        networks, key = settings.architectures * len(specs), "kendall_tau.training.pieces"
        return require_trainings(
            key, settings.training, specs, shape, self.run.params, self.run.device, networks, scored=True
        )

    def snapshots(self) -> list[SavedSupernet]:
        """Return the snapshots of the search, by epoch.

        Raises:
            UserError: the search kept none.
        """
        if not self.search.snapshots:
            raise UserError(
                "kendall_tau: the search kept no snapshots; set search.snapshots to at least 3, or source: sampled"
            )
        return [self._saved(f"epoch {saved.epoch}", saved) for saved in self.search.snapshots]

    def final(self) -> SavedSupernet:
        """Return the end of the search."""
        return self._saved("final", self.search.final)

    def _saved(self, name: str, saved: SavedState) -> SavedSupernet:
        return SavedSupernet(name, saved.valid_accuracy, lambda: saved.load(self.method, self.run.device))

    def architectures(self) -> list[Architecture]:
        """Return the architectures of the mode, unscored."""
        settings, seed = self.run.params.kendall_tau, self.run.params.seed
        if settings.mode == "multi_run":
            return self._runs(settings.architectures)
        if settings.source == "epochs":
            return from_epochs(self.snapshots(), settings.architectures)
        return sampled(self.final(), settings.architectures, seed)

    def _runs(self, count: int) -> list[Architecture]:
        """Return the result of this search and of ``count - 1`` more with other seeds."""
        score, first = scorer(self), self.final()
        sources = [
            SavedSupernet("seed of this run", first.valid_accuracy, first.open),
            *self._further_searches(count - 1),
        ]
        architectures = []
        for index, source in enumerate(sources):
            state = source.open()
            seed = self.run.params.seed if index == 0 else derive(self.run.params.seed, "run", index)
            genotype, _ = choose_genotype(state, lambda g, state=state: score(state, g), seed=seed)  # type: ignore[misc]
            architectures.append(Architecture(source.name, genotype, source))
        return architectures

    def _further_searches(self, count: int) -> list[SavedSupernet]:
        """Search with other seeds; a search that an earlier process finished or began is taken up.

        Raises:
            UserError: as many at a time as ``jobs`` says do not fit into the free memory.
            DivergenceError: a search diverged.
        """
        params = self.run.params
        files = [self.run.checkpoints.file(f"search_{index}") for index in range(1, count + 1)]
        searches = [
            FurtherSearch(params, TARGET_DATA, self.run.device, derive(params.seed, "run", index), file.address)
            for index, file in enumerate(files, start=1)
        ]
        at_a_time = searches_at_a_time(params, self.data, count)
        accuracies: dict[int, float] = {}
        with pieces("kendall_tau", count, unit="search", at_a_time=at_a_time) as bar:

            def on_message(index: int, told: dict[str, Any] | str) -> None:
                if isinstance(told, str):
                    files[index].report(told)
                else:
                    bar.part(index, told["epoch"] + 1, self.method.epochs)

            def on_result(index: int, accuracy: float | DivergenceError) -> None:
                if isinstance(accuracy, DivergenceError):
                    raise accuracy
                accuracies[index] = accuracy
                bar.end(index, epoch_figures({"valid_accuracy": accuracy}))

            executor_of(params, self.run.device, at_a_time).run(
                [Piece(f"search {index}", search.run) for index, search in enumerate(searches, start=1)],
                on_message=on_message,
                on_result=on_result,
            )
        return [
            SavedSupernet(f"other seed {index + 1}", accuracies[index], partial(_end, search, file))
            for index, (search, file) in enumerate(zip(searches, files, strict=True))
        ]


def _end(search: FurtherSearch, file: Checkpoint) -> SearchState:
    """Read the end of a further search from its checkpoint."""
    return search.outcome(file.report, Hooks()).state


def scorer(ranked: RankingSetup) -> Callable[[SearchState, Genotype], float]:
    """Return the accuracy of a genotype with inherited weights on the architecture half, batch norm recalibrated."""
    settings = ranked.run.params.kendall_tau
    calibration = ranked.data.calibration("kendall", settings.training.batch_size, settings.calibration_batches)
    valid = Again(ranked.validation)
    return lambda state, genotype: inherited_accuracy(state, genotype, calibration, valid)
