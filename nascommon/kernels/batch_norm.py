"""Batch norms of one or several edges; on a CPU also where the channels do not fill its vector registers.

On a GPU of NVIDIA kernels of our own normalise (``batch_norm_launch``).

ATen computes a batch norm in channels-last layout pixel by pixel, and of 36 or 4 channels most of a register stays
empty. Several pixels are therefore taken for one of as many times the channels, whose statistics are then combined
exactly (2 to 10 times faster).

Suffixes: ``B`` batch, ``C`` channels of a norm, ``D`` of several one after the other, ``H``, ``W``; ``P`` groups of
``F`` neighbouring pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from nascommon.kernels import batch_norm_launch
from nascommon.kernels.home import on_cpu
from nascommon.runtime import ranks
from nascommon.runtime.together import as_one, concatenated

LANES = 16
"""float32 numbers in a vector register of 512 bits."""
ENOUGH_CHANNELS = 128
"""Channels of a pixel from which on ATen's loop over pixels costs nothing beside the work in it."""
FEWEST_PIXELS = 2**12
"""Pixels of a batch (B x H x W) below which combining the statistics costs more than is saved."""


class BatchNorm(nn.BatchNorm2d):
    """A batch norm that can run beside others of its kind; it counts batches only while it averages them all.

    Attributes:
        seen: batches that are averaged.
    """

    seen = 0

    def reset_running_stats(self) -> None:
        """Forget all batches."""
        super().reset_running_stats()
        self.seen = 0

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return [B, C, H, W]."""
        return BatchNorm.side_by_side([self], x_BCHW)

    @staticmethod
    def side_by_side(norms: Sequence[BatchNorm], x_BDHW: Tensor, scale_D: Tensor | None = None) -> Tensor:
        """Apply several batch norms as one and return their outputs one after the other, [B, D, H, W].

        Args:
            norms: one for each equal part of the channels; all in the same mode, with the same eps and affinity.
            x_BDHW: their inputs one after the other.
            scale_D: factor of each channel of the output, such as the mixing weight of its operation. None is one.
        """
        first, shift_D = norms[0], None
        if first.affine:
            weight_D, shift_D = _stacked(norms, "weight"), _stacked(norms, "bias")
            if scale_D is None:
                scale_D = weight_D
            else:
                scale_D, shift_D = scale_D * weight_D, scale_D * shift_D
        # Running statistics are moved in place, so only those of a norm itself may be given away: a concatenation of
        # several is a copy, whose update would be lost.
        if not first.training or (len(norms) == 1 and not folds(x_BDHW) and not ranks.batch_norm_is_shared()):
            running = _stacked(norms, "running_mean"), _stacked(norms, "running_var")
            momentum = first.next_momentum() if first.training else 0.0
            if first.training and batch_norm_launch.launches(x_BDHW):
                return batch_norm_launch.normalised(x_BDHW, scale_D, shift_D, first.eps, (*running, momentum))[0]
            return functional.batch_norm(x_BDHW, *running, scale_D, shift_D, first.training, momentum, first.eps)
        out, mean_D, variance_D = normalised(x_BDHW, scale_D, shift_D, first.eps)
        update_running_statistics(norms, [mean_D], [variance_D])
        return out

    def next_momentum(self) -> float:
        """Count a batch and return the weight of its statistics; without a momentum all batches seen are averaged.

        With a momentum the batches are not counted, as nothing asks for the count: in a CUDA graph, too, the weight is
        a constant then. PyTorch's own count lies on the device, for which every batch norm would wait.
        """
        if self.momentum is not None:
            return self.momentum
        self.seen += 1
        return 1 / self.seen


def _stacked(norms: Sequence[BatchNorm], name: str) -> Tensor:
    tensors = [getattr(norm, name) for norm in norms]
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors)


@torch.no_grad()
def update_running_statistics(norms: Sequence[BatchNorm], means: Sequence[Tensor], variances: Sequence[Tensor]) -> None:
    """Let every batch norm take the statistics of its batch into its running ones.

    Args:
        norms: one after the other.
        means: theirs in this order, in parts of one norm or several.
        variances: likewise.
    """
    running, weights = running_statistics(norms), [norm.next_momentum() for norm in norms]
    together = as_one(running)
    if len(set(weights)) == 1 and together is not None:
        together.lerp_(torch.cat([*means, *variances]), weights[0])
        return
    new = [each for parts in (means, variances) for each in _of_each(norms, parts)]
    # One kernel for many tensors instead of one each: a supernet has hundreds of norms.
    if len(set(weights)) == 1:
        torch._foreach_lerp_(running, new, weights[0])
        return
    for mine, theirs, weight in zip(running, new, 2 * weights, strict=True):
        mine.lerp_(theirs, weight)


def _of_each(norms: Sequence[BatchNorm], parts: Sequence[Tensor]) -> Sequence[Tensor]:
    if len(parts) == len(norms):
        return parts
    whole_D = concatenated(parts) if len(parts) > 1 else parts[0]
    return torch.split(whole_D, [norm.num_features for norm in norms])


def running_statistics(norms: Sequence[BatchNorm]) -> list[Tensor]:
    """Return the running means of batch norms, then their running variances."""
    return [cast("Tensor", getattr(norm, name)) for name in ("running_mean", "running_var") for norm in norms]


class Statistics:
    """Those of the batch norms of a pass, all taken into the running ones at its end."""

    def __init__(self) -> None:
        self._norms: list[BatchNorm] = []
        self._means: list[Tensor] = []
        self._variances: list[Tensor] = []

    def take(self, norms: Sequence[BatchNorm], mean_D: Tensor, variance_D: Tensor) -> None:
        """Take the statistics of batch norms, those of one after the other."""
        self._norms += norms
        self._means.append(mean_D)
        self._variances.append(variance_D)

    def remember(self) -> None:
        """Let every batch norm take its own into its running ones."""
        if self._norms:
            update_running_statistics(self._norms, self._means, self._variances)


def each_normalised(x_BCHW: Tensor, batches: int, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return several batches of equal size normalised, and the statistics of each one after the other.

    Args:
        x_BCHW: training batches one after the other.
        batches: how many.
        eps: as in ``normalised``.
    """
    if batches == 1:
        return normalised(x_BCHW, None, None, eps)
    if batch_norm_launch.launches(x_BCHW, batches):
        return batch_norm_launch.normalised(x_BCHW, None, None, eps, batches=batches)
    out, mean, variance = zip(*(normalised(each, None, None, eps) for each in x_BCHW.chunk(batches)), strict=True)
    return torch.cat(out), torch.cat(mean), torch.cat(variance)


