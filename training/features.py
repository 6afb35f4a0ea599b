"""From query texts to the matrix the student learns from, by the kernel's own tokenizer and hash.

Columns: one per kept word bucket, one per kept bigram bucket, one per word-vector dimension.
Values: a word counts 1 (times how often it occurs); bigrams and word vectors count
1/sqrt(tokens of the query), so the vector part is sum of vectors / sqrt(tokens).  On
cross-validation this is better than the mean of the vectors and than one value for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from topiccore import _scoring
from training.vectors import WordVectors


@dataclass(frozen=True)
class QueryFeatures:
    """The columns: sorted ``words`` and ``bigrams`` (uint32 buckets), then vector dimensions."""

    words: NDArray[np.uint32]
    bigrams: NDArray[np.uint32]
    vectors: WordVectors

    @property
    def dimensions(self) -> int:
        """The word-vector dimensions: the last columns, which are dense."""
        return int(self.vectors.rows.shape[1])

    def transform(self, texts: Sequence[str]) -> sp.csr_matrix:
        """float32 CSR [texts, words + bigrams + dimensions]."""
        offsets, found, tokens = _scoring.features(texts)
        plain = np.ones(len(tokens), dtype=np.float32)
        scaled = (1.0 / np.sqrt(np.maximum(tokens, 1))).astype(np.float32)
        words = counts_by_column(offsets, found, self.words, plain)
        bigrams = counts_by_column(offsets, found, self.bigrams, scaled)
        counts = counts_by_column(offsets, found, self.vectors.buckets, scaled)
        vectors = sp.csr_matrix(counts @ self.vectors.rows)
        return sp.hstack([words, bigrams, vectors], format="csr", dtype=np.float32)


def choose_buckets(
    texts: Sequence[str], min_count_words: int, min_count_bigrams: int
) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """The (word, bigram) buckets worth a column, sorted: those seen often enough in the texts."""
    offsets, found, tokens = _scoring.features(texts)
    position = np.arange(len(found)) - np.repeat(offsets[:-1], np.diff(offsets))
    is_word = position < np.repeat(tokens, np.diff(offsets))
    words = _frequent(found[is_word], min_count_words)
    bigrams = _frequent(found[~is_word], min_count_bigrams)
    # A bucket has one kind of bag-of-words row; where hashes collide, the word stays.
    return words, np.setdiff1d(bigrams, words)


def _frequent(found: NDArray[np.uint32], least: int) -> NDArray[np.uint32]:
    buckets, counts = np.unique(found, return_counts=True)
    return buckets[counts >= least]


def counts_by_column(
    offsets: NDArray[np.int64],
    found: NDArray[np.uint32],
    columns: NDArray[np.uint32],
    value: NDArray[np.float32],
) -> sp.csr_matrix:
    """float32 CSR [queries, columns]: how often each query has each bucket, times its value.

    ``columns`` is sorted; buckets that are not in it are left out.
    """
    place = np.searchsorted(columns, found)
    place[place == len(columns)] = 0
    known = columns[place] == found if len(columns) else np.zeros(len(found), bool)
    row = np.repeat(np.arange(len(value)), np.diff(offsets))[known]
    matrix = sp.csr_matrix(
        (value[row], (row, place[known])), shape=(len(value), len(columns)), dtype=np.float32
    )
    matrix.sum_duplicates()
    return matrix
