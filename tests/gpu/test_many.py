"""Networks that train at the same time on one device, a step of each in turn, end where each ends alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from benchmarks.gate import REPLAY_TOLERANCE, deviations, largest
from benchmarks.images import CLASSES, random_part
from nascommon.data.batches import Batches, evaluation_batches, training_batches
from nascommon.data.settings import Augment
from nascommon.runtime.executor import IN_LINE, Executor
from nascommon.runtime.interleaved import Interleaved
from nascommon.runtime.seeding import seed_globals
from nascommon.space.network import NetworkSpec, build_network
from nascommon.space.published import PUBLISHED
from nascommon.training.loop import Trained
from nascommon.training.many import Job, train_many
from nascommon.training.settings import TrainingSettings
from tests.gpu.small import BATCH, IMAGES

SPEC, DEEP = NetworkSpec(4, 3, CLASSES, auxiliary=False), NetworkSpec(4, 5, CLASSES)
SETTINGS = TrainingSettings(epochs=3, batch_size=BATCH, lr=0.1, drop_path=0.3)
JOBS = [
    Job("a", PUBLISHED["DARTS_V2"], SPEC, 1),
    Job("b", PUBLISHED["PDARTS"], DEEP, 2),
    Job("c", PUBLISHED["DARTS_V2"], SPEC, 3),
    Job("d", PUBLISHED["DARTS_V1"], SPEC, 4),
]
NUMBERS = (torch.float32, torch.bfloat16)


def train(does: Executor, device: torch.device, jobs: Sequence[Job] = JOBS) -> list[Trained]:
    """Train jobs; drop-path, order, crops and squares are random."""
    part = random_part(IMAGES, side=32)

    def batches(*, seed: int) -> Batches:
        return training_batches(part, BATCH, Augment(), seed=seed, device=device, cutout=8)

    results = train_many(
        jobs, SETTINGS, batches, device=device, executor=does,
        validation=lambda: evaluation_batches(part, BATCH, device=device),
    )  # fmt: skip
    whole = [result for result in results if isinstance(result, Trained)]
    assert len(whole) == len(jobs)
    return whole


def begun(job: Job) -> dict[str, torch.Tensor]:
    """Return the numbers that a job begins with."""
    seed_globals(job.seed, "network")
    return numbers(build_network(job.genotype, job.spec))


def numbers(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value for name, value in network.state_dict().items() if value.dtype in NUMBERS}


def test_interleaved_trainings_end_where_each_ends_alone(
    device: torch.device, recordings: list[tuple[int, ...]]
) -> None:
    alone = train(IN_LINE, device)
    once = len(recordings)
    together = train(Interleaved(3, device), device)
    assert len(recordings) == 2 * once == 4 * len(JOBS)  # paths are dropped from the second epoch on
    apart = [
        largest(deviations(numbers(ours.network), numbers(theirs.network), begun(job)).values())
        for job, ours, theirs in zip(JOBS, together, alone, strict=True)
    ]
    assert largest(apart) <= (REPLAY_TOLERANCE if device.type == "cuda" else 0.0), apart
    losses = [[row["train_loss"] for row in trained.rows] for trained in (*alone, *together)]
    assert len({tuple(each) for each in losses[: len(JOBS)]}) == len(JOBS), "no two of them drew alike"


def test_drawing_goes_on_as_if_nothing_had_been_trained(device: torch.device) -> None:
    torch.manual_seed(3)
    expected = torch.rand(5, device=device)
    torch.manual_seed(3)
    train(Interleaved(2, device), device, JOBS[:2])
    assert torch.equal(torch.rand(5, device=device), expected)
