"""From a trained student to the rows of an artifact."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from topiccore.artifact import Index, build_index
from training.features import QueryFeatures


def fold(coef: NDArray[np.float32], features: QueryFeatures) -> tuple[Index, NDArray[np.float32]]:
    """The ``index`` and ``rows`` of an artifact from weights float32 [labels, features].

    A word's part in a logit is (its own weights + its n-grams times their weights + its vectors
    times theirs) / sqrt(tokens): one scaled row per word.
    """
    weights = np.ascontiguousarray(coef.T)
    words, bigrams, ngrams, vectors = np.split(
        weights,
        np.cumsum([len(features.words), len(features.bigrams), features.table.ngrams.shape[1]]),
    )
    table = features.table
    buckets = np.union1d(np.union1d(features.words, features.bigrams), table.buckets)
    folded = np.zeros((len(buckets), weights.shape[1]), np.float32)
    known = table.ngrams @ ngrams
    known += table.vectors @ vectors
    folded[np.searchsorted(buckets, table.buckets)] = known
    folded[np.searchsorted(buckets, features.words)] += words
    folded[np.searchsorted(buckets, features.bigrams)] += bigrams
    index, _, scaled_rows = build_index(np.array([], np.uint32), buckets)
    rows = np.zeros_like(folded)
    rows[scaled_rows] = folded
    return index, rows
