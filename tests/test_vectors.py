"""Word vectors: which words have one, their length, what is near what, and the seed."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
from training_support import queries, quiet

from topiccore import _scoring, reference
from training.config import VectorsConfig
from training.errors import ConfigError
from training.vectors import WordVectors, train_vectors

CONFIG = VectorsConfig(dimensions=12, window=3, epochs=2, negative=5, min_count=3, scale=2.5)


@pytest.fixture(scope="module")
def texts():
    """Real queries with capitals and punctuation put in, which the tokenizer takes out."""
    some = list(dict.fromkeys(queries().values()))[:20_000]
    return [f"{text.title()}?" if number % 2 else text for number, text in enumerate(some)]


@pytest.fixture(scope="module")
def vectors(texts):
    return train_vectors(texts, CONFIG, 7, quiet)


def bucket(word: str) -> int:
    return int(_scoring.hash_tokens([word])[0])


def vector(vectors: WordVectors, word: str) -> np.ndarray:
    return vectors.rows[np.searchsorted(vectors.buckets, bucket(word))]


def test_words_seen_often_enough_have_a_vector(texts, vectors):
    counts = Counter(token for text in texts for token in reference.tokenize(text)[:256])
    kept = [word for word, count in counts.items() if count >= CONFIG.min_count]
    assert set(vectors.buckets.tolist()) == {bucket(word) for word in kept}


def test_shapes_and_order(vectors):
    assert vectors.rows.dtype == np.float32
    assert vectors.buckets.dtype == np.uint32
    assert vectors.rows.shape == (len(vectors.buckets), CONFIG.dimensions)
    assert (np.diff(vectors.buckets.astype(np.int64)) > 0).all()


def test_every_vector_has_the_set_length(vectors):
    assert np.linalg.norm(vectors.rows, axis=1) == pytest.approx(CONFIG.scale, rel=1e-5)


def test_a_seed_gives_one_result(texts, vectors):
    again = train_vectors(texts, CONFIG, 7, quiet)
    assert np.array_equal(again.buckets, vectors.buckets)
    assert np.array_equal(again.rows, vectors.rows)
    other = train_vectors(texts, CONFIG, 8, quiet)
    assert np.array_equal(other.buckets, vectors.buckets)
    assert not np.array_equal(other.rows, vectors.rows)


def test_words_of_like_contexts_are_near():
    # Two worlds of words that never meet.
    rng = np.random.default_rng(0)
    worlds = [[f"{name}{number}" for number in range(8)] for name in ("car", "dress")]
    made = [" ".join(rng.choice(worlds[number % 2], 5)) for number in range(3000)]
    vectors = train_vectors(made, dataclasses.replace(CONFIG, epochs=10, scale=1), 1, quiet)
    cars, dresses = (np.array([vector(vectors, word) for word in world]) for world in worlds)
    near = (cars @ cars.T)[~np.eye(8, dtype=bool)].mean()
    far = (cars @ dresses.T).mean()
    assert near > far + 0.3


def test_progress_is_told_per_epoch():
    lines: list[str] = []
    train_vectors(["a b c"] * 10, CONFIG, 1, lines.append)
    assert lines == ["word vectors: epoch 1/2", "word vectors: epoch 2/2"]


def test_where_hashes_collide_the_more_frequent_word_stays(monkeypatch):
    made = ["often often often often", "seldom seldom seldom"] * 5
    alone = train_vectors(made, CONFIG, 1, quiet)
    expected = vector(alone, "often")
    monkeypatch.setattr(_scoring, "hash_tokens", lambda words: np.full(len(words), 5, np.uint32))
    found = train_vectors(made, CONFIG, 1, quiet)
    assert found.buckets.tolist() == [5]
    assert np.array_equal(found.rows[0], expected)


@pytest.mark.parametrize("texts", [[], ["", " "], ["a b", "b c"]])
def test_no_word_seen_often_enough_is_told(texts):
    with pytest.raises(ConfigError, match=r"vectors\.min_count is 3, but no word of the \d+ texts"):
        train_vectors(texts, CONFIG, 1, quiet)
