"""What the weights of rows count: how much the loss bends at each of them.

A student that lacks a weight w loses about w**2 / 2 times the second derivative of the log loss
there (LeCun, Denker and Solla 1990, Optimal Brain Damage).  For a logistic regression that is the
sum of x**2 * p * (1 - p) over texts: x what the feature counts in one, p the label's score before
calibration.  A weight of a frequent word counts much, one of a label that is out of the question
hardly at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from topiccore import _scoring
from topiccore.artifact import Index
from topiccore.reference import ngram_bucket, word_ngrams
from training.features import counts_by_column
from training.student import sigmoid
from training.word_table import count_words

CHUNK = 4096


def importance(
    index: Index,
    rows: NDArray[np.float32],
    bias: NDArray[np.float32],
    texts: Sequence[str],
    ngram_lengths: tuple[int, int],
) -> NDArray[np.float16]:
    """The root of the second derivative, float16 [features, labels].

    ``index`` and ``rows`` are those of ``training.export.fold``, ``texts`` some like those to come.
    Each feature is taken to stand in one text more, by itself: what has not been seen yet comes,
    too.  An n-gram is only looked up for words without a row; words that stand in the texts once
    are taken for such.
    """
    found = np.zeros_like(rows)
    squares, times = 0.0, 0
    once = {word for word, count in count_words(texts).items() if count == 1}
    buckets = index.buckets()
    for start in range(0, len(texts), CHUNK):
        part = texts[start : start + CHUNK]
        offsets, features, tokens = _scoring.features(part)
        value = (1 / np.sqrt(np.maximum(tokens, 1))).astype(np.float32)
        known = counts_by_column(offsets, features, buckets, value)
        scores = sigmoid(known @ rows + bias)
        curvature = scores * (1 - scores)
        for matrix in (known, _ngrams(part, once, ngram_lengths, buckets, value)):
            matrix.data **= 2
            squares += float(matrix.data.sum())
            times += matrix.nnz
            columns, within = np.unique(matrix.indices, return_inverse=True)
            narrow = sp.csr_matrix(
                (matrix.data, within, matrix.indptr), shape=(len(part), len(columns))
            )
            found[columns] += narrow.T @ curvature
    usual = squares / max(times, 1)
    for start in range(0, len(rows), CHUNK):
        chunk = slice(start, start + CHUNK)
        scores = sigmoid(np.float32(np.sqrt(usual)) * rows[chunk] + bias)
        found[chunk] += np.float32(usual) * scores * (1 - scores)
    return np.sqrt(found, out=found).astype(np.float16)


def _ngrams(
    texts: Sequence[str],
    words: set[str],
    lengths: tuple[int, int],
    buckets: NDArray[np.uint32],
    value: NDArray[np.float32],
) -> sp.csr_matrix:
    # float32 CSR [texts, features]: n-grams of these words alone.
    found = [list(_buckets(text, words, lengths)) for text in texts]
    offsets = np.cumsum([0, *map(len, found)])
    listed = np.array([*chain.from_iterable(found)], np.uint32)
    return counts_by_column(offsets, listed, buckets, value)


def _buckets(text: str, words: set[str], lengths: tuple[int, int]) -> Iterator[int]:
    for word in _scoring.tokenize(text)[0]:
        if word in words:
            yield from map(ngram_bucket, word_ngrams(word, *lengths))
