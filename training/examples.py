"""What the student learns from: labelled and annotated queries, streamed in chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from training.features import QueryFeatures
from training.student import Chunk

CHUNK = 8192
"""Queries whose features are in memory at a time."""


@dataclass(frozen=True)
class Examples:
    """Texts with targets in [0, 1], float32 CSR [texts, labels], and weights, float32 [texts]."""

    texts: list[str]
    targets: sp.csr_matrix
    weights: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.texts)

    def prior(self) -> NDArray[np.float64]:
        """The weighted mean target of each label, [labels]."""
        total = self.targets.T @ self.weights.astype(float)
        return np.asarray(total / self.weights.sum())

    def chunks(self, features: QueryFeatures, seed: int) -> Callable[[int], Iterator[Chunk]]:
        """A maker of passes over the examples, each in an order of its own."""

        def epoch(number: int) -> Iterator[Chunk]:
            order = np.random.default_rng([seed, number]).permutation(len(self))
            for start in range(0, len(order), CHUNK):
                chosen = order[start : start + CHUNK]
                sparse, dense = features.transform([self.texts[i] for i in chosen.tolist()])
                yield Chunk(sparse, dense, self.targets[chosen], self.weights[chosen])

        return epoch

    def occurrences(self, features: QueryFeatures) -> NDArray[np.int64]:
        """In how many examples each sparse feature stands, int64 [sparse features]."""
        counts = np.zeros(features.sparse_columns, np.int64)
        for start in range(0, len(self), CHUNK):
            sparse, _ = features.transform(self.texts[start : start + CHUNK])
            counts += np.bincount(sparse.indices, minlength=len(counts))
        return counts


def joined(parts: Sequence[Examples]) -> Examples:
    """All examples of several sets."""
    return Examples(
        [text for part in parts for text in part.texts],
        sp.vstack([part.targets for part in parts], format="csr"),
        np.concatenate([part.weights for part in parts]),
    )
