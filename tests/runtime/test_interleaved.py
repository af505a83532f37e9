"""Pieces that take turns in one process compute what each computes alone, and disturb nobody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from nascommon.runtime import interleaved
from nascommon.runtime.executor import IN_LINE, Piece, Tell
from nascommon.runtime.interleaved import Interleaved
from nascommon.runtime.steps import Steps, finished
from nascommon.settings import UserError

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def benchmark() -> Iterator[None]:
    before = torch.backends.cudnn.benchmark
    yield
    torch.backends.cudnn.benchmark = before


def draws(number: int, tell: Tell) -> Steps[list[float]]:
    """Draw a number in each of so many steps from a seed of its own."""
    torch.manual_seed(number)
    torch.backends.cudnn.benchmark = number % 2 == 0
    drawn = []
    for step in range(number):
        drawn.append(float(torch.rand(())))
        assert torch.backends.cudnn.benchmark == (number % 2 == 0)
        tell((number, step))
        yield
    return drawn


def square(number: int, _tell: Tell) -> int:
    return number**2


def pieces(*numbers: int) -> list[Piece[list[float]]]:
    return [Piece(f"piece {number}", draws, (number,)) for number in numbers]


def test_steps_come_to_a_result() -> None:
    said: list[object] = []
    assert len(finished(draws(3, said.append))) == 3
    assert said == [(3, 0), (3, 1), (3, 2)]


def test_pieces_take_turns_and_each_draws_as_if_it_were_alone() -> None:
    alone = IN_LINE.run(pieces(3, 2, 4, 1))
    told: list[tuple[int, int]] = []
    ended: list[int] = []
    torch.manual_seed(7)
    expected = torch.rand(2)
    torch.manual_seed(7)
    torch.backends.cudnn.benchmark = True
    results = Interleaved(2, CPU).run(
        pieces(3, 2, 4, 1),
        on_message=lambda _index, said: told.append(said),
        on_result=lambda index, _result: ended.append(index),
    )
    assert results == alone
    assert told == [(3, 0), (2, 0), (3, 1), (2, 1), (3, 2), (4, 0), (1, 0), (4, 1), (4, 2), (4, 3)]
    assert ended == [1, 0, 3, 2]
    assert torch.equal(torch.rand(2), expected), "whoever asked for it draws on where he was"
    assert torch.backends.cudnn.benchmark


def test_what_does_not_pause_is_done_as_well() -> None:
    assert Interleaved(2, CPU).run([Piece("a", square, (3,)), Piece("b", square, (4,))]) == [9, 16]
    assert Interleaved(2, CPU).run(list[Piece[int]]()) == []


class GeneratorOfAGpu:
    """Has a state that can be exchanged, as PyTorch's has, but not on a CPU."""

    def __init__(self, state: list[str]) -> None:
        self.state = state

    def graphsafe_get_state(self) -> GeneratorOfAGpu:
        return GeneratorOfAGpu(self.state)

    def graphsafe_set_state(self, other: GeneratorOfAGpu) -> None:
        self.state = other.state

    def clone_state(self) -> GeneratorOfAGpu:
        return GeneratorOfAGpu(list(self.state))


def test_on_a_gpu_each_piece_has_a_stream_and_a_state_of_the_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    generator, current, gone_on = GeneratorOfAGpu(["outside"]), ["default"], list[tuple[str, list[str], str]]()

    @contextmanager
    def on(stream: Any) -> Iterator[None]:
        current.append(stream.name)
        try:
            yield
        finally:
            current.pop()

    def stream(_device: torch.device, number: int) -> Any:
        return SimpleNamespace(name=f"stream {number}", wait_stream=lambda other: waited.append((number, other)))

    def draws_there(name: str, _tell: Tell) -> Steps[str]:
        for _ in range(2):
            generator.state.append(name)
            gone_on.append((name, list(generator.state), current[-1]))
            yield
        return current[-1]

    waited: list[tuple[int, str]] = []
    monkeypatch.setattr(interleaved, "_stream", stream)
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "default_generators", (generator,))
    monkeypatch.setattr(torch.cuda, "stream", on)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _device: current[-1])
    works: list[Piece[str]] = [Piece(name, draws_there, (name,)) for name in "abc"]
    assert Interleaved(2, torch.device("cuda")).run(works) == ["stream 0", "stream 1", "stream 0"]
    assert gone_on == [
        ("a", ["outside", "a"], "stream 0"),
        ("b", ["outside", "b"], "stream 1"),
        ("a", ["outside", "a", "a"], "stream 0"),
        ("b", ["outside", "b", "b"], "stream 1"),
        ("c", ["outside", "a", "a", "c"], "stream 0"),
        ("c", ["outside", "a", "a", "c", "c"], "stream 0"),
    ]
    assert waited == [(0, "default"), (1, "default"), (0, "default")]
    assert (generator.state, current) == (["outside"], ["default"])


class StopError(Exception):
    pass


def test_a_piece_that_fails_ends_the_others_where_they_are() -> None:
    left: list[str] = []

    def waits(_tell: Tell) -> Steps[int]:
        try:
            while True:
                yield
        finally:
            left.append("closed")

    def stops(_tell: Tell) -> Steps[int]:
        torch.manual_seed(1)
        yield
        raise StopError

    before = torch.default_generator.get_state()
    works: list[Piece[int]] = [Piece("waits", waits), Piece("stops", stops), Piece("waits too", waits)]
    with pytest.raises(StopError):
        Interleaved(3, CPU).run(works)
    assert left == ["closed", "closed"]
    assert torch.equal(torch.default_generator.get_state(), before)


def fills(_tell: Tell) -> Steps[int]:
    yield
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore")


def test_full_memory_names_the_piece_and_what_to_set() -> None:
    works: list[Piece[int]] = [Piece("random_007", fills), Piece("other", fills)]
    with pytest.raises(UserError) as raised:
        Interleaved(2, CPU).run(works)
    assert str(raised.value) == (
        "random_007: the memory of the GPU is full (CUDA out of memory. Tried to allocate 2 GiB) with 2 networks at a "
        "time; set jobs to a lower number"
    )
