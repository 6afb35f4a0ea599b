"""What the peers are trained on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.dataset import Dataset


def training_set(dataset: Dataset) -> tuple[list[str], NDArray[np.float32], dict[str, str]]:
    """Texts, targets (float32 [queries, labels], probabilities) and the SHA-256 of each source."""
    sums = {name: dataset.sums[name] for name in ("taxonomy", "train")}
    return list(dataset.train.texts), dataset.train.gold.astype(np.float32), sums
