from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evaluation.metrics.codes import require_same_length, require_variation, to_classes, to_finite

if TYPE_CHECKING:
    from evaluation.metrics.arrays import Float64, Values
    from evaluation.metrics.codes import Classes


@dataclass(frozen=True, eq=False)
class DCI:
    """Disentanglement, completeness and informativeness of a code, each in [0, 1], and what they depend on.

    `informativeness` is the mean over factors of `accuracies`, of the classifiers on the test part; `chances` are those
    of always naming the commonest value. `importances` (K, F) is what the first two are computed from.
    """

    disentanglement: float
    completeness: float
    informativeness: float
    accuracies: tuple[float, ...]
    chances: tuple[float, ...]
    importances: Float64
    train_examples: int
    test_examples: int
    estimator: str


def dci(
    train_means: Values,
    train_factors: Classes,
    test_means: Values,
    test_factors: Classes,
    *,
    seed: int,
    trees: int = 50,
) -> DCI:
    """Return the DCI scores of posterior means (Eastwood and Williams 2018) with random forests.

    Means (N, K) and integer factors (N, F) of a training and of a test part, which must not overlap. One forest a
    factor tells its value from the means; the importance of a unit is the impurity its splits take away. All units
    are candidates at every split, so that one that tells all of a factor gets all of its importance. Scores of
    other estimators (lasso, boosting) are other numbers.

    Raises:
        ValueError: lengths, units or factors differ, a value is not finite, or a factor does not vary in training.
    """
    from sklearn.ensemble import RandomForestClassifier  # a second to import, for those who measure it

    codes = to_finite(train_means, "the training means"), to_finite(test_means, "the test means")
    tables = to_classes(train_factors, "the training factors", 2), to_classes(test_factors, "the test factors", 2)
    for part, code, table in zip(("training", "test"), codes, tables, strict=True):
        require_same_length(f"{part} means", code, f"rows of {part} factors", table)
    for name, (train, test) in {"units": codes, "factors": tables}.items():
        if train.shape[1] != test.shape[1]:
            raise ValueError(f"{train.shape[1]} {name} in training and {test.shape[1]} in the test part; give the same")
    importances, accuracies, chances = [], [], []
    for factor, (train, test) in enumerate(zip(tables[0].T, tables[1].T, strict=True)):
        require_variation(train, f"factor {factor} (column, from 0) of the training part")
        forest = RandomForestClassifier(trees, max_features=None, random_state=seed).fit(codes[0], train)
        importances.append(forest.feature_importances_)
        accuracies.append(float(forest.score(codes[1], test)))
        values, counts = np.unique(train, return_counts=True)
        chances.append(float((test == values[counts.argmax()]).mean()))
    matrix = np.stack(importances, axis=1)
    return DCI(
        disentanglement=disentanglement(matrix),
        completeness=completeness(matrix),
        informativeness=float(np.mean(accuracies)),
        accuracies=tuple(accuracies),
        chances=tuple(chances),
        importances=matrix,
        train_examples=len(codes[0]),
        test_examples=len(codes[1]),
        estimator=f"random-forest-{trees}",
    )


def disentanglement(importances: Float64) -> float:
    """Return Σ_i ρ_i (1 - H_F(P_i)) of importances (K, F): 1 where each unit serves one factor.

    P_i is row i over its sum, H_F its entropy to the base F, ρ_i the row's share of all importance (Eastwood and
    Williams 2018, section 2). A matrix of zeros scores 0. Raises ValueError where an importance is negative.
    """
    if importances.min() < 0:
        raise ValueError(f"an importance is {importances.min():g}; give absolute values")
    total = importances.sum()
    if total == 0:
        return 0.0
    rows = importances.sum(axis=1, keepdims=True)
    shares = np.divide(importances, rows, out=np.zeros_like(importances), where=rows > 0)
    surprises = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    # A single factor has all of every row.
    entropies = -(shares * surprises).sum(axis=1) / math.log(max(2, importances.shape[1]))
    return float((rows[:, 0] / total) @ (1 - entropies))


def completeness(importances: Float64) -> float:
    """Return the same of the columns of importances (K, F): 1 where each factor is served by one unit.

    Each factor weighs as its share of all importance, which is the plain mean where importances of a factor add up
    to 1, as those of forests do.
    """
    return disentanglement(importances.T)
