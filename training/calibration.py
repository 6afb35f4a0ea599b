"""Calibration: from logits to scores that are probabilities, one slope and intercept per label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.student import sigmoid

_STEPS = 25
_CLOSE_ENOUGH = 1e-5
_LEAST_SLOPE = 0.1


@dataclass(frozen=True)
class Calibration:
    """``score = sigmoid(slope * logit + intercept)``; both float32 [labels], slopes above 0."""

    slopes: NDArray[np.float32]
    intercepts: NDArray[np.float32]

    def scores(self, logits: NDArray[np.floating[Any]]) -> NDArray[Any]:
        """Probabilities, same shape as ``logits`` [queries, labels]."""
        return sigmoid(logits * self.slopes + self.intercepts)

    def logit_at(self, score: float) -> NDArray[np.float64]:
        """float64 [labels]: the logit at which each label has this score, in (0, 1)."""
        odds = np.log(score / (1 - score))
        return np.asarray((odds - self.intercepts.astype(float)) / self.slopes)


def calibrate(
    logits: NDArray[np.floating[Any]], gold: NDArray[np.bool_], prior: float = 100.0
) -> Calibration:
    """Platt scaling (Platt 1999): one slope and intercept per label, near those of all labels.

    ``logits`` and ``gold`` are [queries, labels], of queries the student has not learned from.
    One slope and intercept are fitted for all labels together first; each label's own are pulled
    to them by a normal prior of precision ``prior``, so that a label with little evidence has
    what labels have in general.
    """
    values = np.clip(np.asarray(logits, dtype=np.float32), -40, 40)
    slope, intercept = _fit(values.reshape(-1, 1), gold.reshape(-1, 1), 1.0, 0.0, 0.01)
    slopes, intercepts = _fit(values, gold, float(slope[0]), float(intercept[0]), prior)
    return Calibration(slopes.astype(np.float32), intercepts.astype(np.float32))


def _fit(
    values: NDArray[np.float32],
    gold: NDArray[np.bool_],
    slope: float,
    intercept: float,
    prior: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    # Newton's method in every column at once, from the prior's centre.
    slopes = np.full(values.shape[1], slope)
    intercepts = np.full(values.shape[1], intercept)
    for _ in range(_STEPS):
        scores = sigmoid(values * slopes.astype(np.float32) + intercepts.astype(np.float32))
        error = scores - gold
        curvature = scores * (1 - scores)
        gradient_slope = np.einsum("ql,ql->l", error, values) + prior * (slopes - slope)
        gradient_intercept = error.sum(axis=0) + prior * (intercepts - intercept)
        weighted = curvature * values
        a = np.einsum("ql,ql->l", weighted, values) + prior
        b = weighted.sum(axis=0)
        c = curvature.sum(axis=0) + prior
        determinant = a * c - b * b
        step_slope = (c * gradient_slope - b * gradient_intercept) / determinant
        step_intercept = (a * gradient_intercept - b * gradient_slope) / determinant
        # Damped: far from the optimum a full Newton step can overshoot.
        size = np.maximum(1, np.maximum(np.abs(step_slope) / 0.5, np.abs(step_intercept) / 2))
        slopes = np.maximum(slopes - step_slope / size, _LEAST_SLOPE)
        intercepts = intercepts - step_intercept / size
        if max(np.abs(step_slope).max(), np.abs(step_intercept).max()) < _CLOSE_ENOUGH:
            break
    return slopes, intercepts


def calibration_error(
    scores: NDArray[np.floating[Any]], gold: NDArray[np.bool_], bins: int = 15
) -> float:
    """Expected calibration error over all (query, label) pairs with a score of at least 0.05.

    Pairs are put into ``bins`` of equal size by score; the error is the mean distance between
    mean score and share that is right, weighted by size.  Below 0.05 nearly every pair is easy,
    and millions of them would hide what happens where decisions are made.
    """
    chosen = scores >= 0.05
    values, right = scores[chosen], gold[chosen]
    if not len(values):
        return 0.0
    order = np.argsort(values, kind="stable")
    total = sum(
        abs(float(values[part].mean()) - float(right[part].mean())) * len(part)
        for part in np.array_split(order, min(bins, len(order)))
    )
    return total / len(values)
