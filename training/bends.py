"""A bend in a calibration: below a knee, log-odds fall more steeply (or less) than above it.

    bent(x) = x - steepness * (knee - x)    where x is below the knee, else x

A straight calibration that is right where labels are emitted says too much of labels that are next
to nothing.  It is a linear spline with one knot (Harrell 2015, Regression Modeling Strategies).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

STRAIGHT = (0.0, 0.0)
_KNEES = np.arange(-4.0, 1.01, 0.5)
_STEEPNESS = (-0.9, 20.0)
"""Above -1, so that a higher logit never has a lower score."""
_LEAST_PAIRS = 50
_LOWEST, _STEP = -24.0, 1 / 64


def bent(values: NDArray[Any], knees: Any, steepness: Any) -> NDArray[Any]:
    """Log-odds after the bend; knees and steepness are numbers or one for each column."""
    return np.asarray(values - steepness * np.maximum(knees - values, 0))


def straightened(values: NDArray[Any], knees: Any, steepness: Any) -> NDArray[Any]:
    """The inverse of ``bent``."""
    below = (values + steepness * knees) / (1 + steepness)
    return np.where(values < knees, below, values)


def fit_bend(log_odds: NDArray[np.floating[Any]], right: NDArray[np.bool_]) -> tuple[float, float]:
    """(knee, steepness) that make these pairs likeliest, each weighing the same.

    ``log_odds`` and ``right`` have one shape.  Without pairs of both kinds it is straight.
    """
    values = np.clip(log_odds.ravel(), _LOWEST, -_LOWEST)
    # A few thousand steps instead of a million pairs.
    steps = np.floor((values - _LOWEST) / _STEP).astype(np.int64)
    pairs = np.bincount(steps)
    hits = np.bincount(steps, weights=right.ravel(), minlength=len(pairs))
    centers = _LOWEST + (np.arange(len(pairs)) + 0.5) * _STEP
    if not 0 < hits.sum() < pairs.sum():
        return STRAIGHT
    found = (_loss(centers, pairs, hits), *STRAIGHT)
    for knee in _KNEES.tolist():
        below = centers < knee
        if pairs[below].sum() < _LEAST_PAIRS or not hits[below].any():
            continue

        def loss(steepness: float, knee: float = knee) -> float:
            return _loss(bent(centers, knee, steepness), pairs, hits)

        best = minimize_scalar(loss, bounds=_STEEPNESS, method="bounded")
        found = min(found, (float(best.fun), knee, float(best.x)))
    return found[1:]


def _loss(log_odds: NDArray[Any], pairs: NDArray[Any], hits: NDArray[Any]) -> float:
    return float((pairs * np.logaddexp(0, log_odds) - hits * log_odds).sum())
