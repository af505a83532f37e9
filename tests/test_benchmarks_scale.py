"""The plan at scale: a simulated queue obeys what arithmetic says of it, and the page shows what is computed."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from benchmarks import scale
from benchmarks.counts import KERNEL_SECONDS, Counted, counts, network_counts
from benchmarks.schedule import Job, chains, gpu_seconds, least_seconds, seconds_of, simulate, spread
from nascommon.runtime.artefacts import read_json

PAGE = Path(__file__).parents[1] / "docs" / "scale.md"


@st.composite
def queues(draw: st.DrawFn, most_gpus: int = 4) -> list[Job]:
    jobs: list[Job] = []
    for number in range(draw(st.integers(1, 12))):
        before = draw(st.lists(st.sampled_from([job.name for job in jobs]), unique=True)) if jobs else []
        seconds, gpus = draw(st.integers(1, 9)), draw(st.integers(1, most_gpus))
        jobs.append(Job(str(number), seconds, gpus, tuple(before)))
    return jobs


@settings(max_examples=40)
@given(queues(most_gpus=1))
def test_one_gpu_takes_the_sum(jobs: list[Job]) -> None:
    assert seconds_of(jobs, 1) == sum(job.seconds for job in jobs) == least_seconds(jobs, 1)


@settings(max_examples=40)
@given(queues(), st.integers(4, 9))
def test_many_gpus_obey_the_bounds_and_the_order(jobs: list[Job], gpus: int) -> None:
    times = simulate(jobs, gpus)
    end = seconds_of(jobs, gpus)
    assert set(times) == {job.name for job in jobs}
    assert end >= max(chains(jobs).values())
    assert end * gpus >= gpu_seconds(jobs)
    assert end <= sum(job.seconds for job in jobs)  # some job always runs
    for job in jobs:
        start, stop = times[job.name]
        assert stop - start == job.seconds
        assert all(times[name][1] <= start for name in job.after)
        busy = sum(other.gpus for other in jobs if times[other.name][0] <= start < times[other.name][1])
        assert busy <= gpus


def test_a_queue_by_hand() -> None:
    jobs = [Job("search", 1), Job("retrain", 2, after=("search",)), Job("transfer", 3, 2, ("search",)), Job("else", 4)]
    assert chains(jobs) == {"search": 4, "retrain": 2, "transfer": 3, "else": 4}
    assert gpu_seconds(jobs) == 13
    # Two GPUs: the pair of GPUs that the transfer needs is free when "else" ends; the retraining fills the gap.
    assert simulate(jobs, 2) == {"search": (0, 1), "else": (0, 4), "retrain": (1, 3), "transfer": (4, 7)}
    assert simulate(jobs, 3) == {"search": (0, 1), "else": (0, 4), "transfer": (1, 4), "retrain": (4, 6)}
    assert least_seconds(jobs, 2) == 6.5
    assert least_seconds(jobs, 3) == pytest.approx(13 / 3)


def test_what_ends_together_frees_its_gpus_together() -> None:
    jobs = [Job("a", 1), Job("b", 1), Job("pair", 5, 2, ("a", "b")), Job("small", 2, 1, ("a",))]
    assert simulate(jobs, 2)["pair"] == (1, 6)


def test_a_job_that_never_fits_is_refused() -> None:
    with pytest.raises(ValueError, match="wide: never fits on 2 GPUs"):
        simulate([Job("narrow", 1), Job("wide", 1, 3)], 2)


def test_durations_are_spread_by_a_seed() -> None:
    jobs = [Job(str(number), 10.0) for number in range(400)]
    assert spread(jobs, 0.1, 3) == spread(jobs, 0.1, 3) != spread(jobs, 0.1, 4)
    seconds = [job.seconds for job in spread(jobs, 0.1, 3)]
    assert sum(9 < each < 11.1 for each in seconds) / len(seconds) == pytest.approx(0.68, abs=0.06)


def test_a_step_costs_what_is_counted_times_what_such_a_step_took_beyond_its_prediction() -> None:
    now = {name: of["predicted_ms"] for name, of in read_json(scale.COUNTED).items() if isinstance(of, dict)}
    darts, pcdarts = (scale.seconds(scale.SEARCHES[name]) for name in ("darts", "pcdarts"))
    assert darts == pytest.approx(390 * 50 * now["darts"]["64"] / 1e3 * 44.982 / 31, rel=1e-4)
    assert pcdarts == pytest.approx(97 * 50 * now["pcdarts"]["256"] / 1e3 * 54.208 / 34, rel=1e-4)
    training = 520 * 600 * now["cifar10"]["96"] / 1e3 * 31.103 / 16.1
    assert scale.seconds(scale.RETRAIN) == pytest.approx(training, rel=1e-4)
    imagenet = scale.seconds(scale.TRANSFERS[1]) / 312_750
    assert imagenet == pytest.approx(now["imagenet"]["1024"] / 1e3 * 31.103 / 16.1, rel=1e-4)


def test_a_ring_sends_every_gradient_nearly_twice() -> None:
    parameters = read_json(scale.COUNTED)["imagenet"]["parameters"]
    rate, turn = scale.INSIDE
    assert scale.all_reduce_seconds("imagenet", 1) == 0
    assert scale.all_reduce_seconds("imagenet", 2) == pytest.approx(parameters * 4 / rate + 2 * turn)
    assert scale.all_reduce_seconds("imagenet", 8) == pytest.approx(1.75 * parameters * 4 / rate + 14 * turn)
    rate, turn = scale.BETWEEN
    assert scale.all_reduce_seconds("imagenet", 16) == pytest.approx(1.875 * parameters * 4 / rate + 30 * turn)


def test_a_share_never_takes_less_than_its_kernels() -> None:
    counted = read_json(scale.COUNTED)
    for work in (scale.RETRAIN, *scale.TRANSFERS):
        for ranks in (1, 2, 4, 8):
            share = str(work.batch // ranks)
            kernels = counted[work.network]["kernels"][share]
            assert counted[work.network]["predicted_ms"][share] >= 0.999e3 * kernels * KERNEL_SECONDS
            assert scale.step_seconds(work, ranks) > scale.slowness(work.case) * kernels * KERNEL_SECONDS * 0.999


def test_cores_keep_up_with_a_step() -> None:
    rate = read_json(scale.DECODED)["rates"][0]
    assert (rate["way"], rate["workers"]) == ("Pillow, as the product does", 1)
    for work in scale.TRANSFERS:
        needed = scale.cores(work) * rate["per_core"][1]
        assert needed >= work.batch / scale.step_seconds(work) > needed - rate["per_core"][1]


def test_a_plan_on_one_gpu_is_a_sum() -> None:
    for study, (methods, seeds) in scale.STUDIES.items():
        jobs = scale.protocol(study, scale.TRANSFERS[0], 1)
        assert len(jobs) == 3 * len(methods) * seeds
        assert seconds_of(jobs, 1) == pytest.approx(gpu_seconds(jobs)) == least_seconds(jobs, 1)


def test_the_page_shows_what_is_computed(tmp_path: Path) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert scale.block() in page, "renew it: python -m benchmarks.scale --page docs/scale.md"
    stale = tmp_path / "scale.md"
    stale.write_text(page.replace("predicted", "guessed"), encoding="utf-8")
    app = typer.Typer()
    app.command()(scale.main)
    assert CliRunner().invoke(app, ["--page", str(stale)]).exit_code == 0
    assert scale.block() in stale.read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_step_of_the_code_has_no_more_kernels_than_the_plan_s() -> None:
    known = read_json(scale.COUNTED)
    for name, (spec, training, side, batches) in scale.NETWORKS.items():
        no_more(network_counts(spec, training, batches[-1], side), known[name], batches[-1])
    for name, work in scale.SEARCHES.items():
        no_more(counts(name), known[name], work.batch)


def no_more(step: Counted, known: dict[str, dict[str, float]], batch: int) -> None:
    """Hold a step against what the plan counted of it."""
    assert 0 < step.kernels <= known["kernels"][str(batch)]
    assert 0 < step.seconds * 1e3 <= known["predicted_ms"][str(batch)]
