"""Word vectors: which words have one, what is near what, and the seed."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
from training_support import queries, quiet

from topiccore import reference
from training.config import VectorsConfig
from training.errors import ConfigError
from training.vectors import train_vectors

CONFIG = VectorsConfig(dimensions=12, window=3, epochs=2, negative=5, min_count=3)


@pytest.fixture(scope="module")
def texts():
    """Real queries with capitals and punctuation put in, which the tokenizer takes out."""
    some = list(dict.fromkeys(queries().values()))[:20_000]
    return [f"{text.title()}?" if number % 2 else text for number, text in enumerate(some)]


@pytest.fixture(scope="module")
def vectors(texts):
    return train_vectors(texts, CONFIG, 7, quiet)


def vector(vectors: tuple[list[str], np.ndarray], word: str) -> np.ndarray:
    words, rows = vectors
    found = rows[words.index(word)]
    return found / np.linalg.norm(found)


def test_words_seen_often_enough_have_a_vector(texts, vectors):
    counts = Counter(token for text in texts for token in reference.tokenize(text)[:256])
    words, rows = vectors
    assert set(words) == {word for word, count in counts.items() if count >= CONFIG.min_count}
    assert len(words) == len(set(words))
    assert [counts[word] for word in words] == sorted(
        (counts[word] for word in words), reverse=True
    )
    assert rows.dtype == np.float32
    assert rows.shape == (len(words), CONFIG.dimensions)
    assert np.isfinite(rows).all()


def test_a_seed_gives_one_result(texts, vectors):
    words, rows = vectors
    again = train_vectors(texts, CONFIG, 7, quiet)
    assert again[0] == words
    assert np.array_equal(again[1], rows)
    other = train_vectors(texts, CONFIG, 8, quiet)
    assert set(other[0]) == set(words)
    assert not np.array_equal(other[1], rows)


def test_words_of_like_contexts_are_near():
    # Two worlds of words that never meet.
    rng = np.random.default_rng(0)
    worlds = [[f"{name}{number}" for number in range(8)] for name in ("car", "dress")]
    made = [" ".join(rng.choice(worlds[number % 2], 5)) for number in range(3000)]
    vectors = train_vectors(made, dataclasses.replace(CONFIG, epochs=10), 1, quiet)
    cars, dresses = (np.array([vector(vectors, word) for word in world]) for world in worlds)
    near = (cars @ cars.T)[~np.eye(8, dtype=bool)].mean()
    far = (cars @ dresses.T).mean()
    assert near > far + 0.3


def test_progress_is_told_per_epoch():
    lines: list[str] = []
    train_vectors(["a b c"] * 10, CONFIG, 1, lines.append)
    assert lines == ["word vectors: epoch 1/2", "word vectors: epoch 2/2"]


@pytest.mark.parametrize("texts", [[], ["", " "], ["a b", "b c"]])
def test_no_word_seen_often_enough_is_told(texts):
    with pytest.raises(ConfigError, match=r"vectors\.min_count is 3, but no word of the \d+ texts"):
        train_vectors(texts, CONFIG, 1, quiet)
