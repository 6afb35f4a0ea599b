"""The student's columns and values, against counts made by hand from the reference's features."""

from collections import Counter

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from training_support import queries

from topiccore import _scoring, reference
from training.features import QueryFeatures, choose_buckets, counts_by_column
from training.word_table import NGRAM_WEIGHT, WordTable

WORDS = ["used", "honda", "civic", "red", "dress", "東", "🚗", "cafe"]
TEXT = st.lists(
    st.sampled_from([*WORDS, "new", "york", "Café"]) | st.text(st.characters(), max_size=5),
    max_size=25,
).map(" ".join)
EDGES = ["", " \t\u3000", "new york new york", "\ud83d honda\udc00", "used\x00honda", "שלום used"]
LONG = ["used honda " * 10_000, "x" * 100_000, "red dress " + "x " * 254, "red dress " + "x " * 255]


def buckets(texts) -> dict[str, int]:
    """The bucket of every feature of the texts, by its own text."""
    return {name: bucket for text in texts for name, bucket in reference.features(text)}


def table(names: list[str], seed: int = 1, ngrams: int = 4, dimensions: int = 3) -> WordTable:
    """A table of words with made-up n-grams and vectors."""
    known = sorted((bucket, name) for name, bucket in buckets(names).items())
    rng = np.random.default_rng(seed)
    return WordTable(
        [name for _, name in known],
        np.array([bucket for bucket, _ in known], np.uint32),
        [f"n{i}" for i in range(ngrams)],
        (3, 4),
        sp.csr_matrix(rng.integers(0, 3, (len(known), ngrams)).astype(np.float32)),
        rng.normal(size=(len(known), dimensions)).astype(np.float32),
    )


def small_features() -> QueryFeatures:
    known = buckets(["used honda civic", "red dress 東 🚗", "new york"])
    words = [bucket for name, bucket in known.items() if " " not in name and name != "york"]
    bigrams = [known["used honda"], known["new york"], known["red dress"]]
    return QueryFeatures(
        np.sort(words).astype(np.uint32),
        np.sort(bigrams).astype(np.uint32),
        table(["honda", "civic", "york", "東", "cafe"]),
    )


FEATURES = small_features()


def by_hand(features: QueryFeatures, text: str) -> np.ndarray:
    """float64 [columns]: one row, sparse and dense columns, counted in plain Python."""
    words, bigrams = features.words.tolist(), features.bigrams.tolist()
    known = features.table.buckets.tolist()
    described = np.hstack([features.table.ngrams.toarray(), features.table.vectors]).astype(float)
    row = np.zeros(len(words) + len(bigrams) + described.shape[1])
    tokens = reference.tokenize(text)[: reference.MAX_TOKENS]
    value = 1 / np.sqrt(max(len(tokens), 1))
    for _, bucket in reference.features(text):
        if bucket in words:
            row[words.index(bucket)] += value
        if bucket in bigrams:
            row[len(words) + bigrams.index(bucket)] += value
        if bucket in known:
            row[len(words) + len(bigrams) :] += value * described[known.index(bucket)]
    return row


def together(features: QueryFeatures, texts: list[str]) -> np.ndarray:
    """The sparse and the dense columns side by side."""
    sparse, dense = features.transform(texts)
    return np.hstack([sparse.toarray(), dense])


# --- the matrices ------------------------------------------------------------------------------


@pytest.mark.parametrize("text", EDGES + LONG)
def test_edge_rows_are_those_counted_by_hand(text):
    found = together(FEATURES, [text])[0]
    assert found == pytest.approx(by_hand(FEATURES, text), rel=1e-5, abs=1e-6)


@given(texts=st.lists(TEXT, max_size=6))
def test_rows_are_those_counted_by_hand(texts):
    sparse, dense = FEATURES.transform(texts)
    assert isinstance(sparse, sp.csr_matrix)
    assert sparse.dtype == dense.dtype == np.float32
    assert sparse.shape == (len(texts), FEATURES.sparse_columns)
    assert dense.shape == (len(texts), FEATURES.dimensions)
    for row, text in zip(together(FEATURES, texts), texts, strict=True):
        assert row == pytest.approx(by_hand(FEATURES, text), rel=1e-5, abs=1e-6)


def test_values_by_hand():
    known = buckets(["new york"])
    described = WordTable(
        ["york"],
        np.array([known["york"]], np.uint32),
        ["not"],
        (3, 3),
        sp.csr_matrix(np.array([[3.0]], np.float32)),
        np.array([[2.0, -4.0]], np.float32),
    )
    features = QueryFeatures(
        np.array([known["new"]], np.uint32), np.array([known["new york"]], np.uint32), described
    )
    rows = together(features, ["new york new york", "york", "is known"])
    assert rows.tolist() == [[2 / 2, 2 / 2, 6 / 2, 4 / 2, -8 / 2], [0, 0, 3, 2, -4], [0] * 5]


