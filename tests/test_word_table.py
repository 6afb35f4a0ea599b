"""What is known of words: n-grams and vectors by hand, the vocabulary, and where hashes collide."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from topiccore import _scoring, reference
from topiccore.reference import word_ngrams
from training.word_table import NGRAM_WEIGHT, choose_vocabulary, count_words, make_word_table

NO_VECTORS = ([], np.zeros((0, 2), np.float32))
WORD = st.text(st.sampled_from("abz7"), min_size=1, max_size=8)


def table_of(words, counted=None, lengths=(3, 3), least=1, vectors=(NO_VECTORS,), scale=1.0):
    counted = Counter(words) if counted is None else Counter(counted)
    return make_word_table(words, counted, lengths, least, vectors, scale)


def row_of(table, word):
    return table.words.index(word)


# --- n-grams -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "lengths", "expected"),
    [
        ("cat", (3, 4), ["<ca", "cat", "at>", "<cat", "cat>"]),
        ("cat", (5, 5), ["<cat>"]),
        ("cat", (6, 9), []),
        ("a", (3, 3), ["<a>"]),
        ("a", (1, 2), ["<", "a", ">", "<a", "a>"]),
        ("東京", (2, 3), ["<東", "東京", "京>", "<東京", "東京>"]),
        ("🚗", (3, 4), ["<🚗>"]),
        ("aaa", (3, 3), ["<aa", "aaa", "aa>"]),
    ],
)
def test_ngrams_by_hand(word, lengths, expected):
    assert list(word_ngrams(word, *lengths)) == expected


@given(word=WORD, shortest=st.integers(1, 5), more=st.integers(0, 4))
def test_ngrams_are_every_slice_of_the_marked_word(word, shortest, more):
    marked = f"<{word}>"
    expected = Counter(
        marked[start:end]
        for start in range(len(marked))
        for end in range(start + 1, len(marked) + 1)
        if shortest <= end - start <= shortest + more
    )
    found = list(word_ngrams(word, shortest, shortest + more))
    assert Counter(found) == expected
    assert [len(ngram) for ngram in found] == sorted(map(len, found))


def counts(table, word):
    """How often the word has each n-gram of the table."""
    return (table.ngrams.toarray()[row_of(table, word)] / NGRAM_WEIGHT).round(5).tolist()


def test_ngram_rows_by_hand():
    table = table_of(["cat", "car", "x"])
    assert table.ngram_texts == ["<ca", "<x>", "ar>", "at>", "car", "cat"]
    assert counts(table, "cat") == [1, 0, 0, 1, 0, 1]
    assert counts(table, "car") == [1, 0, 1, 0, 1, 0]
    assert counts(table, "x") == [0, 1, 0, 0, 0, 0]
    assert table.ngrams.dtype == np.float32


def test_ngrams_that_are_seen_too_seldom_have_no_column():
    # "<ca" stands in 3 + 2 queries, the others in 3 or 2.
    table = table_of(["cat", "car", "dog"], {"cat": 3, "car": 2, "dog": 1}, least=3)
    assert table.ngram_texts == ["<ca", "at>", "cat"]
    assert counts(table, "cat") == [1, 1, 1]
    assert counts(table, "car") == [1, 0, 0]
    assert counts(table, "dog") == [0, 0, 0]
    # A word that no training query has takes part in the n-grams of the others.
    table = table_of(["cat", "cab", "at"], {"cat": 3}, least=3)
    assert counts(table, "cat") == [1, 1, 1]
    assert counts(table, "cab") == [1, 0, 0]
    assert counts(table, "at") == [0, 1, 0]


def test_an_ngram_twice_in_a_word_is_one_sighting_of_the_word():
    assert table_of(["banana"], {"banana": 1}, least=2).ngrams.nnz == 0
    table = table_of(["banana"], {"banana": 2}, least=2)
    assert table.ngram_texts == ["<ba", "ana", "ban", "na>", "nan"]
    assert counts(table, "banana") == [1, 2, 1, 1, 1]


def test_without_any_ngram_there_is_no_column():
    table = table_of(["cat"], lengths=(7, 8))
    assert table.ngrams.shape == (1, 0)
    assert table.ngram_texts == []


@given(words=st.lists(WORD, min_size=1, max_size=8, unique=True), least=st.integers(1, 4))
def test_ngram_rows_count_what_stands_in_the_word(words, least):
    counted = {word: number for number, word in enumerate(words, start=1)}
    table = table_of(words, counted, (2, 3), least)
    seen = Counter()
    for word, count in counted.items():
        seen.update(dict.fromkeys(word_ngrams(word, 2, 3), count))
    columns = sorted(ngram for ngram, count in seen.items() if count >= least)
    assert table.ngram_texts == columns
    for word in words:
        kept = list(word_ngrams(word, 2, 3))
        assert counts(table, word) == [kept.count(ngram) for ngram in columns]


# --- rows and vectors ----------------------------------------------------------------------------


def test_rows_stand_in_the_order_of_their_buckets():
    words = ["used", "honda", "civic", "東", "🚗"]
    table = table_of(words)
    assert sorted(table.words) == sorted(words)
    assert table.buckets.dtype == np.uint32
    assert (np.diff(table.buckets.astype(np.int64)) > 0).all()
    assert table.buckets.tolist() == _scoring.hash_tokens(table.words).tolist()
    assert [reference.features(word)[0][1] for word in table.words] == table.buckets.tolist()


def test_vectors_are_placed_side_by_side_with_the_set_length():
    first = (["dog", "cat"], np.array([[3, 4], [0, -2]], np.float32))
    second = (["cat", "unused"], np.array([[1, 0, 0], [9, 9, 9]], np.float32))
    table = table_of(["cat", "dog", "x"], vectors=[first, second], scale=2.5)
    assert table.vectors.dtype == np.float32
    assert table.vectors.shape == (3, 5)
    assert table.vectors[row_of(table, "cat")] == pytest.approx([0, -2.5, 2.5, 0, 0])
    assert table.vectors[row_of(table, "dog")] == pytest.approx([1.5, 2, 0, 0, 0])
    assert table.vectors[row_of(table, "x")].tolist() == [0] * 5


def test_a_vector_of_zeros_stays_one():
    table = table_of(["cat"], vectors=[(["cat"], np.zeros((1, 3), np.float32))])
    assert table.vectors.tolist() == [[0, 0, 0]]


def test_what_is_given_is_not_changed():
    rows = np.array([[3, 4]], np.float32)
    table_of(["cat"], vectors=[(["cat"], rows)], scale=9)
    assert rows.tolist() == [[3, 4]]


def test_no_words_make_an_empty_table():
    table = table_of([])
    assert table.words == []
    assert table.buckets.shape == (0,)
    assert table.vectors.shape == (0, 2)
    assert table.ngrams.shape == (0, 0)


def test_where_hashes_collide_the_first_word_stays(monkeypatch):
    monkeypatch.setattr(
        _scoring, "hash_tokens", lambda words: np.array([9, 5, 5][: len(words)], np.uint32)
    )
    vectors = (["zero", "first", "second"], np.eye(3, dtype=np.float32))
    table = table_of(["zero", "first", "second"], vectors=[vectors])
    assert table.words == ["first", "zero"]
    assert table.buckets.tolist() == [5, 9]
    assert table.vectors.tolist() == [[0, 1, 0], [1, 0, 0]]


# --- the vocabulary ------------------------------------------------------------------------------


def test_count_words_counts_tokens():
    assert count_words(["Used HONDA used", "", "honda's"]) == Counter(
        token for text in ("Used HONDA used", "honda's") for token in reference.tokenize(text)
    )
    assert count_words(["Used HONDA used"]) == {"used": 2, "honda": 1}


def test_vocabulary_has_each_word_once_those_of_queries_first():
    found = choose_vocabulary(["used", "honda", "used"], ["the", "honda", "of"])
    assert found == ["used", "honda", "the", "of"]


@pytest.mark.parametrize("word", ["The", "don't", "new york", "", ".", "u.s.", "ﬁne", "cafe\u0301"])
def test_a_known_word_that_is_no_token_as_it_stands_is_left_out(word):
    tokens = reference.tokenize(word)
    expected = ["used", word] if tokens == [word] else ["used"]
    assert choose_vocabulary(["used"], [word]) == expected


def test_known_words_that_no_query_could_have_are_left_out():
    assert choose_vocabulary([], ["The", "new york", ".", "ok"]) == ["ok"]


@given(seen=st.lists(WORD), known=st.lists(WORD | st.text(max_size=4)))
def test_vocabulary_of_any_words(seen, known):
    found = choose_vocabulary(seen, known)
    assert len(set(found)) == len(found)
    assert set(found) == {*seen, *(word for word in known if reference.tokenize(word) == [word])}
    assert found[: len(set(seen))] == list(dict.fromkeys(seen))
