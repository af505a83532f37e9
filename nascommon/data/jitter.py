"""A whole batch gets its colour jitter on the device, every picture its own adjustments in its own order.

In a loader process it costs as much as reading, decoding and resizing together, and more with small files. The
arithmetic is torchvision's for float pictures, nowhere rounded; Pillow's 8 bits differ by 1.3 of 255 on average.

Axes: B batch, C channels, H rows, W columns, S steps. Pixels are float, 0 to 255; factors are [B, 1, 1, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor

WHITE = 255
TINY = 1e-8
"""Stands in for the range of a gray pixel, whose hue is of no consequence."""


def jitter(images_BCHW: Tensor, steps_BS2: Tensor) -> Tensor:
    """Adjust the colours of uint8 pictures [B, C, H, W], as float32; without steps return them as they are.

    Args:
        images_BCHW: the pictures, on the device.
        steps_BS2: on the host, for every picture and step (index into ``ADJUSTMENTS``, factor).
    """
    steps = steps_BS2.shape[1]
    if steps == 0:
        return images_BCHW
    adjusted_BCHW = images_BCHW.float()
    on_device_BS2 = steps_BS2.to(images_BCHW.device, non_blocking=True)
    # Pictures with the same adjustment side by side. How many they are is counted on the host, which waits for nothing.
    order_BS = on_device_BS2[..., 0].argsort(dim=0)
    for step in range(steps):
        sizes = steps_BS2[:, step, 0].long().bincount(minlength=len(ADJUSTMENTS)).tolist()
        for adjust, rows in zip(ADJUSTMENTS.values(), torch.split(order_BS[:, step], sizes), strict=True):
            factors_B111 = on_device_BS2[rows, step, 1][:, None, None, None]
            adjusted_BCHW[rows] = adjust(adjusted_BCHW[rows], factors_B111)
    return adjusted_BCHW


def brightness(images_BCHW: Tensor, factors_B111: Tensor) -> Tensor:
    """Blend with black: [B, C, H, W] in 0 to 255, as its relatives below."""
    return (images_BCHW * factors_B111).clamp_(0, WHITE)


def contrast(images_BCHW: Tensor, factors_B111: Tensor) -> Tensor:
    """Blend with the picture's mean gray."""
    mean_B111 = _gray(images_BCHW).mean((1, 2, 3), keepdim=True)
    return torch.lerp(mean_B111, images_BCHW, factors_B111).clamp_(0, WHITE)


def saturation(images_BCHW: Tensor, factors_B111: Tensor) -> Tensor:
    """Blend every pixel with its gray."""
    return torch.lerp(_gray(images_BCHW), images_BCHW, factors_B111).clamp_(0, WHITE)


def hue(images_BCHW: Tensor, turns_B111: Tensor) -> Tensor:
    """Turn the hue of HSV by a share of the circle; gray pictures have none."""
    if images_BCHW.shape[1] == 1:
        return images_BCHW
    red, green, blue = images_BCHW.unbind(1)
    value_BHW = torch.maximum(torch.maximum(red, green), blue)
    range_BHW = value_BHW - torch.minimum(torch.minimum(red, green), blue)
    is_red, is_green = value_BHW == red, value_BHW == green
    lead_BHW = torch.where(is_red, green - blue, torch.where(is_green, blue - red, red - green))
    sector_BHW = torch.where(is_red, 0.0, torch.where(is_green, 2.0, 4.0))
    sextant_BHW = lead_BHW.div_(range_BHW.clamp(min=TINY)).add_(sector_BHW)
    # A channel is the value less the range times a trapezoid over the circle: 0 around the channel's own colour, then
    # rising to 1 and falling back. In place and without ``%``, which are the slow ways on a CPU.
    starts_C11 = torch.arange(5, 0, -2, device=images_BCHW.device)[:, None, None]  # of red, green and blue
    place_BCHW = sextant_BHW[:, None] + (6 * turns_B111 + starts_C11)
    place_BCHW.sub_((place_BCHW / 6).floor_(), alpha=6)
    trapezoid_BCHW = place_BCHW.sub_(2).abs_().neg_().add_(2).clamp_(0, 1)
    return value_BHW[:, None] - trapezoid_BCHW.mul_(range_BHW[:, None])


ADJUSTMENTS = {"brightness": brightness, "contrast": contrast, "saturation": saturation, "hue": hue}
"""Adjustments by torchvision's names and in its order."""


def _gray(images_BCHW: Tensor) -> Tensor:
    if images_BCHW.shape[1] == 1:
        return images_BCHW
    red, green, blue = images_BCHW.unbind(1)
    return (0.299 * red + 0.587 * green + 0.114 * blue)[:, None]  # ITU-R 601, as in Pillow
