"""A linear classifier on raw pixels: what any network has to beat clearly."""

from __future__ import annotations

from torch import Tensor


def linear_classifier_hits(train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> int:
    """Fit multinomial logistic regression to raw pixels and return how many test images it gets right.

    Args:
        train: normalised images [N, C, H, W] and labels [N].
        test: the same of the test set.
    """
    # Heavy to import, and only evaluation needs it.
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(train[0].flatten(1).cpu().numpy(), train[1].cpu().numpy())
    predicted = model.predict(test[0].flatten(1).cpu().numpy())
    return int((predicted == test[1].cpu().numpy()).sum())
