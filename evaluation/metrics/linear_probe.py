from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evaluation.metrics.codes import require_same_length, require_variation, to_classes, to_finite

if TYPE_CHECKING:
    from evaluation.metrics.arrays import Values
    from evaluation.metrics.codes import Classes


@dataclass(frozen=True)
class LinearProbe:
    """How well a linear classifier tells classes from a code, and what the number depends on.

    `chance` is the accuracy on the same test examples of always naming the commonest class of the training ones.
    `converged` is False where the optimiser stopped at its limit of iterations: the accuracy is then a lower one.
    """

    accuracy: float
    chance: float
    classes: int
    train_examples: int
    test_examples: int
    converged: bool
    estimator: str


def linear_probe(
    train_means: Values,
    train_labels: Classes,
    test_means: Values,
    test_labels: Classes,
    *,
    inverse_penalty: float = 1.0,
    max_iterations: int = 1000,
) -> LinearProbe:
    """Return the test accuracy of a logistic regression on standardised posterior means.

    Means (N, K) and integer labels (N,) of a training and of a test part, which must not overlap. Units are
    standardised by the training part. The regression is multinomial with an L2 penalty of |w|² / 2C, C being
    `inverse_penalty`, beside the summed loss; its optimum is unique, so there is no seed.

    Raises:
        ValueError: lengths or numbers of units differ, a value is not finite, or the training part has one class.
    """
    from sklearn.exceptions import ConvergenceWarning  # a second to import, for those who probe
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    codes = to_finite(train_means, "the training means"), to_finite(test_means, "the test means")
    labels = to_classes(train_labels, "the training labels", 1), to_classes(test_labels, "the test labels", 1)
    for part, code, label in zip(("training", "test"), codes, labels, strict=True):
        require_same_length(f"{part} means", code, f"{part} labels", label)
    if codes[0].shape[1] != codes[1].shape[1]:
        raise ValueError(
            f"training means of {codes[0].shape[1]} units and test means of {codes[1].shape[1]}; give one code"
        )
    require_variation(labels[0], "the training label")
    regression = LogisticRegression(C=inverse_penalty, max_iter=max_iterations)
    # The result says whether it converged, where the reader of a table sees it.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        probe = make_pipeline(StandardScaler(), regression).fit(codes[0], labels[0])
    values, counts = np.unique(labels[0], return_counts=True)
    return LinearProbe(
        accuracy=float(probe.score(codes[1], labels[1])),
        chance=float((labels[1] == values[counts.argmax()]).mean()),
        classes=len(values),
        train_examples=len(codes[0]),
        test_examples=len(codes[1]),
        converged=not any(issubclass(warning.category, ConvergenceWarning) for warning in caught),
        estimator=f"logistic-regression-C{inverse_penalty:g}",
    )
