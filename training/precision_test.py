"""Is the precision of emitted labels shown to reach a target?  An exact test on whole queries.

The labels of one query are not independent, so the draws are queries: each emits ``size`` labels,
of which ``wrong`` are wrong.  That the precision is too low says that ``wrong`` less the error
allowed times ``size`` has a mean above 0.  How likely a sum as low as the one seen then is, hangs
on more than that mean: how often queries emit several labels, and how often several of them are
wrong.  So it is asked of the worst distribution in a region that holds the true one almost surely,
and what "almost" leaves is added (Berger and Boos 1994, "P values maximized over a confidence set
for the nuisance parameter", JASA 89:427).  The region is bounded by limits of Clopper and Pearson;
as its worst distribution the one of largest variance is taken, which a linear program finds.
Where no query emits more than one label nothing is left unknown, and the test is the binomial one.

At the confidences of use this shows a precision with fewer queries than bounds that hold at every
number of queries (the betting bound of Waudby-Smith and Ramdas 2020, arXiv:2010.09686): to be
accepted as often, these need a precision further above the target by half as much again.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.special import betaincinv

MOST_PER_QUERY = 4
"""A query that emits more labels counts as so many, the wrong ones first."""
_OUTSIDE = 0.05
"""The share of the allowed error that is spent on the region not holding the true distribution."""
_FINEST = 10_000
"""The target's error is read as a fraction with a denominator up to this: four digits are exact."""


def is_precise(
    wrong: NDArray[np.integer[Any]],
    size: NDArray[np.integer[Any]],
    precision: float,
    confidence: float,
    limit: int = MOST_PER_QUERY,
) -> bool:
    """Whether emitted labels are shown to have at least that precision, at that confidence.

    ``wrong`` and ``size``, int [queries], are how many labels of each query are wrong and emitted.
    The queries are independent draws.  Of a query that emits more than ``limit`` labels only so
    many count, the wrong ones first; ``limit`` may be chosen by ``size``, not by ``wrong``.
    """
    allowed = 1 - confidence
    # Of labels that do not count some may be right: with all of them the target must hold, too.
    if not size.any() or wrong.sum() > (1 - precision) * size.sum():
        return False
    size = np.minimum(size, limit)
    wrong = np.minimum(wrong, size)[size > 0]
    size = size[size > 0]
    error = Fraction(1 - precision).limit_denominator(_FINEST)
    kinds = np.array([(s, w) for s in range(1, limit + 1) for w in range(s + 1)])
    outside = _OUTSIDE * allowed if limit > 1 else 0.0
    worst = _worst(kinds, wrong, size, float(error), outside)
    steps = kinds[:, 1] * error.denominator - kinds[:, 0] * error.numerator
    seen = int(wrong.sum()) * error.denominator - int(size.sum()) * error.numerator
    return bool(_at_most(seen, worst, steps, len(size)) + outside <= allowed)


def _worst(
    kinds: NDArray[np.int64],
    wrong: NDArray[np.integer[Any]],
    size: NDArray[np.integer[Any]],
    error: float,
    outside: float,
) -> NDArray[np.float64]:
    """The distribution of largest variance over ``kinds`` (size, wrong) with just the target's
    error, within the region; queries of one label alone are always in it."""
    values = kinds[:, 1] - error * kinds[:, 0]
    limit = int(kinds[:, 0].max())
    rows, most = [], []
    for column, numbers in enumerate((size, wrong)):
        for least in range(2, limit + 1):
            rows.append(kinds[:, column] >= least)
            count = int((numbers >= least).sum())
            most.append(_upper_limit(count, len(numbers), outside / (2 * limit - 2)))
    found = linprog(
        -(values**2),
        A_ub=np.array(rows, dtype=float) if rows else None,
        b_ub=most or None,
        A_eq=np.vstack([np.ones(len(kinds)), values]),
        b_eq=[1, 0],
        bounds=(0, 1),
        method="highs",
    )
    if not found.success:
        raise RuntimeError(f"no worst distribution was found: {found.message}")
    shares = np.clip(found.x, 0, None)
    return np.asarray(shares / shares.sum())


def _upper_limit(count: int, draws: int, error: float) -> float:
    """The upper limit of Clopper and Pearson 1934 for a share, exceeded with at most ``error``."""
    return 1.0 if count == draws else float(betaincinv(count + 1, draws - count, 1 - error))


def _at_most(seen: int, shares: NDArray[np.float64], steps: NDArray[np.int64], draws: int) -> float:
    """The probability that ``draws`` of ``steps``, drawn by ``shares``, sum to at most ``seen``.

    The mean of a draw is 0.  By convolution; what wraps around is below 1e-15.
    """
    spread = np.sqrt(draws * (shares @ steps**2))
    whole = draws * int(steps.max() - steps.min()) + 1
    needed = min(2 * whole, 2 * int(12 * spread + steps.max() - steps.min()) + 2)
    length = 1 << (needed - 1).bit_length()
    one = np.bincount(steps % length, weights=shares, minlength=length)
    sums = np.fft.irfft(np.fft.rfft(one) ** draws, length)
    half = length // 2
    up_to = np.arange(-half, half) <= seen
    return float(np.clip(np.roll(sums, half)[up_to].sum(), 0, 1))