def normalised(
    x_BCHW: Tensor, scale_C: Tensor | None, shift_C: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return x normalised by its own statistics [B, C, H, W], and these: mean and unbiased variance [C].

    Where ranks share the statistics, they are those of all their batches together.

    Args:
        x_BCHW: a training batch.
        scale_C: factor after the normalisation; None is one.
        shift_C: summand after it; None is zero.
        eps: added to the (biased) variance under the root.
    """
    if ranks.batch_norm_is_shared():
        return _normalised_by_all(x_BCHW, scale_C, shift_C, eps)
    if batch_norm_launch.launches(x_BCHW):
        return batch_norm_launch.normalised(x_BCHW, scale_C, shift_C, eps)
    if folds(x_BCHW):
        mean_C, variance_C = _statistics(x_BCHW.detach())
        out: Tensor = _Normalised.apply(x_BCHW, scale_C, shift_C, mean_C, variance_C, eps)
        count = x_BCHW.numel() // x_BCHW.shape[1]
        # Normalisation uses the biased variance, running statistics the unbiased one (Bessel), as in torch.
        return out, mean_C, variance_C * (count / (count - 1))
    # ATen returns no statistics but writes running ones: with momentum 1 they are overwritten with the batch's.
    # bfloat16 inputs have float32 statistics, as in autocast.
    dtype = torch.float64 if x_BCHW.dtype == torch.float64 else torch.float32
    mean_C, variance_C = torch.zeros(2, x_BCHW.shape[1], dtype=dtype, device=x_BCHW.device).unbind()
    out = functional.batch_norm(x_BCHW, mean_C, variance_C, scale_C, shift_C, True, 1.0, eps)
    return out, mean_C, variance_C


def _normalised_by_all(
    x_BCHW: Tensor, scale_C: Tensor | None, shift_C: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Do the same with the statistics of all ranks' batches; differentiable any number of times.

    Not ``nn.SyncBatchNorm``, which has no kernel for a CPU and none for several norms at once.
    """
    wide_BCHW = x_BCHW.to(torch.promote_types(x_BCHW.dtype, torch.float32))
    pixels = wide_BCHW.new_tensor([x_BCHW.numel() / x_BCHW.shape[1]])
    sum_C, count = ranks.differentiable_sum([wide_BCHW.sum((0, 2, 3)), pixels])
    mean_C = sum_C / count
    # Two messages: squares of what is not centred would lose the variance in the rounding.
    centred_BCHW = wide_BCHW - mean_C[:, None, None]
    (squares_C,) = ranks.differentiable_sum([centred_BCHW.square().sum((0, 2, 3))])
    variance_C = squares_C / count
    out_BCHW = centred_BCHW * _product((variance_C + eps).rsqrt(), scale_C)[:, None, None]
    out_BCHW = out_BCHW if shift_C is None else out_BCHW + shift_C[:, None, None]
    return out_BCHW.to(x_BCHW.dtype), mean_C.detach(), (squares_C / (count - 1)).detach()


def folds(x_BCHW: Tensor) -> bool:
    """Return whether several neighbouring pixels are better treated as one of more channels, which only a CPU gains by.

    The input must be contiguous in channels-last layout, or a row of pixels would not be one block of memory.
    """
    channels = x_BCHW.shape[1]
    pixels = x_BCHW.numel() // channels
    return (
        channels % LANES > 0
        and on_cpu(x_BCHW)
        and x_BCHW.dtype in (torch.float32, torch.float64)
        and pixels >= FEWEST_PIXELS
        and pixels % _fold(channels) == 0
        and x_BCHW.is_contiguous(memory_format=torch.channels_last)
    )


def _fold(channels: int) -> int:
    """Return the fewest pixels, a power of two, that fill registers and are wide enough."""
    # F C must be a multiple of LANES: F = LANES / gcd(LANES, C), a power of two, since LANES is one.
    wide_enough = 1 << math.ceil(math.log2(max(ENOUGH_CHANNELS / channels, 1)))
    return max(LANES // math.gcd(LANES, channels), wide_enough)


def _rows(x_BCHW: Tensor) -> Tensor:
    """Return every ``F`` neighbouring pixels as a row: [P, F * C], a view of the same memory."""
    # In channels-last layout pixels lie one after the other, each with all its channels, so this is a mere reshape;
    # torch sees a permuted tensor, whose reshape would be a copy.
    width = _fold(x_BCHW.shape[1]) * x_BCHW.shape[1]
    return x_BCHW.as_strided((x_BCHW.numel() // width, width), (width, 1))


def _image(x_BCHW: Tensor) -> Tensor:
    """Return the same as an image, as ATen wants it: [1, F * C, P, 1]."""
    width = _fold(x_BCHW.shape[1]) * x_BCHW.shape[1]
    return x_BCHW.as_strided((1, width, x_BCHW.numel() // width, 1), (x_BCHW.numel(), 1, width, width))


def _repeated(x_C: Tensor) -> Tensor:
    return torch.cat((x_C,) * _fold(len(x_C)))


def _statistics(x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and biased variance of each channel."""
    channels = x_BCHW.shape[1]
    if x_BCHW.is_meta:  # ATen has no kernel for it
        return x_BCHW.new_empty(channels), x_BCHW.new_empty(channels)
    # The batch falls into F groups of pixels of equal size, each with a mean and a variance. The law of total variance
    # combines them exactly: the variance of the means plus the mean of the variances.
    means, variances = torch.batch_norm_update_stats(_image(x_BCHW), None, None, 0.0)
    between_C, mean_C = torch.var_mean(means.view(-1, channels), dim=0, correction=0)
    return mean_C, between_C.add_(variances.view(-1, channels).mean(0))


class _Normalised(torch.autograd.Function):
    """Normalise x by given statistics; they are those of x itself, and the gradient takes that into account."""

    @staticmethod
    def forward(
        x_BCHW: Tensor, scale_C: Tensor | None, shift_C: Tensor | None, mean_C: Tensor, variance_C: Tensor, eps: float
    ) -> Tensor:
        # (x - mean) s + shift with s = scale / deviation, as one multiply-add: s x + (shift - mean s).
        by_x_C = _product(variance_C.add(eps).rsqrt_(), scale_C)
        start_C = mean_C.mul(by_x_C).neg_() if shift_C is None else torch.addcmul(shift_C, mean_C, by_x_C, value=-1)
        out_BCHW = torch.empty_like(x_BCHW)
        torch.addcmul(_repeated(start_C), _rows(x_BCHW), _repeated(by_x_C), out=_rows(out_BCHW))
        return out_BCHW

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        del output
        x_BCHW, scale_C, _, mean_C, variance_C, ctx.eps = inputs
        ctx.save_for_backward(x_BCHW, scale_C, mean_C, variance_C)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        x_BCHW, scale_C, mean_C, variance_C = ctx.saved_tensors
        wanted = list(ctx.needs_input_grad[:3])
        inverse_C = (variance_C + ctx.eps).rsqrt_()
        slope_BCHW = slopes[0].contiguous(memory_format=torch.channels_last)
        # Gradients are recorded within a backward pass only where it shall be differentiated itself (the exact unrolled
        # gradient); ATen's own can be, and the in-place arithmetic of ours cannot.
        if torch.is_grad_enabled():
            gradients = torch.ops.aten.native_batch_norm_backward(
                slope_BCHW, x_BCHW, scale_C, None, None, mean_C, inverse_C, True, ctx.eps, wanted
            )
        else:
            gradients = _gradients(slope_BCHW, x_BCHW, scale_C, mean_C, inverse_C, wanted)
        return *(gradient if want else None for gradient, want in zip(gradients, wanted, strict=True)), None, None, None


def _product(x_C: Tensor, scale_C: Tensor | None) -> Tensor:
    return x_C if scale_C is None else x_C * scale_C


def _gradients(
    slope_BCHW: Tensor, x_BCHW: Tensor, scale_C: Tensor | None, mean_C: Tensor, inverse_C: Tensor, wanted: list[bool]
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Return the gradients of input, scale and shift."""
    # Two sums over pixels are needed, of dy and of dy xhat. In evaluation mode, where statistics are constants, ATen
    # returns just these as the gradients of shift and scale; it wants the variance and no eps, hence inverse^-2 and 0.
    sums = torch.ops.aten.native_batch_norm_backward(
        _image(slope_BCHW), _image(x_BCHW), None, _repeated(mean_C), _repeated(inverse_C**-2), None, None, False, 0.0,
        [False, True, True],
    )[1:]  # fmt: skip
    of_scale_C, of_shift_C = (each.view(-1, len(mean_C)).sum(0) for each in sums)
    if not wanted[0]:
        return None, of_scale_C, of_shift_C
    # dx = s (dy - mean(dy) - xhat mean(dy xhat)), s = scale / deviation, xhat = (x - mean) / deviation, gathered by
    # powers of x and dy: dx = start + by_x x + by_slope dy, two passes over the map instead of five.
    pixels = x_BCHW.numel() // len(mean_C)
    by_slope_C = _product(inverse_C, scale_C)
    share_C = by_slope_C / -pixels
    by_x_C = share_C * inverse_C * of_scale_C
    start_C = torch.addcmul(share_C * of_shift_C, by_x_C, mean_C, value=-1)
    out_BCHW = torch.empty_like(x_BCHW)
    out = torch.addcmul(_repeated(start_C), _rows(x_BCHW), _repeated(by_x_C), out=_rows(out_BCHW))
    out.addcmul_(_rows(slope_BCHW), _repeated(by_slope_C))
    return out_BCHW, of_scale_C, of_shift_C
