"""Queries made from real ones, for a teacher to annotate: what people might have asked as well.

A student of additive features learns what a word means from the company it keeps, and the logged
queries are few.  Three ways to make more (a fourth, filling templates, has no use here):

- ``spliced``: the beginning of one query and the end of another, joined at a word of both;
- ``swapped``: one word replaced by one of its nearest in GloVe (Jiao et al. 2020, TinyBERT,
  arXiv:1909.10351, section 4.2, augments texts for distillation so);
- ``shortened``: one word left out.

Equal input gives equal queries on any machine: only the stream of ``random.random``, which Python
promises to keep, and exact integer arithmetic decide.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from topiccore import _scoring

WAYS = ("spliced", "swapped", "shortened")
NEAREST = 10
"""A word is replaced by one of so many,"""
REPLACEMENTS = 30_000
"""which are among so many of the most frequent words of GloVe."""
TOO_FREQUENT = 150
"""Words among so many of GloVe's most frequent are not replaced."""
LONGEST = 12
"""No made query has more words."""
_ATTEMPTS = 50
_BLOCK = 1000

Words = list[str]
Glove = tuple[list[str], NDArray[np.float32]]


class QueryMaker:
    """Makes queries from texts; ``glove`` gives words, most frequent first, and their vectors.

    Each way has its own random stream: how many of one kind are taken changes no other kind.
    """

    def __init__(self, texts: Sequence[str], glove: Callable[[], Glove]):
        self._queries = [split for text in texts if len(split := _split(text)) > 1]
        self._glove = glove

    def spliced(self) -> Iterator[tuple[str, str]]:
        """(id, text) pairs, without end; ids count from ``spliced:1``."""
        places: dict[str, list[Words]] = defaultdict(list)
        for query in self._queries:
            for position, word in enumerate(query):
                places[word].append(query[position + 1 :])

        def make(query: Words, draw: Callable[[int], int]) -> Words | None:
            position = draw(len(query) - 1)
            ends = places[query[position]]
            return query[: position + 1] + ends[draw(len(ends))]

        return self._made("spliced", make)

    def swapped(self) -> Iterator[tuple[str, str]]:
        """The same, ids from ``swapped:1``."""
        nearest = _nearest({word for query in self._queries for word in query}, *self._glove())

        def make(query: Words, draw: Callable[[int], int]) -> Words | None:
            positions = [position for position, word in enumerate(query) if word in nearest]
            if not positions:
                return None
            position = positions[draw(len(positions))]
            choices = nearest[query[position]]
            return [*query[:position], choices[draw(len(choices))], *query[position + 1 :]]

        return self._made("swapped", make)

    def shortened(self) -> Iterator[tuple[str, str]]:
        """The same, ids from ``shortened:1``."""

        def make(query: Words, draw: Callable[[int], int]) -> Words | None:
            left_out = draw(len(query))
            return query[:left_out] + query[left_out + 1 :]

        return self._made("shortened", make)

    def _made(
        self, kind: str, make: Callable[[Words, Callable[[int], int]], Words | None]
    ) -> Iterator[tuple[str, str]]:
        stream = random.Random(kind)

        def draw(below: int) -> int:
            return int(stream.random() * below)

        number = failures = 0
        while self._queries and failures < _ATTEMPTS * len(self._queries):
            words = make(self._queries[draw(len(self._queries))], draw)
            if not words or not 2 <= len(words) <= LONGEST:
                failures += 1
                continue
            number, failures = number + 1, 0
            yield f"{kind}:{number}", " ".join(words)


def _split(text: str) -> Words:
    words = _scoring.tokenize(text)[0]
    return [word if isinstance(word, str) else word.decode("utf-8", "replace") for word in words]


def _nearest(
    wanted: set[str], words: Sequence[str], vectors: NDArray[np.float32]
) -> dict[str, list[str]]:
    # Vectors of integers: their products are exact in float32, so ties and order are the same
    # with every BLAS.
    row_of = {word: row for row, word in enumerate(words)}
    lengths = np.sqrt(np.square(vectors, dtype=np.float64).sum(axis=1, keepdims=True))
    whole = np.rint(vectors * (127 / np.maximum(lengths, 1e-9))).astype(np.float32)
    good = [
        row
        for row, word in enumerate(words[:REPLACEMENTS])
        if word.isascii() and word.isalpha() and len(word) > 2
    ]
    if not good:
        return {}
    most = min(NEAREST + 1, len(good))
    replacements = np.ascontiguousarray(whole[good].T)
    found = {}
    asked = sorted(word for word in wanted if row_of.get(word, 0) > TOO_FREQUENT)
    for start in range(0, len(asked), _BLOCK):
        block = asked[start : start + _BLOCK]
        closeness = whole[[row_of[word] for word in block]] @ replacements
        # One number that orders by closeness and, where that is equal, by frequency.
        keys = closeness.astype(np.int32) * len(good) - np.arange(len(good), dtype=np.int32)
        best = -np.sort(-np.partition(keys, -most, axis=1)[:, -most:], axis=1)
        for word, row in zip(block, best.tolist(), strict=True):
            near = [words[good[-key % len(good)]] for key in row]
            found[word] = [other for other in near if other != word][:NEAREST]
    return {word: near for word, near in found.items() if near}
