"""Every candidate keeps the channels, halves the map where its stride says so, and has the papers' layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nascommon.kernels.batch_norm import BatchNorm
from nascommon.space.network import retrain_operation
from nascommon.space.operations import (
    CANDIDATES,
    OPERATIONS,
    PARAMETER_FREE,
    FactorizedReduce,
    Zero,
    relu_conv_bn,
    search_operation,
)

C = 16
PARAMS = {  # search, retrain at C = 16 and stride 1 (docs/methods.md, section 2.2)
    "none": (0, 0),
    "max_pool_3x3": (0, 0),
    "avg_pool_3x3": (0, 0),
    "skip_connect": (0, 0),
    "sep_conv_3x3": (800, 864),
    "sep_conv_5x5": (1312, 1376),
    "dil_conv_3x3": (400, 432),
    "dil_conv_5x5": (656, 688),
}


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def norms(module: nn.Module) -> list[nn.BatchNorm2d]:
    return [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]


def test_candidates_stand_in_the_order_of_the_papers() -> None:
    assert tuple(PARAMS) == CANDIDATES
    assert {name for name, (params, _) in PARAMS.items() if params == 0} == PARAMETER_FREE - {"noise"}


@pytest.mark.parametrize("name", CANDIDATES)
def test_parameter_counts_are_the_papers(name: str) -> None:
    assert count(search_operation(name, C, 1)) == PARAMS[name][0]
    assert count(retrain_operation(name, C, 1)) == PARAMS[name][1]


def test_a_skip_of_stride_two_is_a_factorized_reduction() -> None:
    assert count(search_operation("skip_connect", C, 2)) == 256
    assert count(retrain_operation("skip_connect", C, 2)) == 288
    assert isinstance(retrain_operation("skip_connect", C, 1), nn.Identity)


def test_a_skip_of_stride_one_is_an_identity_in_search_a_dropout_of_nothing() -> None:
    skip = search_operation("skip_connect", C, 1).train()
    assert isinstance(skip, nn.Dropout)
    assert skip.p == 0
    images = torch.randn(2, C, 4, 4)
    assert torch.equal(skip(images), images)
    assert torch.equal(retrain_operation("skip_connect", C, 1)(images), images)


@pytest.mark.parametrize("build", [search_operation, retrain_operation])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", OPERATIONS)
def test_channels_are_kept_and_the_map_shrinks_by_the_stride(name: str, stride: int, build: object) -> None:
    assert callable(build)
    out = build(name, 6, stride)(torch.randn(2, 6, 8, 12))
    assert out.shape == (2, 6, 8 // stride, 12 // stride)


@pytest.mark.parametrize("name", OPERATIONS)
def test_batch_norm_is_affine_in_retraining_and_not_in_search(name: str) -> None:
    for stride in (1, 2):
        assert all(not norm.affine and norm.track_running_stats for norm in norms(search_operation(name, C, stride)))
        assert all(norm.affine for norm in norms(retrain_operation(name, C, stride)))
        assert all(
            (norm.eps, norm.momentum) == (1e-5, 0.1)
            for build in (search_operation, retrain_operation)
            for norm in norms(build(name, C, stride))
        )


@pytest.mark.parametrize("name", ["max_pool_3x3", "avg_pool_3x3"])
def test_pools_are_followed_by_batch_norm_in_search_only(name: str) -> None:
    assert len(norms(search_operation(name, C, 1))) == 1
    assert norms(retrain_operation(name, C, 1)) == []
    images = torch.randn(2, C, 8, 8)
    pooled = retrain_operation(name, C, 2)(images)
    normed = search_operation(name, C, 2)(images)
    expected = (pooled - pooled.mean((0, 2, 3), keepdim=True)) / torch.sqrt(
        pooled.var((0, 2, 3), keepdim=True, unbiased=False) + 1e-5
    )
    torch.testing.assert_close(normed, expected)


def test_average_pooling_does_not_count_the_padding() -> None:
    out = retrain_operation("avg_pool_3x3", 1, 1)(torch.ones(1, 1, 4, 4))
    assert torch.equal(out, torch.ones(1, 1, 4, 4))


@pytest.mark.parametrize("stride", [1, 2])
def test_zero_is_zero_even_where_the_input_is_not_finite(stride: int) -> None:
    out = Zero(stride)(torch.full((2, 3, 8, 8), torch.inf))
    assert torch.equal(out, torch.zeros(2, 3, 8 // stride, 8 // stride))


def test_factorized_reduce_reads_the_even_pixels_and_those_one_further() -> None:
    reduce = FactorizedReduce(1, 2, affine=False).double().eval()  # running statistics 0 and 1
    for weight in reduce.parameters():
        nn.init.ones_(weight)
    pixels = torch.arange(1.0, 17.0, dtype=torch.float64).reshape(1, 1, 4, 4)
    out = reduce(pixels) * (1 + 1e-5) ** 0.5
    expected = torch.tensor([[[1.0, 3], [9, 11]], [[6, 8], [14, 16]]], dtype=torch.float64)
    torch.testing.assert_close(out[0], expected, rtol=1e-14, atol=0)


def test_factorized_reduce_applies_relu_first() -> None:
    reduce = FactorizedReduce(4, 4, affine=False).eval()
    assert not reduce(-torch.rand(1, 4, 4, 4)).any()


@pytest.mark.parametrize(("channels_in", "channels"), [(4, 6), (7, 2)])
def test_factorized_reduce_counts_as_the_papers_say(channels_in: int, channels: int) -> None:
    assert count(FactorizedReduce(channels_in, channels, affine=False)) == channels_in * channels
    assert count(FactorizedReduce(channels_in, channels)) == channels_in * channels + 2 * channels


def test_an_odd_number_of_channels_is_refused() -> None:
    with pytest.raises(ValueError, match="even number of output channels, got 3"):
        FactorizedReduce(4, 3)


def test_no_convolution_has_a_bias_and_each_is_preceded_by_relu() -> None:
    for name in OPERATIONS:
        module = search_operation(name, C, 1)
        assert all(layer.bias is None for layer in module.modules() if isinstance(layer, nn.Conv2d))
    for name in ("sep_conv_3x3", "sep_conv_5x5", "sep_conv_7x7", "dil_conv_3x3", "dil_conv_5x5", "conv_7x1_1x7"):
        layers = list(search_operation(name, C, 1).children())
        assert isinstance(layers[0], nn.ReLU)
    assert [type(layer) for layer in relu_conv_bn(3, 5)] == [nn.ReLU, nn.Conv2d, BatchNorm]


@pytest.mark.parametrize(("name", "reach"), [("sep_conv_3x3", 2), ("sep_conv_5x5", 4), ("dil_conv_3x3", 2),
                                             ("dil_conv_5x5", 4), ("sep_conv_7x7", 6)])  # fmt: skip
def test_the_receptive_field_is_that_of_the_kernel_and_its_dilation(name: str, reach: int) -> None:
    torch.manual_seed(0)
    image = torch.ones(1, 2, 17, 17, requires_grad=True)
    module = retrain_operation(name, 2, 1).eval()
    for parameter in module.parameters():
        nn.init.ones_(parameter)
    module(image)[0, 0, 8, 8].backward()
    assert image.grad is not None
    rows = image.grad[0, 0].abs().sum(1).nonzero().flatten().tolist()
    assert (min(rows), max(rows)) == (8 - reach, 8 + reach)
    step = 2 if name.startswith("dil") else 1
    assert rows == list(range(8 - reach, 9 + reach, step))
