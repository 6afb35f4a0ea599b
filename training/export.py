"""From a trained student to the rows of an artifact."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from topiccore import _scoring
from topiccore.artifact import Index, build_index
from topiccore.reference import ngram_bucket, word_ngrams
from training.features import QueryFeatures
from training.word_table import NGRAM_WEIGHT, count_words


def fold(coef: NDArray[np.float32], features: QueryFeatures) -> tuple[Index, NDArray[np.float32]]:
    """The ``index`` and ``rows`` of an artifact from weights float32 [labels, features].

    A word's part in a logit is (its own weights + its n-grams times their weights + its vectors
    times theirs) / sqrt(tokens): one scaled row per word.  Each n-gram has a row too, for words
    that are not in the table.
    """
    weights = np.ascontiguousarray(coef.T)
    words, bigrams, ngrams, vectors = np.split(
        weights,
        np.cumsum([len(features.words), len(features.bigrams), features.table.ngrams.shape[1]]),
    )
    table = features.table
    words_and_bigrams = np.union1d(np.union1d(features.words, features.bigrams), table.buckets)
    ngram_buckets = np.array([ngram_bucket(text) for text in table.ngram_texts], np.uint32)
    # A bucket has one row; where hashes collide, the word or bigram stays, or the first n-gram.
    ngram_buckets, chosen = np.unique(ngram_buckets, return_index=True)
    free = ~np.isin(ngram_buckets, words_and_bigrams)
    ngram_buckets, chosen = ngram_buckets[free], chosen[free]
    buckets = np.union1d(words_and_bigrams, ngram_buckets)
    folded = np.zeros((len(buckets), weights.shape[1]), np.float32)
    known = table.ngrams @ ngrams
    known += table.vectors @ vectors
    folded[np.searchsorted(buckets, table.buckets)] = known
    folded[np.searchsorted(buckets, ngram_buckets)] = NGRAM_WEIGHT * ngrams[chosen]
    folded[np.searchsorted(buckets, features.words)] += words
    folded[np.searchsorted(buckets, features.bigrams)] += bigrams
    index, _, scaled_rows = build_index(np.array([], np.uint32), buckets)
    rows = np.zeros_like(folded)
    rows[scaled_rows] = folded
    return index, rows


def times_seen(
    index: Index, texts: Sequence[str], ngram_lengths: tuple[int, int]
) -> NDArray[np.int64]:
    """How often each feature of an index stands in texts, int64 [features].

    An n-gram is only looked up for words without a row; words that stand in the texts once are
    taken for such.
    """
    buckets = np.repeat(np.arange(len(index.groups) - 1, dtype=np.uint32), np.diff(index.groups))
    buckets = buckets << np.uint32(16) | index.keys
    counts = count_words(texts)
    ngrams = Counter(
        ngram
        for word, count in counts.items()
        if count == 1
        for ngram in word_ngrams(word, *ngram_lengths)
    )
    seen = np.zeros(len(buckets), np.int64)
    ngram_buckets = np.array([ngram_bucket(ngram) for ngram in ngrams], np.uint32)
    _add(seen, buckets, ngram_buckets, np.array(list(ngrams.values()), np.int64))
    found, times = np.unique(_scoring.features(texts)[1], return_counts=True)
    _add(seen, buckets, found, times)
    return seen


def _add(
    seen: NDArray[np.int64],
    buckets: NDArray[np.uint32],
    found: NDArray[np.uint32],
    times: NDArray[np.int64],
) -> None:
    if len(buckets):
        place = np.minimum(np.searchsorted(buckets, found), len(buckets) - 1)
        known = buckets[place] == found
        np.add.at(seen, place[known], times[known])
