"""Jobs that wait for each other are put on so many GPUs, event by event, and held against what arithmetic allows."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache


@dataclass(frozen=True)
class Job:
    """Work that occupies GPUs from its start to its end.

    Attributes:
        name: its own.
        seconds: how long it takes.
        gpus: how many at a time, all from the first second to the last.
        after: names of the jobs that must be done before.
    """

    name: str
    seconds: float
    gpus: int = 1
    after: tuple[str, ...] = ()


def gpu_seconds(jobs: Sequence[Job]) -> float:
    """Return the seconds of all jobs times the GPUs that each occupies."""
    return math.fsum(job.seconds * job.gpus for job in jobs)


def chains(jobs: Sequence[Job]) -> dict[str, float]:
    """Return, by name, the seconds from the start of a job to the end of the longest chain that begins with it."""
    later: dict[str, list[Job]] = {job.name: [] for job in jobs}
    for job in jobs:
        for name in job.after:
            later[name].append(job)
    known = {job.name: job for job in jobs}

    @cache
    def chain(name: str) -> float:
        return known[name].seconds + max((chain(job.name) for job in later[name]), default=0.0)

    return {name: chain(name) for name in known}


def least_seconds(jobs: Sequence[Job], gpus: int) -> float:
    """Return what no order of the jobs can undercut: the longest chain, and the work divided by the GPUs."""
    return max(max(chains(jobs).values(), default=0.0), gpu_seconds(jobs) / gpus)


def simulate(jobs: Sequence[Job], gpus: int) -> dict[str, tuple[float, float]]:
    """Return start and end in seconds of every job, by name, on ``gpus`` GPUs.

    Whenever a job ends, those whose predecessors are done start as far as GPUs are free: the one that the longest
    chain hangs on first, and where it does not fit, the next that does.

    Raises:
        ValueError: a job needs more GPUs than there are, or waits for one that never ends.
    """
    rank = chains(jobs)
    waiting = sorted(jobs, key=lambda job: -rank[job.name])
    running: list[tuple[float, str, int]] = []
    times: dict[str, tuple[float, float]] = {}
    done: set[str] = set()
    now, free = 0.0, gpus
    while waiting or running:
        for job in list(waiting):
            if job.gpus <= free and done.issuperset(job.after):
                waiting.remove(job)
                free -= job.gpus
                times[job.name] = now, now + job.seconds
                heapq.heappush(running, (now + job.seconds, job.name, job.gpus))
        if not running:
            raise ValueError(f"{waiting[0].name}: never fits on {gpus} GPUs")
        now = running[0][0]
        while running and running[0][0] == now:  # what ends together frees its GPUs together
            _, name, given_back = heapq.heappop(running)
            done.add(name)
            free += given_back
    return times


def seconds_of(jobs: Sequence[Job], gpus: int) -> float:
    """Return when the last job ends."""
    return max((end for _, end in simulate(jobs, gpus).values()), default=0.0)


def spread(jobs: Sequence[Job], share: float, seed: int) -> list[Job]:
    """Return the jobs, each longer or shorter by a factor exp(``share`` z), z drawn from N(0, 1) by ``seed``."""
    draws = random.Random(seed)
    return [replace(job, seconds=job.seconds * math.exp(share * draws.gauss(0, 1))) for job in jobs]
