"""From query texts to the matrices the student learns from, by the kernel's tokenizer and hash.

Sparse columns: one per kept word bucket, one per kept bigram bucket, one per character n-gram;
dense columns: the word-vector dimensions.  Every word and bigram of a query counts
1/sqrt(tokens of the query), and what is known of a word (its n-grams and vectors) counts with it.
Of a word that is not in the table, its n-grams count.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from topiccore import _scoring
from topiccore.reference import words_with_ngrams
from training.bounded_counts import BucketCounts
from training.word_table import WordTable


@dataclass(frozen=True)
class QueryFeatures:
    """The columns: sorted ``words`` and ``bigrams`` (uint32 buckets), then those of ``table``."""

    words: NDArray[np.uint32]
    bigrams: NDArray[np.uint32]
    table: WordTable

    @property
    def sparse_columns(self) -> int:
        """Words, bigrams and n-grams."""
        return len(self.words) + len(self.bigrams) + int(self.table.ngrams.shape[1])

    @property
    def bigram_columns(self) -> slice:
        """Where the bigrams are."""
        return slice(len(self.words), len(self.words) + len(self.bigrams))

    @property
    def dimensions(self) -> int:
        """The dense columns."""
        return int(self.table.vectors.shape[1])

    def transform(self, texts: Sequence[str]) -> tuple[sp.csr_matrix, NDArray[np.float32]]:
        """Float32 CSR [texts, ``sparse_columns``] and float32 [texts, ``dimensions``]."""
        offsets, found, tokens = _scoring.features(texts)
        value = (1.0 / np.sqrt(np.maximum(tokens, 1))).astype(np.float32)
        known = counts_by_column(offsets, found, self.table.buckets, value)
        ngrams = known @ self.table.ngrams + self._unknown_ngrams(texts, offsets, found, tokens)
        sparse = sp.hstack(
            [
                counts_by_column(offsets, found, self.words, value),
                counts_by_column(offsets, found, self.bigrams, value),
                ngrams,
            ],
            format="csr",
            dtype=np.float32,
        )
        return sparse, np.asarray(known @ self.table.vectors, dtype=np.float32)

    @cached_property
    def _known(self) -> NDArray[np.uint32]:
        # The buckets that have a row once the student is exported.
        return np.union1d(np.union1d(self.words, self.bigrams), self.table.buckets)

    def _unknown_ngrams(
        self,
        texts: Sequence[str],
        offsets: NDArray[np.int64],
        found: NDArray[np.uint32],
        tokens: NDArray[np.int32],
    ) -> sp.csr_matrix:
        # The n-grams of words without a row, which the kernel looks up one by one.
        row = np.repeat(np.arange(len(texts)), np.diff(offsets))
        is_word = np.arange(len(found)) - offsets[row] < tokens[row]
        unknown = is_word & ~_among(self._known, found)
        rows: list[int] = []
        words: list[str] = []
        for place in np.unique(row[unknown]).tolist():
            split = _scoring.tokenize(texts[place])[0]
            own = words_with_ngrams(split, self._is_known)
            words += own
            rows += [place] * len(own)
        value = 1.0 / np.sqrt(np.maximum(tokens[rows], 1))
        places = sp.csr_matrix(
            (value.astype(np.float32), (rows, np.arange(len(words)))),
            shape=(len(texts), len(words)),
        )
        return places @ self.table.ngram_rows(words)

    def _is_known(self, bucket: int) -> bool:
        return bool(_among(self._known, np.array([bucket], np.uint32))[0])


def _among(buckets: NDArray[np.uint32], found: NDArray[np.uint32]) -> NDArray[np.bool_]:
    # Whether each of ``found`` is in the sorted ``buckets``, which np.isin would sort each time.
    place = np.searchsorted(buckets, found)
    place[place == len(buckets)] = 0
    return buckets[place] == found if len(buckets) else np.zeros(len(found), bool)


MOST_WORDS, MOST_BIGRAMS = 300_000, 300_000
"""Columns of each kind, at most: the most frequent ones."""


def choose_buckets(
    batches: Iterable[Sequence[str]], min_count_words: int, min_count_bigrams: int
) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """The (word, bigram) buckets worth a column, sorted: those seen often enough in the texts.

    ``batches`` are lists of texts: they need not be in memory together.
    """
    words, bigrams = BucketCounts(), BucketCounts()
    for texts in batches:
        offsets, found, tokens = _scoring.features(texts)
        position = np.arange(len(found)) - np.repeat(offsets[:-1], np.diff(offsets))
        is_word = position < np.repeat(tokens, np.diff(offsets))
        words.add(found[is_word])
        bigrams.add(found[~is_word])
    kept = words.frequent(min_count_words, MOST_WORDS)
    # A bucket has one column; where hashes collide, the word stays.
    return kept, np.setdiff1d(bigrams.frequent(min_count_bigrams, MOST_BIGRAMS), kept)


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
