"""Whether scores are probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.report.intervals import wilson

BINS = 10


def reliability(scores: NDArray[np.floating[Any]], gold: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """All (query, label) pairs by score, in ``BINS`` bins of equal width, empty ones left out.

    Each has its bounds ``from`` and ``to``, its ``count``, the ``mean_score``, the share that is
    ``right`` and the 95 % ``interval`` of that share.
    """
    values, right = scores.ravel(), gold.ravel()
    place = np.minimum((values * BINS).astype(int), BINS - 1)
    rows = []
    for number in np.unique(place).tolist():
        chosen = place == number
        count, good = int(chosen.sum()), int(right[chosen].sum())
        rows.append(
            {
                "from": number / BINS,
                "to": (number + 1) / BINS,
                "count": count,
                "mean_score": round(float(values[chosen].mean()), 4),
                "right": round(good / count, 4),
                "interval": [round(x, 4) for x in wilson(good, count)],
            }
        )
    return rows
