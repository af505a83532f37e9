"""Banks are the convolutions that they stand for, by plain operators and by the kernels of a GPU alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from nascommon.kernels import bank_launch
from nascommon.kernels.average import AveragePool
from nascommon.kernels.bank import Bank, Kind, beside
from nascommon.kernels.handed import Handed
from nascommon.kernels.home import meta_stands_for
from nascommon.kernels.pools import Pools
from tests.kernels import chain
from tests.kernels.in_interpreter import passes_in_interpreter, passes_when_compiled
from tests.operations import Operations

KINDS = (Kind(3, 1, 2), Kind(5, 2, 1))


def given(bank: Bank, channels: int = 3, size: tuple[int, int, int] = (2, 6, 5)) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    taken = channels if bank.shared else channels * len(bank.kinds)
    x = torch.randn(size[0], taken, *size[1:], dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    return x.requires_grad_(), torch.randn(bank.taps * channels, dtype=torch.float64).requires_grad_()


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("rectified", [True, False])
def test_the_outputs_are_those_of_single_convolutions(stride: int, rectified: bool) -> None:
    x, kernels = given(Bank(KINDS))
    seen = x.relu() if rectified else x
    third = kernels[54:].view(25, 3)
    # Of the first kind a tap has the kernels of both groups, one after the other.
    taps = kernels[:54].view(9, 6)
    first, second = taps[:, :3], taps[:, 3:]
    expected = [
        functional.conv2d(seen, each.t().reshape(3, 1, side, side), None, stride, padding, dilation, 3)
        for each, side, padding, dilation in ((first, 3, 1, 1), (second, 3, 1, 1), (third, 5, 4, 2))
    ]
    out = beside([(Bank(KINDS, stride, rectified=rectified), x, kernels)])
    torch.testing.assert_close(out, torch.cat(expected, dim=1), rtol=0, atol=1e-12)


def test_kinds_have_channels_of_their_own() -> None:
    bank = Bank((Kind(3, 1), Kind(3, 2)), shared=False)
    x, kernels = given(bank)
    parts = zip(torch.split(x, 3, dim=1), torch.split(kernels, 27), bank.kinds, strict=True)
    expected = [beside([(Bank((kind,)), channels.contiguous(), part)]) for channels, part, kind in parts]
    torch.testing.assert_close(beside([(bank, x, kernels)]), torch.cat(expected, dim=1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("bank", [Bank(KINDS, 2), Bank((Kind(3, 1), Kind(3, 2)), shared=False)])
def test_batches_of_a_map_have_kernels_of_their_own(bank: Bank) -> None:
    x, kernels = given(bank, size=(6, 6, 5))
    kernels = torch.cat([times * kernels for times in (1, 2, 3)])
    apart = [beside([(bank, *each)]) for each in zip(x.chunk(3), kernels.chunk(3), strict=True)]
    assert torch.equal(beside([(bank, x, kernels)]), torch.cat(apart))


@pytest.mark.parametrize("stride", [1, 2])
def test_banks_and_pools_stand_beside_each_other(stride: int) -> None:
    bank, pools = Bank(KINDS, stride), Pools((AveragePool(3, stride, 1), nn.MaxPool2d(3, stride, 1)))
    x, kernels = given(bank)
    one, mean, most = beside([(bank, x, kernels)]), *(module(x) for module in pools.modules)
    assert torch.equal(beside([(bank, x, kernels)] * 2, (pools, x)), torch.cat([one, one, mean, most], dim=1))
    assert torch.equal(beside([], (pools, x)), torch.cat([mean, most], dim=1))


@pytest.mark.parametrize("every", [pytest.param("--all", marks=pytest.mark.slow), "--few"])
def test_the_kernels_of_a_gpu_equal_plain_operators_in_float64(every: str) -> None:
    passes_in_interpreter("tests.kernels.interpreted", every)


@pytest.mark.slow
def test_triton_takes_all_launches_and_compiles_them() -> None:
    """Those of pools and batch norms, too."""
    passes_when_compiled()


def meta(dtype: torch.dtype = torch.bfloat16, side: int = 8) -> Tensor:
    return torch.empty(2, 3, side, side, device="meta", dtype=dtype)


def test_a_gpu_takes_the_kernels_for_what_they_know(monkeypatch: pytest.MonkeyPatch) -> None:
    bank = Bank(KINDS)
    assert not bank_launch.launches(bank, meta())
    with meta_stands_for("cuda"):
        assert bank_launch.launches(bank, meta())
        assert not bank_launch.launches(bank, meta(torch.float64))
        assert not bank_launch.launches(bank, meta(side=2**15))
        unknown = (Kind(9, 1), Kind(3, 5), Kind(3, 1, 9))
        assert not any(bank_launch.launches(Bank((kind,)), meta()) for kind in unknown)
        assert not bank_launch.launches(Bank((Kind(3, 1),) * 5), meta())
        monkeypatch.setattr(bank_launch, "triton_is_there", lambda _: False)
        assert not bank_launch.launches(bank, meta())


def test_places_that_do_not_fit_into_32_bits_are_not_given_to_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether several outputs lie beside each other in one map, or a map is part of a wider one."""
    x, bank, kernels = meta(), Bank((Kind(3, 1, 2),)), torch.empty(54, device="meta", requires_grad=True)
    part = torch.empty(2, 8, 8, 15, device="meta", dtype=x.dtype).permute(0, 3, 1, 2)[:, :3]
    assert bank_launch.pitched(part) is part
    monkeypatch.setattr(bank_launch, "LARGEST", 4 * x.numel())
    assert bank_launch.pitched(part).is_contiguous(memory_format=torch.channels_last)
    with meta_stands_for("cuda"):
        for count, launched in ((1, True), (2, False)):
            out = beside([(bank, x, kernels)] * count)
            assert (type(out.grad_fn).__name__ == "_BesideBackward") == launched
        for times, launched in ((3, True), (4, False)):  # the gradient is part of that of a wider map, too
            state = Handed(torch.cat([x] * times, dim=1), x.shape[1])
            out = beside([(bank, state, kernels)])
            assert (type(out.grad_fn).__name__ == "_BesideBackward") == launched