def test_ngrams_of_words_that_are_not_in_the_table():
    known = buckets(["new york"])
    described = WordTable(
        ["york"],
        np.array([known["york"]], np.uint32),
        ["ork", "ana"],
        (3, 3),
        sp.csr_matrix(np.array([[1.0, 0.0]], np.float32)),
        np.zeros((1, 0), np.float32),
    )
    none = np.zeros(0, np.uint32)
    features = QueryFeatures(np.array([known["new"]], np.uint32), none, described)
    rows = together(features, ["bananas", "new york", "pork banana fork x", "new", "x"])
    weight = float(NGRAM_WEIGHT)
    assert rows.tolist() == pytest.approx(
        np.array(
            [
                [0, 0, 2 * weight],
                [np.sqrt(0.5), np.sqrt(0.5), 0],
                [0, weight, weight],
                [1, 0, 0],
                [0, 0, 0],
            ]
        ),
        abs=1e-6,
    )


def test_without_any_column_of_a_kind():
    none = np.zeros(0, np.uint32)
    nothing = WordTable(
        [], none, [], (3, 4), sp.csr_matrix((0, 0), dtype=np.float32), np.zeros((0, 4), np.float32)
    )
    features = QueryFeatures(none, none, nothing)
    assert together(features, ["used honda", ""]).tolist() == [[0] * 4] * 2


# --- the columns -------------------------------------------------------------------------------


@given(texts=st.lists(TEXT, max_size=8), least=st.integers(1, 3), least_bigrams=st.integers(1, 3))
def test_columns_are_the_buckets_seen_often_enough(texts, least, least_bigrams):
    words: Counter[int] = Counter()
    bigrams: Counter[int] = Counter()
    for text in texts:
        found = reference.features(text)
        tokens = (len(found) + 1) // 2
        words.update(bucket for _, bucket in found[:tokens])
        bigrams.update(bucket for _, bucket in found[tokens:])
    expected = sorted(bucket for bucket, count in words.items() if count >= least)
    kept, kept_bigrams = choose_buckets([texts[:3], texts[3:]], least, least_bigrams)
    assert kept.dtype == kept_bigrams.dtype == np.uint32
    assert kept.tolist() == expected
    assert kept_bigrams.tolist() == sorted(
        bucket
        for bucket, count in bigrams.items()
        if count >= least_bigrams and bucket not in expected
    )


def test_columns_by_hand():
    known = buckets(["new york", "new jersey"])
    words, bigrams = choose_buckets([["new york", "New York!"], ["new jersey"]], 2, 2)
    assert set(words.tolist()) == {known["new"], known["york"]}
    assert bigrams.tolist() == [known["new york"]]
    words, bigrams = choose_buckets([["new york"]], 2, 2)
    assert len(words) == len(bigrams) == 0


def test_where_hashes_collide_the_word_stays(monkeypatch):
    # Two queries of two tokens; the bigram of the first has the bucket of a word of the second.
    found = np.array([1, 2, 9, 9, 3, 8], np.uint32)
    answer = np.array([0, 3, 6]), found, np.array([2, 2], np.int32)
    monkeypatch.setattr(_scoring, "features", lambda texts: answer)
    words, bigrams = choose_buckets([["a b", "c d"]], 1, 1)
    assert words.tolist() == [1, 2, 3, 9]
    assert bigrams.tolist() == [8]


def test_columns_of_real_queries_find_every_feature():
    texts = list(queries().values())[:2000]
    words, bigrams = choose_buckets([texts], 1, 1)
    none = WordTable(
        [],
        np.zeros(0, np.uint32),
        [],
        (3, 4),
        sp.csr_matrix((0, 0), dtype=np.float32),
        np.zeros((0, 1), np.float32),
    )
    matrix, _ = QueryFeatures(words, bigrams, none).transform(texts)
    tokens = np.array([len(reference.tokenize(text)) for text in texts])
    root = np.sqrt(np.maximum(tokens, 1))
    of_words = np.asarray(matrix[:, : len(words)].sum(axis=1)).ravel()
    of_bigrams = np.asarray(matrix[:, len(words) :].sum(axis=1)).ravel()
    assert of_words == pytest.approx(tokens / root, rel=1e-5)
    assert of_bigrams == pytest.approx(np.maximum(tokens - 1, 0) / root, rel=1e-5)


# --- counting ----------------------------------------------------------------------------------


def test_counts_by_column():
    matrix = counts_by_column(
        np.array([0, 3, 3, 5]),
        np.array([7, 7, 5, 9, 4], np.uint32),
        np.array([4, 7], np.uint32),
        np.array([1.0, 2.0, 0.5], np.float32),
    )
    assert matrix.has_canonical_format
    assert matrix.toarray().tolist() == [[0, 2], [0, 0], [0.5, 0]]


@given(
    st.lists(st.lists(st.integers(0, 9), max_size=8), max_size=6), st.frozensets(st.integers(0, 9))
)
def test_counts_by_column_are_counts(rows, columns):
    columns = sorted(columns)
    offsets = np.cumsum([0, *map(len, rows)])
    found = np.array([bucket for row in rows for bucket in row], np.uint32)
    value = np.arange(1, len(rows) + 1, dtype=np.float32)
    matrix = counts_by_column(offsets, found, np.array(columns, np.uint32), value)
    assert matrix.shape == (len(rows), len(columns))
    assert matrix.toarray().tolist() == [
        [number * row.count(bucket) for bucket in columns] for number, row in enumerate(rows, 1)
    ]
