"""From a trained student to the rows of an artifact."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from topiccore.artifact import Index, build_index
from training.features import QueryFeatures


def fold(coef: NDArray[np.float32], features: QueryFeatures) -> tuple[Index, NDArray[np.float32]]:
    """The ``index`` and ``rows`` of an artifact from weights float32 [labels, columns].

    The word-vector part of a logit is (sum of vectors / sqrt(tokens)) times a matrix, which is
    the sum over tokens of (vector times matrix) / sqrt(tokens): one scaled row per word.
    """
    words, bigrams = len(features.words), len(features.bigrams)
    weights = coef.T
    by_vector = features.vectors.rows @ weights[words + bigrams :]
    # A bigram's bucket can, by a collision of hashes, be a word's with a vector: one row for both.
    scaled = np.union1d(features.bigrams, features.vectors.buckets)
    folded = np.zeros((len(scaled), weights.shape[1]), np.float32)
    folded[np.searchsorted(scaled, features.bigrams)] = weights[words : words + bigrams]
    folded[np.searchsorted(scaled, features.vectors.buckets)] += by_vector
    index, plain_rows, scaled_rows = build_index(features.words, scaled)
    rows = np.zeros((words + len(scaled), weights.shape[1]), np.float32)
    rows[plain_rows] = weights[:words]
    rows[scaled_rows] = folded
    return index, rows