def test_kernels_need_not_lie_one_after_the_other(as_if_launched: None, monkeypatch: pytest.MonkeyPatch) -> None:
    bank = Bank(KINDS)
    x, kernels = given(bank)
    launched = bank_launch.forward

    def forward(bank: Bank, x: Tensor, kernels: Tensor, out: Tensor, start: int) -> None:
        assert kernels.is_contiguous()
        launched(bank, x, kernels, out, start)

    monkeypatch.setattr(bank_launch, "forward", forward)
    apart = torch.stack([kernels, kernels], dim=1)[:, 0]
    assert torch.equal(beside([(bank, x, apart)]), beside([(bank, x, kernels)]))


@pytest.fixture
def as_if_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let float64 on a CPU take the way of the kernels, whose passes plain operators compute."""

    def forward(bank: Bank, x: Tensor, kernels: Tensor, out: Tensor, start: int) -> None:
        made = bank.plain(x, kernels)
        out[:, start : start + made.shape[1]] = made

    def gradient(slope: Tensor, source: bank_launch.Source, place: int) -> Tensor:
        bank, x, kernels, start = source
        given = [each.detach().requires_grad_() for each in (x, kernels)]
        with torch.enable_grad():
            out = bank.plain(*given)
        return torch.autograd.grad(out, given[place], slope[:, start : start + out.shape[1]])[0]

    def of_input(slope: Tensor, source: bank_launch.Source, out: Tensor, adds: bool) -> None:
        write(out, gradient(slope, source, 0), adds)

    def of_kernels(slope: Tensor, sources: Sequence[bank_launch.Source]) -> list[Tensor]:
        return [gradient(slope, source, 1) for source in sources]

    monkeypatch.setattr(bank_launch, "launches", lambda *_: True)
    monkeypatch.setattr(bank_launch, "forward", forward)
    monkeypatch.setattr(bank_launch, "input_gradient", of_input)
    monkeypatch.setattr(bank_launch, "kernel_gradients", of_kernels)
    pools_launch_as_plain(monkeypatch)


def write(out: Tensor, of_input: Tensor, adds: bool) -> None:
    """Write a gradient as kernels do, which only a map whose pixels lie at equal distances is given to."""
    assert bank_launch.pitched(out) is out
    out.copy_(out + of_input if adds else of_input)


def pools_launch_as_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(pools: Pools, x: Tensor, out: Tensor) -> Tensor:
        out.copy_(pools.plain(x))
        places = functional.max_pool2d(x, 3, pools.stride, 1, return_indices=True)[1]
        rows, columns = (torch.arange(side) * pools.stride - 1 for side in out.shape[2:])
        taps = 3 * (places // x.shape[3] - rows[:, None]) + places % x.shape[3] - columns
        return taps.to(torch.uint8)

    def gradient(pools: Pools, slope: Tensor, taps: Tensor, out: Tensor, adds: bool) -> None:
        vector = torch.zeros(out.shape, dtype=out.dtype, requires_grad=True)
        with torch.enable_grad():
            made = pools.along(vector, taps)
        write(out, torch.autograd.grad(made, vector, slope)[0], adds)

    monkeypatch.setattr(Pools, "launches", lambda *_: True)
    monkeypatch.setattr("nascommon.kernels.bank.pools_forward", forward)
    monkeypatch.setattr("nascommon.kernels.bank.pools_gradient", gradient)


@pytest.mark.usefixtures("as_if_launched")
@pytest.mark.parametrize("alike", [True, False])
def test_gradients_of_banks_and_pools_beside_each_other_can_be_differentiated_again(alike: bool) -> None:
    """Of the map of a bank, too, where the pools read the same."""
    shared, own, size = Bank((Kind(3, 1, 2),)), Bank((Kind(3, 1),), shared=False), (1, 2, 2)
    pools = Pools((nn.MaxPool2d(3, 1, 1), AveragePool(3, 1, 1)))
    (x, kernels), (y, more) = given(shared, 1, size), given(own, 1, size)
    other = torch.randn(1, 1, 2, 2, dtype=torch.float64, requires_grad=True)

    def computed(x: Tensor, kernels: Tensor, y: Tensor, more: Tensor, other: Tensor) -> Tensor:
        return beside([(shared, x, kernels), (own, y, more)], (pools, x if alike else other)) + other

    assert torch.autograd.gradcheck(computed, (x, kernels, y, more, other))
    assert torch.autograd.gradgradcheck(computed, (x, kernels, y, more, other))


@pytest.mark.usefixtures("as_if_launched")
@pytest.mark.parametrize("wanted", [1, 2])
def test_gradients_of_batches_with_kernels_of_their_own_can_be_differentiated_again(wanted: int) -> None:
    """Those of the map alone, and of the kernels, too."""
    bank = Bank((Kind(3, 1, 2),))
    x, kernels = given(bank, 1, (2, 2, 2))
    both = x, torch.cat([kernels, -2 * kernels]).detach().requires_grad_()

    def computed(*some: Tensor) -> Tensor:
        x, kernels = (*some, *(each.detach() for each in both[wanted:]))
        return beside([(bank, x, kernels)])

    assert torch.autograd.gradcheck(computed, both[:wanted])
    assert torch.autograd.gradgradcheck(computed, both[:wanted])


@pytest.mark.usefixtures("as_if_launched")
def test_a_gradient_that_nobody_wants_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, kernels = given(Bank(KINDS))

    def refuse(_: Tensor, sources: Sequence[bank_launch.Source]) -> list[Tensor]:
        assert not sources, "the gradient of the kernels was computed"
        return []

    monkeypatch.setattr(bank_launch, "kernel_gradients", refuse)
    torch.autograd.grad(beside([(Bank(KINDS), x, kernels.detach())]).sum(), x)


def test_a_map_is_read_where_it_lies() -> None:
    wide = torch.empty(2, 8, 6, 5).contiguous(memory_format=torch.channels_last)
    assert bank_launch.pitched(wide) is wide
    part = wide[:, 2:4]
    assert bank_launch.pitched(part) is part
    assert bank_launch.pitched(torch.empty(2, 8, 6, 5)).is_contiguous(memory_format=torch.channels_last)
    assert bank_launch.pitched(wide[:, :, ::2]).is_contiguous(memory_format=torch.channels_last)
    assert bank_launch.pitched(torch.empty(2, 3, 1, 1)).stride() == (3, 1, 3, 3)


def both(channels: int, all_of_them: int, readers: str) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Return inputs, what readers make of a state that each hands on, and what each makes of it by itself."""
    torch.manual_seed(0)
    given = chain.inputs(channels, all_of_them)
    apart = [out for reader in readers.split() for out in chain.outputs(channels, given, reader)]
    return given, chain.outputs(channels, given, readers), apart


