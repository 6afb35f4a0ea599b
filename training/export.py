"""From a trained student to the rows of an artifact."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from topiccore.artifact import Index, build_index
from topiccore.reference import ngram_bucket
from training.features import QueryFeatures
from training.word_table import NGRAM_WEIGHT


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
