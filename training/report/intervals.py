"""How sure a figure is: intervals of shares and of differences between two models."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

_Z = 1.96
_DRAWS = 1000
_AT_ONCE = 50


def wilson(right: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927); (0, 1) without any observation."""
    if not count:
        return 0.0, 1.0
    share = right / count
    middle = share + _Z**2 / (2 * count)
    width = _Z * float(np.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2)))
    scale = 1 + _Z**2 / count
    return max(0.0, (middle - width) / scale), min(1.0, (middle + width) / scale)


def clopper_pearson(right: int, count: int) -> tuple[float, float]:
    """The exact 95 % interval of a share (Clopper and Pearson 1934); (0, 1) without observation."""
    if not count:
        return 0.0, 1.0
    found = binomtest(right, count).proportion_ci(0.95, method="exact")
    return float(found.low), float(found.high)


def ratio(part: float, whole: float) -> float | None:
    """``part / whole`` with four digits; ``None`` of nothing."""
    return round(part / whole, 4) if whole else None


def resampled(queries: int, seed: int = 0) -> Iterator[NDArray[np.float64]]:
    """How often each query is drawn in bootstrap samples (Efron 1979), float64 [draws, queries].

    Some draws at a time, ``_DRAWS`` in all, so that memory stays small with many queries.
    """
    random = np.random.default_rng(seed)
    shares = np.full(queries, 1 / queries)
    for _ in range(_DRAWS // _AT_ONCE):
        yield random.multinomial(queries, shares, size=_AT_ONCE).astype(float)


def percentiles(draws: NDArray[np.float64]) -> list[float]:
    """The 95 % interval of bootstrap draws, as [low, high] with four digits."""
    return [round(float(value), 4) for value in np.percentile(draws, [2.5, 97.5])]