@pytest.mark.usefixtures("as_if_launched")
@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("readers", ["first last product", "first last", "last product", "first product", "last"])
def test_a_state_that_its_readers_hand_on_has_the_sum_of_their_gradients(channels: int, readers: str) -> None:
    given, outs, apart = both(channels, 4, readers)
    torch.testing.assert_close(outs, apart)
    slopes = chain.slopes(outs)
    kept = [slope.clone() for slope in slopes]
    for wanted in (given, given[:1], given[1:]):
        expected = torch.autograd.grad(apart, wanted, slopes, retain_graph=True, allow_unused=True)
        for _ in range(2):  # nothing that is kept for the second time has been added to
            found = torch.autograd.grad(outs, wanted, slopes, retain_graph=True, allow_unused=True)
            torch.testing.assert_close(found, expected)
    torch.testing.assert_close(slopes, kept, rtol=0, atol=0)


@pytest.mark.usefixtures("as_if_launched")
@pytest.mark.parametrize("channels", [2, 4])
def test_a_node_that_is_read_where_it_lies_has_the_sum_of_the_gradients(channels: int) -> None:
    given, _, apart = both(channels, 4, "first last product")
    outs, x = chain.node_outputs(channels, given), given[0]
    apart[-1] = torch.cat([torch.zeros_like(x), x, apart[-1]], dim=1)
    torch.testing.assert_close(outs, apart)
    slopes = chain.slopes(outs)
    expected = torch.autograd.grad(apart, given, slopes)
    for _ in range(2):
        found = torch.autograd.grad(outs, given, slopes, retain_graph=True)
        torch.testing.assert_close(found, expected)


