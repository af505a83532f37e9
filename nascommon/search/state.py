"""The state of a search phase: the supernet, the logits and their two optimisers, which never share a tensor."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from nascommon.method import ArchOptimiser, Method, Phase
from nascommon.parts.choices import Use
from nascommon.parts.logits import Logits, initial_logits
from nascommon.parts.relaxation import Relaxation
from nascommon.runtime.dial import Dial, keeps_numbers
from nascommon.runtime.hardware import birthplace
from nascommon.runtime.optimisers import load_optimiser, sgd
from nascommon.runtime.replay import Recordings
from nascommon.runtime.seeding import generator, seed_globals
from nascommon.space.genotype import Genotype, genotype_from_json
from nascommon.space.mixing import Mixing
from nascommon.space.space import Space
from nascommon.space.supernet import Supernet, SupernetSpec


@dataclass(frozen=True)
class InducedModel:
    """The best induced model so far: the genotype whose training by an induced pass ended most accurate."""

    accuracy: float
    genotype: Genotype
    epoch: int

    def to_json(self) -> dict[str, Any]:
        """Return the same as JSON."""
        return {"accuracy": self.accuracy, "genotype": self.genotype.to_json(), "epoch": self.epoch}

    @staticmethod
    def from_json(tree: dict[str, Any] | None) -> InducedModel | None:
        """Take up what ``to_json`` returned; None stays None."""
        if tree is None:
            return None
        return InducedModel(tree["accuracy"], genotype_from_json(tree["genotype"]), tree["epoch"])


@dataclass
class SearchState:
    """Tensors and optimisers that one phase of a search changes from step to step, and how its steps are computed.

    Attributes:
        arch_optimiser: of the logits; None where they are not learned.
        pieces: a batch is computed in so many pieces one after the other, for less memory. Gradients are those of the
            whole batch, except that batch norm sees a piece at a time.
        varies: whether a sampler has decided what is computed at all, so that no two steps do the same.
        recordings: of the steps that these optimisers take, on a GPU.
    """

    method: Method
    supernet: Supernet
    logits: Logits
    weight_optimiser: torch.optim.SGD
    arch_optimiser: torch.optim.Adam | None
    induced: InducedModel | None = None
    pieces: int = 1
    varies: bool = False
    recordings: Recordings = field(default_factory=Recordings)
    _progress: Dial = field(default_factory=Dial)

    @property
    def progress(self) -> float:
        """How far the phase is, in [0, 1]."""
        return self._progress.value

    @progress.setter
    def progress(self, progress: float) -> None:
        self._progress.value = progress

    def seen_progress(self) -> float | Tensor:
        """Return it as steps see it, on a GPU a scalar there."""
        return self._progress.on(self.logits.like.device)

    @property
    def spec(self) -> SupernetSpec:
        """Size and candidates of the supernet."""
        return self.supernet.spec

    def arch_rates(self) -> tuple[float, ...]:
        """Return the learning rate of each tensor of logits; a phase has one or two for each."""
        return () if self.arch_optimiser is None else tuple(group["lr"] for group in self.arch_optimiser.param_groups)

    def mixing(self) -> Mixing:
        """Relax the logits to mixing weights, with a graph back to the logits."""
        return self._relaxed(self.method.relax)

    def _relaxed(self, relax: Relaxation) -> Mixing:
        return Mixing(
            (kind, relax(self.logits[kind], cell, self.seen_progress())) for kind, cell in self.spec.space.cells.items()
        )

    def draw(self, use: Use) -> Mixing:
        """Return what one forward pass uses: the mixing weights, or what the method samples from them."""
        mixing, sample = self.mixing(), self.method.sample
        if sample is None or use not in sample.uses:
            return mixing
        drawn = Mixing(
            (kind, sample.draw(self.logits[kind], mixing[kind], cell, self.seen_progress()))
            for kind, cell in self.spec.space.cells.items()
        )
        self.varies |= any(cell.active is not None for cell in drawn.values())
        return drawn

    @torch.no_grad()
    def scored(self) -> Mixing:
        """Return the mixing weights that the supernet is scored with: nothing in them is left to chance."""
        return self.draw("evaluation")

    @torch.no_grad()
    def genotype(self) -> Genotype:
        """Discretize the present weights."""
        read = self._relaxed(self.method.discretize.read or self.method.relax)
        return self.method.discretize(read, self.spec.space)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a checkpoint of this phase needs."""
        return {
            "supernet": self.supernet.state_dict(),
            "logits": {name: tensor.detach() for name, tensor in self.logits.named().items()},
            "weight_optimiser": self.weight_optimiser.state_dict(),
            "arch_optimiser": self.arch_optimiser and self.arch_optimiser.state_dict(),
            "progress": self.progress,
            "induced": self.induced and self.induced.to_json(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what ``state_dict`` returned."""
        self.supernet.load_state_dict(state["supernet"])
        self.logits.load(state["logits"])
        load_optimiser(self.weight_optimiser, state["weight_optimiser"])
        if self.arch_optimiser is not None:
            load_optimiser(self.arch_optimiser, state["arch_optimiser"])
        self.progress, self.induced = state["progress"], InducedModel.from_json(state["induced"])


def supernet_spec(phase: Phase, space: Space, base: SupernetSpec, method: Method) -> SupernetSpec:
    """Return the supernet of a phase: what no method changes is as in ``base``."""
    return SupernetSpec(
        phase.channels,
        phase.cells,
        base.classes,
        space,
        base.image_channels,
        method.mixed_op.channel_divisor,
        method.mixed_op.stem,
        base.precision,
        base.affine,
    )


def weight_optimiser(method: Method, supernet: Supernet) -> torch.optim.SGD:
    """Return a fresh optimiser of the network weights."""
    weights = method.weights
    # On a CPU a sampler may leave out other weights in every step, and all methods shall round alike.
    fused = keeps_numbers(supernet.classifier.weight.device)
    return sgd(supernet, weights.lr, weights.momentum, weights.weight_decay, fused=fused)


def new_state(method: Method, spec: SupernetSpec, *, seed: int, phase: int, device: torch.device) -> SearchState:
    """Make a fresh supernet and fresh logits; a pure function of the seed and the phase."""
    seed_globals(seed, "supernet", phase)
    with birthplace(device):
        supernet = spec.build()
    supernet.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    supernet.lay_together()
    logits = initial_logits(method.initialise, spec.space, generator(seed, "logits", phase), device)
    learned = method.arch_gradient
    adam = None if learned is None else arch_optimiser(learned.optimiser, logits, device)
    return SearchState(method, supernet, logits, weight_optimiser(method, supernet), adam)


def arch_optimiser(settings: ArchOptimiser, logits: Logits, device: torch.device) -> torch.optim.Adam:
    """Return a fresh optimiser of the logits, with a group by name for each of their tensors."""
    return torch.optim.Adam(
        [{"params": [tensor], "name": name} for name, tensor in logits.named().items()],
        lr=settings.lr,
        betas=(settings.beta1, settings.beta2),
        weight_decay=settings.weight_decay,
        capturable=device.type == "cuda",
    )
