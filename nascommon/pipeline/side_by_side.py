"""Where the pieces of a stage are done, how many at a time, and with how many threads each."""

from __future__ import annotations

import torch

from nascommon.config import Params
from nascommon.runtime.executor import PROCESSES, Executor, executor
from nascommon.runtime.interleaved import Interleaved
from nascommon.runtime.ray_executor import Capacity, capacity
from nascommon.training import many
from nascommon.training.many import simultaneous


def room(params: Params, device: torch.device) -> Capacity:
    """Return how many pieces may be under way together where memory suffices, and in how many memories.

    Raises:
        UserError: not even one finds its CPUs and GPUs in the cluster, or there is none at the address.
    """
    if params.executor == PROCESSES:
        return Capacity(simultaneous(params.jobs, device, params.threads), 1)
    found = capacity(params.executor, params.threads or 1, gpus_of_each(device))
    return found if params.jobs == "auto" else Capacity(min(params.jobs, found.pieces), found.memories)


def threads_of_each(params: Params, at_a_time: int) -> int:
    """Return the CPU threads of each of several pieces; Ray shares out CPUs, of which a piece takes one unless told."""
    if params.executor == PROCESSES:
        return many.threads_of_each(params.threads, at_a_time)
    return params.threads or 1


def gpus_of_each(device: torch.device) -> int:
    """Return how many GPUs Ray gives to a piece."""
    return int(device.type == "cuda")


def executor_of(params: Params, device: torch.device, at_a_time: int) -> Executor:
    """Return what does so many pieces at a time."""
    return executor(at_a_time, threads_of_each(params, at_a_time), params.executor, gpus_of_each(device))


def share_a_gpu(params: Params, device: torch.device) -> bool:
    """Return whether pieces that are under way together compute on the same GPU."""
    return params.executor == PROCESSES and device.type == "cuda"


def threads_of_trainings(params: Params, device: torch.device, at_a_time: int) -> int:
    """Return the CPU threads of each of several trainings; those that take turns on a GPU have the same ones."""
    return threads_of_each(params, 1 if share_a_gpu(params, device) else at_a_time)


def trainer_of(params: Params, device: torch.device, at_a_time: int) -> Executor:
    """Return what trains so many networks at a time: on one GPU in this process, a step of each in turn."""
    if share_a_gpu(params, device) and at_a_time > 1:
        return Interleaved(at_a_time, device)
    return executor_of(params, device, at_a_time)
