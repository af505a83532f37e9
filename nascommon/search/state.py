"""The state of a search phase: the supernet, the logits and their two optimisers, which never share a tensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from nascommon.method import Method, Phase
from nascommon.parts.logits import Logits, initial_logits
from nascommon.runtime.seeding import generator, seed_globals
from nascommon.space.genotype import CELL_KINDS
from nascommon.space.mixing import Candidates, CellMixing, Mixing
from nascommon.space.supernet import Supernet, SupernetSpec


@dataclass
class SearchState:
    """What one phase of a search changes from step to step."""

    method: Method
    supernet: Supernet
    logits: Logits
    weight_optimiser: torch.optim.SGD
    arch_optimiser: torch.optim.Adam
    progress: float = 0.0

    @property
    def spec(self) -> SupernetSpec:
        """Size and candidates of the supernet."""
        return self.supernet.spec

    def mixing(self) -> Mixing:
        """Relax the logits to mixing weights, with a graph back to the logits."""
        topology = self.spec.topology
        return Mixing(
            *(CellMixing(self.method.relax(self.logits.cell(kind), topology, self.progress)) for kind in CELL_KINDS)
        )

    def draw(self) -> Mixing:
        """Return what one forward pass uses: the mixing weights, or what the method samples from them."""
        mixing = self.mixing()
        if self.method.sample is None:
            return mixing
        spec = self.spec
        return Mixing(
            *(
                self.method.sample(mixing.cell(kind).weights_EO, spec.topology, spec.candidates.cell(kind))
                for kind in CELL_KINDS
            )
        )

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a checkpoint of this phase needs."""
        return {
            "supernet": self.supernet.state_dict(),
            "logits": {name: tensor.detach() for name, tensor in self.logits.named().items()},
            "weight_optimiser": self.weight_optimiser.state_dict(),
            "arch_optimiser": self.arch_optimiser.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what ``state_dict`` returned."""
        self.supernet.load_state_dict(state["supernet"])
        self.logits.load(state["logits"])
        self.weight_optimiser.load_state_dict(state["weight_optimiser"])
        self.arch_optimiser.load_state_dict(state["arch_optimiser"])


def supernet_spec(phase: Phase, candidates: Candidates, base: SupernetSpec) -> SupernetSpec:
    """Return the supernet of a phase: classes, topology and image channels as in ``base``."""
    return SupernetSpec(phase.channels, phase.cells, base.classes, candidates, base.topology, base.image_channels)


def new_state(method: Method, spec: SupernetSpec, *, seed: int, phase: int, device: torch.device) -> SearchState:
    """Make a fresh supernet and fresh logits; a pure function of the seed and the phase."""
    seed_globals(seed, "supernet", phase)
    supernet = Supernet(spec).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    logits = initial_logits(method.initialise, spec.candidates, generator(seed, "logits", phase), device)
    weights, arch = method.weights, method.architecture
    return SearchState(
        method,
        supernet,
        logits,
        torch.optim.SGD(
            supernet.parameters(), lr=weights.lr, momentum=weights.momentum, weight_decay=weights.weight_decay
        ),
        torch.optim.Adam(logits.tensors(), lr=arch.lr, betas=(arch.beta1, arch.beta2), weight_decay=arch.weight_decay),
    )