@pytest.mark.usefixtures("as_if_launched")
@pytest.mark.parametrize("way", [chain.outputs, chain.node_outputs])
@pytest.mark.parametrize("channels", [1, 2])
def test_the_gradient_of_a_state_that_is_handed_on_can_be_differentiated_again(channels: int, way: chain.Way) -> None:
    torch.manual_seed(0)
    given = chain.inputs(channels, 2, (2, 2))
    # Along a random direction of all inputs instead of along each of them, one by one.
    assert torch.autograd.gradgradcheck(lambda *given: tuple(way(channels, given)), given, fast_mode=True)


@pytest.mark.usefixtures("as_if_launched")
@pytest.mark.parametrize("way", [chain.outputs, chain.node_outputs])
@pytest.mark.parametrize("wanted", [[0, 1], [0], [1]])
def test_so_can_that_of_some_maps_alone(wanted: list[int], way: chain.Way) -> None:
    """Of which gradients are linear in those of the outputs: kernels of a GPU compute both."""
    torch.manual_seed(0)
    given = [each.detach() for each in chain.inputs(1, 2, (2, 2))]
    maps = [given[place].requires_grad_() for place in wanted]

    def computed(*maps: Tensor) -> tuple[Tensor, ...]:
        moved = [maps[wanted.index(place)] if place in wanted else each for place, each in enumerate(given)]
        return tuple(out for out in way(1, moved) if out.requires_grad)

    assert torch.autograd.gradgradcheck(computed, maps, fast_mode=True)


@pytest.mark.usefixtures("as_if_launched")
def test_nobody_adds_to_the_gradient_of_a_state_that_is_taken_out() -> None:
    """By whom it was asked for, or by a hook; nor to that of a state that somebody else reads, too."""
    given, _, _ = both(2, 4, "")
    state, hooked = given[0] * 2, list[Tensor]()
    state.register_hook(hooked.append)  # type: ignore[no-untyped-call]
    outs = [*chain.outputs(2, [state, *given[1:]]), state.sin()]
    slopes = chain.slopes(outs)
    of_state, of_leaf = torch.autograd.grad(outs, [state, given[0]], slopes, retain_graph=True)
    then = of_state.clone()
    torch.autograd.grad(outs, given, slopes)
    torch.testing.assert_close([of_leaf / 2, *hooked], [then] * 3, rtol=0, atol=0)
    assert torch.equal(of_state, then)


def test_gradients_of_readers_are_added_where_they_lie() -> None:
    given = chain.inputs(2, 4, dtype=torch.bfloat16, device="meta")
    with meta_stands_for("cuda"), Operations() as done:
        outs = chain.outputs(2, given)
        slopes = [torch.empty_like(out) for out in outs]
        done.names.clear()
        torch.autograd.grad(outs, given, slopes)
    of_kernels = ["new_empty", "bank_kernel_gradient", "sum"]
    assert done.names == [
        "mm", "mm", "new_empty", "bank_input_gradient", "bank_input_gradient", "pools_gradient", *of_kernels[:2],
        *of_kernels[1:], "bank_input_gradient", *of_kernels,
    ]  # fmt: skip


def test_a_state_that_needs_no_gradient_costs_none() -> None:
    given = chain.inputs(2, 4, dtype=torch.bfloat16, device="meta")
    given[0] = given[0].detach()
    with meta_stands_for("cuda"), Operations() as done:
        outs = chain.outputs(2, given)
        torch.autograd.grad(outs, given[1:], [torch.empty_like(out) for out in outs])
    found = Counter(done.names)
    assert (found["mm"], found["bank_input_gradient"], found["bank_kernel_gradient"]) == (2, 1, 3)
    assert found["pools_gradient"] == 0
