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
from training.vectors import WordVectors

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


def small_features() -> QueryFeatures:
    known = buckets(["used honda civic", "red dress 東 🚗", "new york"])
    words = [bucket for name, bucket in known.items() if " " not in name and name != "york"]
    bigrams = [known["used honda"], known["new york"], known["red dress"]]
    with_vector = np.sort([bucket for name, bucket in known.items() if " " not in name])
    rows = np.random.default_rng(1).normal(size=(len(with_vector), 3)).astype(np.float32)
    return QueryFeatures(
        np.sort(words).astype(np.uint32),
        np.sort(bigrams).astype(np.uint32),
        WordVectors(with_vector.astype(np.uint32), rows),
    )


FEATURES = small_features()


def by_hand(features: QueryFeatures, text: str) -> np.ndarray:
    """float64 [columns]: one row of the matrix, counted in plain Python."""
    words, bigrams = features.words.tolist(), features.bigrams.tolist()
    vectors = features.vectors.buckets.tolist()
    row = np.zeros(len(words) + len(bigrams) + features.dimensions)
    tokens = reference.tokenize(text)[: reference.MAX_TOKENS]
    value = 1 / np.sqrt(max(len(tokens), 1))
    for _, bucket in reference.features(text):
        if bucket in words:
            row[words.index(bucket)] += 1
        if bucket in bigrams:
            row[len(words) + bigrams.index(bucket)] += value
        if bucket in vectors:
            vector = features.vectors.rows[vectors.index(bucket)].astype(float)
            row[len(words) + len(bigrams) :] += value * vector
    return row


# --- the matrix --------------------------------------------------------------------------------


@pytest.mark.parametrize("text", EDGES + LONG)
def test_edge_rows_are_those_counted_by_hand(text):
    found = FEATURES.transform([text]).toarray()[0]
    assert found == pytest.approx(by_hand(FEATURES, text), rel=1e-5, abs=1e-6)


@given(texts=st.lists(TEXT, max_size=6))
def test_rows_are_those_counted_by_hand(texts):
    found = FEATURES.transform(texts)
    assert isinstance(found, sp.csr_matrix)
    assert found.dtype == np.float32
    columns = len(FEATURES.words) + len(FEATURES.bigrams) + 3
    assert found.shape == (len(texts), columns)
    for row, text in zip(found.toarray(), texts, strict=True):
        assert row == pytest.approx(by_hand(FEATURES, text), rel=1e-5, abs=1e-6)


def test_values_by_hand():
    known = buckets(["new york"])
    features = QueryFeatures(
        np.array([known["new"]], np.uint32),
        np.array([known["new york"]], np.uint32),
        WordVectors(np.array([known["york"]], np.uint32), np.array([[2.0, -4.0]], np.float32)),
    )
    rows = features.transform(["new york new york", "york", "nothing known"]).toarray()
    assert rows.tolist() == [[2, 2 / 2, 4 / 2, -8 / 2], [0, 0, 2, -4], [0, 0, 0, 0]]


def test_without_any_column_of_a_kind():
    none = np.zeros(0, np.uint32)
    features = QueryFeatures(none, none, WordVectors(none, np.zeros((0, 4), np.float32)))
    assert features.transform(["used honda", ""]).toarray().tolist() == [[0] * 4] * 2


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
    kept, kept_bigrams = choose_buckets(texts, least, least_bigrams)
    assert kept.dtype == kept_bigrams.dtype == np.uint32
    assert kept.tolist() == expected
    assert kept_bigrams.tolist() == sorted(
        bucket
        for bucket, count in bigrams.items()
        if count >= least_bigrams and bucket not in expected
    )


def test_columns_by_hand():
    known = buckets(["new york", "new jersey"])
    words, bigrams = choose_buckets(["new york", "New York!", "new jersey"], 2, 2)
    assert set(words.tolist()) == {known["new"], known["york"]}
    assert bigrams.tolist() == [known["new york"]]
    words, bigrams = choose_buckets(["new york"], 2, 2)
    assert len(words) == len(bigrams) == 0


def test_where_hashes_collide_the_word_stays(monkeypatch):
    # Two queries of two tokens; the bigram of the first has the bucket of a word of the second.
    found = np.array([1, 2, 9, 9, 3, 8], np.uint32)
    answer = np.array([0, 3, 6]), found, np.array([2, 2], np.int32)
    monkeypatch.setattr(_scoring, "features", lambda texts: answer)
    words, bigrams = choose_buckets(["a b", "c d"], 1, 1)
    assert words.tolist() == [1, 2, 3, 9]
    assert bigrams.tolist() == [8]


def test_columns_of_real_queries_find_every_feature():
    texts = list(queries().values())[:2000]
    words, bigrams = choose_buckets(texts, 1, 1)
    none = WordVectors(np.zeros(0, np.uint32), np.zeros((0, 1), np.float32))
    matrix = QueryFeatures(words, bigrams, none).transform(texts)
    tokens = np.array([len(reference.tokenize(text)) for text in texts])
    ones = np.asarray(matrix[:, : len(words)].sum(axis=1)).ravel()
    scaled = np.asarray(matrix[:, len(words) :].sum(axis=1)).ravel()
    assert ones == pytest.approx(tokens)
    assert scaled == pytest.approx(np.maximum(tokens - 1, 0) / np.sqrt(np.maximum(tokens, 1)))


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
