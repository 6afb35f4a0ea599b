"""Seeded made-up models and queries: as large and as sparse as trained ones, made in seconds.

Only topiccore and NumPy are needed, so that the latency gate can run this file of two commits,
each against its own topiccore, and compare two encodings of one model.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from topiccore import Taxonomy, TaxonomyLabel
from topiccore._scoring import features
from topiccore.artifact import Artifact, build_index, save
from topiccore.compaction import compact

SPEC = "made-up weights 1"
"""Changed whenever a seed gives other weights or queries; the gate compares equal ones only."""

SEED = 7
LABELS = 356
WORDS = 20_000
TOPIC_SIZE = 15  # labels in a topic, itself included
RELEVANT = 400  # labels that a row has weights for, at most
EMITTED = 1.5  # labels of a query, on average
ZIPF = 1.0  # exponent of the frequencies of words in queries, by rank
KINDS = ("mix", "short", "median", "long", "non-ASCII", "unknown words")
"""Kinds of queries in ``cases``."""
_CONSONANTS = [*"bcdfghklmnprstvwz", "st", "tr", "ch"]
_VOWELS = [*"aeiou", "ea", "ou"]
_FOREIGN = ["straße", "café", "naïve", "東京", "ホテル", "отель", "москва", "한국", "ایران", "🚗"]
# Lengths of queries in tokens, as often as in the search logs.
_LENGTHS = np.arange(1, 11)
_LENGTH_SHARES = np.array([12, 27, 25, 16, 9, 5, 3, 1.5, 1, 0.5]) / 100


def taxonomy(labels: int = LABELS) -> Taxonomy:
    """Topics with their subtopics, ``labels`` in all."""
    found: list[TaxonomyLabel] = []
    for number in range(labels):
        topic = number - number % TOPIC_SIZE
        found.append(
            TaxonomyLabel(
                f"L{number:05}", f"Label {number}", None if topic == number else f"L{topic:05}"
            )
        )
    return Taxonomy(found)


def words(count: int = WORDS, seed: int = SEED) -> list[str]:
    """Different words of two to four syllables, in order of frequency."""
    random = np.random.RandomState(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        syllables = random.choice([1, 2, 3, 4], p=[0.1, 0.4, 0.35, 0.15])
        word = ""
        for _ in range(syllables):
            word += _CONSONANTS[random.randint(len(_CONSONANTS))]
            word += _VOWELS[random.randint(len(_VOWELS))]
        found[word + ("" if random.rand() < 0.5 else "n")] = None
    return list(found)


def queries(vocabulary: Sequence[str], count: int, seed: int = SEED) -> list[str]:
    """Queries of 1 to 10 words, lengths and word frequencies as in search logs."""
    random = np.random.RandomState(seed)
    weights = 1 / np.arange(1, len(vocabulary) + 1) ** ZIPF
    lengths = random.choice(_LENGTHS, size=count, p=_LENGTH_SHARES / _LENGTH_SHARES.sum())
    drawn = random.choice(len(vocabulary), size=lengths.sum(), p=weights / weights.sum())
    ends = np.cumsum(lengths)
    return [
        " ".join(vocabulary[place] for place in drawn[end - length : end])
        for end, length in zip(ends, lengths, strict=True)
    ]


def artifact(labels: int = LABELS, word_count: int = WORDS, seed: int = SEED) -> Artifact:
    """A compact model over made-up words and their frequent pairs.

    The sizes of weights follow those of a trained artifact: rows of words are small but for a
    few labels, rows that came of word vectors are dense.  A row speaks of at most ``RELEVANT``
    labels, however many there are: a finer taxonomy makes no word mean more.
    """
    random = np.random.RandomState(seed)
    vocabulary = words(word_count, seed)
    sample = queries(vocabulary, 2 * word_count, seed + 1)
    plain, pairs = _frequent(sample + vocabulary + _FOREIGN, word_count // 2)
    scaled = np.union1d(plain, pairs)
    index, plain_rows, scaled_rows = build_index(plain, scaled)
    rows = np.zeros((len(plain) + len(scaled), labels), np.float32)
    own = random.randint(labels, size=len(plain))
    for places, spread, median in ((plain_rows, 1.3, 0.03), (scaled_rows, 1.2, 0.15)):
        _fill(rows, places, random, spread, median)
    rows[plain_rows, own] += 4.0
    rows[plain_rows, own - own % TOPIC_SIZE] += 3.0
    bias = np.full(labels, -5.0, np.float32)
    tables = [dict(zip(plain.tolist(), plain_rows.tolist(), strict=True))]
    tables.append(dict(zip(scaled.tolist(), scaled_rows.tolist(), strict=True)))
    threshold = _threshold(sample[:500], tables, rows, bias)
    return compact(
        Artifact(
            taxonomy=taxonomy(labels),
            index=index,
            rows=rows,
            bias=bias,
            thresholds=np.full(labels, threshold, np.float32),
            slopes=np.ones(labels, np.float32),
            intercepts=np.zeros(labels, np.float32),
            training={"made up": SPEC},
            data={"made up": SPEC},
        )
    )


def _frequent(texts: Sequence[str], pair_count: int) -> tuple[np.ndarray, np.ndarray]:
    # Sorted buckets, uint32: of all words, and of the most frequent pairs of neighbours.
    offsets, buckets, tokens = features(texts)
    position = np.arange(len(buckets)) - np.repeat(offsets[:-1], np.diff(offsets))
    is_word = position < np.repeat(tokens, np.diff(offsets))
    singles = np.unique(buckets[is_word])
    pairs, counts = np.unique(buckets[~is_word], return_counts=True)
    return singles, np.setdiff1d(pairs[np.argsort(-counts, kind="stable")[:pair_count]], singles)


def _fill(
    rows: np.ndarray,
    places: np.ndarray,
    random: np.random.RandomState,
    spread: float,
    median: float,
) -> None:
    # Signed log-normal weights, at most RELEVANT labels of each row.
    labels = rows.shape[1]
    relevant = min(labels, RELEVANT)
    for start in range(0, len(places), 4096):
        chosen = places[start : start + 4096]
        values = median * np.exp(spread * random.standard_normal((len(chosen), relevant)))
        values *= random.choice([-1.0, 1.0], size=values.shape)
        if relevant == labels:
            rows[chosen] = values
        else:
            columns = random.randint(labels, size=values.shape)
            rows[chosen[:, None], columns] = values


def _threshold(
    sample: Sequence[str], tables: Sequence[dict[int, int]], rows: np.ndarray, bias: np.ndarray
) -> float:
    # The logit that EMITTED labels of a query reach on average; ``tables``: rows by bucket.
    logits = np.empty((len(sample), len(bias)), np.float32)
    offsets, buckets, tokens = features(sample)
    for number in range(len(sample)):
        logits[number] = bias
        for kind, table in enumerate(tables):
            share = 1.0 if kind == 0 else 1 / np.sqrt(tokens[number])
            for bucket in buckets[offsets[number] : offsets[number + 1]].tolist():
                if bucket in table:
                    logits[number] += share * rows[table[bucket]]
    return float(np.quantile(logits, 1 - EMITTED / len(bias)))


def cases(word_count: int = WORDS, seed: int = SEED, count: int = 200) -> dict[str, list[str]]:
    """Queries by kind: what the suites and the gate time, ``count`` of each."""
    vocabulary = words(word_count, seed)
    random = np.random.RandomState(seed + 2)
    mix = queries(vocabulary, count, seed + 3)

    def drawn(length: int, source: Sequence[str]) -> str:
        return " ".join(source[place] for place in random.randint(len(source), size=length))

    frequent = vocabulary[:2000]
    unknown = [f"{word}q{number}x" for number, word in enumerate(vocabulary[:2000])]
    return {
        "mix": mix,
        "short": [drawn(1, frequent) for _ in range(count)],
        "median": [drawn(3, frequent) for _ in range(count)],
        "long": [drawn(40, frequent) for _ in range(count)],
        "non-ASCII": [drawn(3, _FOREIGN) for _ in range(count)],
        "unknown words": [drawn(3, unknown) for _ in range(count)],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes a made-up artifact: the gate runs this file of each commit."""
    parser = argparse.ArgumentParser(description="Write a made-up artifact.")
    parser.add_argument("path", type=Path)
    parser.add_argument("--labels", type=int, default=LABELS)
    parser.add_argument("--words", type=int, default=WORDS)
    chosen = parser.parse_args(arguments)
    print(save(artifact(chosen.labels, chosen.words), chosen.path))


if __name__ == "__main__":
    main()
