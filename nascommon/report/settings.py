"""The section ``evaluate`` of params.yaml."""

from __future__ import annotations

from nascommon.settings import BatchSize, Settings


class EvaluateSettings(Settings):
    """The section ``evaluate``: the only stage that reads test images."""

    batch_size: BatchSize = 500
    linear_classifier: bool = False
    """Fit a linear classifier to the raw pixels for comparison; meant for small sets in memory."""
    published_protocol: bool = False
    """True where retrain follows the papers' CIFAR-10 protocol: published random architectures are a fair null then."""
