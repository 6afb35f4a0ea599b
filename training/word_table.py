"""What is known of each word before any label is seen: its character n-grams and its vectors.

A word's part in a logit is linear in what stands here, so export folds it into one row of label
weights per word: neither n-grams nor vectors are needed to serve.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from topiccore import _scoring
from topiccore.reference import word_ngrams

NGRAM_WEIGHT = np.float32(0.3)
"""What each n-gram of a word counts.

The same in every word, so that a word that was never seen can be summed up from the rows of its
n-grams when it is scored.
"""


@dataclass(frozen=True)
class WordTable:
    """One row a word, in the order of ``buckets`` (uint32 [words], sorted).

    ``ngrams`` is float32 CSR [words, n-grams]: how often a word has each of ``ngram_texts``, times
    ``NGRAM_WEIGHT``; ``vectors`` is float32 [words, dimensions], zeros for a word without one.
    """

    words: list[str]
    buckets: NDArray[np.uint32]
    ngram_texts: list[str]
    ngram_lengths: tuple[int, int]
    ngrams: sp.csr_matrix
    vectors: NDArray[np.float32]

    @cached_property
    def ngram_columns(self) -> dict[str, int]:
        """The column of each n-gram."""
        return {text: column for column, text in enumerate(self.ngram_texts)}

    def ngram_rows(self, words: Sequence[str]) -> sp.csr_matrix:
        """What ``ngrams`` has of the table's words, of any words."""
        return _ngram_matrix(words, self.ngram_columns, self.ngram_lengths)


def make_word_table(
    words: Sequence[str],
    counted: Counter[str],
    lengths: tuple[int, int],
    least: int,
    vectors: Sequence[tuple[Sequence[str], NDArray[np.float32]]],
    scale: float,
) -> WordTable:
    """The table of ``words``, which are tokens as they stand.

    Args:
        words: the vocabulary; of two words in one bucket the first stays.
        counted: how often each word stands in the training queries.
        lengths: the shortest and the longest n-gram; ``<`` and ``>`` mark the ends of a word.
        least: an n-gram has a column when it stands in training queries at least so often.
        vectors: kinds of word vectors, each as words and float32 [words, dimensions].
        scale: the length every vector is brought to.
    """
    buckets, first = np.unique(_scoring.hash_tokens(words), return_index=True)
    kept = [words[place] for place in first.tolist()]
    columns = _ngram_columns(counted, lengths, least)
    return WordTable(
        kept,
        buckets,
        list(columns),
        lengths,
        _ngram_matrix(kept, columns, lengths),
        np.hstack([_place_vectors(kept, *kind, scale) for kind in vectors]),
    )


def count_words(texts: Iterable[str]) -> Counter[str]:
    """How often each token stands in the texts."""
    return Counter(word for text in texts for word in _scoring.tokenize(text)[0])


def choose_vocabulary(seen: Iterable[str], known: Sequence[str]) -> list[str]:
    """Every word of ``seen``, then those of ``known`` that are one token as they stand."""
    words = dict.fromkeys(seen)
    words.update((word, None) for word in known if _scoring.tokenize(word)[0] == [word])
    return list(words)


def _ngram_columns(counted: Counter[str], lengths: tuple[int, int], least: int) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for word, count in counted.items():
        for ngram in set(word_ngrams(word, *lengths)):
            counts[ngram] += count
    kept = sorted(ngram for ngram, count in counts.items() if count >= least)
    return {ngram: column for column, ngram in enumerate(kept)}


def _ngram_matrix(
    words: Sequence[str], columns: dict[str, int], lengths: tuple[int, int]
) -> sp.csr_matrix:
    indices: list[int] = []
    indptr = [0]
    for word in words:
        indices += [columns[n] for n in word_ngrams(word, *lengths) if n in columns]
        indptr.append(len(indices))
    values = np.full(len(indices), NGRAM_WEIGHT)
    matrix = sp.csr_matrix((values, indices, indptr), shape=(len(words), len(columns)))
    matrix.sum_duplicates()
    return matrix


def _place_vectors(
    words: Sequence[str], known: Sequence[str], rows: NDArray[np.float32], scale: float
) -> NDArray[np.float32]:
    place = {word: row for row, word in enumerate(known)}
    found = np.array([place.get(word, -1) for word in words], dtype=np.int64)
    placed = np.zeros((len(words), rows.shape[1]), np.float32)
    chosen = rows[found[found >= 0]]
    length = np.maximum(np.linalg.norm(chosen, axis=1, keepdims=True), 1e-12)
    placed[found >= 0] = chosen * (np.float32(scale) / length)
    return placed
