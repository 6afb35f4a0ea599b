"""What weights count: the second derivative of the log loss, and what follows for pruning."""

import numpy as np
import pytest

from topiccore import Taxonomy, TaxonomyLabel, TopicModel, compact, reference
from topiccore.artifact import Artifact, build_index
from training.importance import importance

TEXTS = ["red apple pie", "green apple", "zebra", "apple pie", "the pie"]
NGRAMS = (3, 4)
LABELS = 3


def bucket(*words: str) -> int:
    """That of a word, or of a pair of neighbours."""
    return reference.features(" ".join(words))[-1][1]


def model_of(words: list[str], seed: int = 0) -> Artifact:
    """Random weights of words, of one pair and of the n-grams of 'zebra'."""
    ngrams = [reference.ngram_bucket(x) for x in reference.word_ngrams("zebra", *NGRAMS)]
    buckets = np.unique([*map(bucket, words), bucket("apple", "pie"), *ngrams]).astype(np.uint32)
    index, _, scaled = build_index(np.array([], np.uint32), buckets)
    rows = np.random.RandomState(seed).normal(0, 1, (len(scaled), LABELS)).astype(np.float32)
    ones = np.ones(LABELS, np.float32)
    taxonomy = Taxonomy([TaxonomyLabel(f"L{i}", f"Label {i}", None) for i in range(LABELS)])
    bias = np.array([-2, 0, 1], np.float32)
    return Artifact(taxonomy, index, rows, bias, ones, ones, 0 * ones, ngrams=NGRAMS)


def found_for(artifact: Artifact, texts: list[str]) -> np.ndarray:
    return importance(artifact.index, artifact.rows, artifact.bias, texts, NGRAMS)


def place_of(artifact: Artifact, wanted: int) -> int:
    place = reference.find_feature(artifact.index, wanted)
    assert place is not None
    return place


def log_losses(artifact: Artifact, rows: np.ndarray, texts: list[str]) -> np.ndarray:
    """float64 [labels]: what the loss is at targets that are the artifact's own scores."""
    wanted = 1 / (1 + np.exp(-np.array([exact(artifact, artifact.rows, x) for x in texts])))
    logits = np.array([exact(artifact, rows, x) for x in texts])
    return (np.logaddexp(0, logits) - wanted * logits).sum(axis=0)


def exact(artifact: Artifact, rows: np.ndarray, text: str) -> np.ndarray:
    value = 1 / np.sqrt(len(reference.tokenize(text)))
    places = [reference.find_feature(artifact.index, x) for _, x in reference.features(text)]
    added = [rows[place].astype(float) * value for place in places if place is not None]
    return artifact.bias + np.sum(added, axis=0)


def test_it_is_the_second_derivative_of_the_log_loss():
    artifact = model_of(["red", "apple", "pie", "green", "zebra", "the"])
    # So many texts that the one more, which each feature is taken to stand in, counts little.
    texts = TEXTS * 400
    found = found_for(artifact, texts).astype(float) ** 2
    for words in (["apple"], ["pie"], ["apple", "pie"], ["red"], ["the"]):
        place = place_of(artifact, bucket(*words))
        step = 0.01
        for label in range(LABELS):
            rows = artifact.rows.copy()
            losses = []
            for change in (-step, 0, step):
                rows[place, label] = artifact.rows[place, label] + np.float32(change)
                losses.append(log_losses(artifact, rows, TEXTS)[label] * 400)
            second = (losses[0] - 2 * losses[1] + losses[2]) / step**2
            assert found[place, label] == pytest.approx(second, rel=0.02)


def test_ngrams_count_where_a_word_stands_once():
    artifact = model_of(["red", "apple", "pie", "green", "zebra", "the"])
    place = place_of(artifact, reference.ngram_bucket("zeb"))
    once, twice = (found_for(artifact, TEXTS + more)[place] for more in ([], ["zebra"]))
    assert (once > 1.2 * twice).all()


def test_a_feature_that_no_text_has_counts_as_if_one_had():
    artifact = model_of(["red", "apple", "pie", "green", "zebra", "the", "unseen"])
    place = place_of(artifact, bucket("unseen"))
    found = found_for(artifact, ["apple"] * 50)[place].astype(float) ** 2
    scores = 1 / (1 + np.exp(-(artifact.rows[place] + artifact.bias)))
    assert found == pytest.approx(scores * (1 - scores), rel=0.01)
    nothing = found_for(artifact, [])
    assert np.isfinite(nothing).all()
    assert nothing.shape == artifact.rows.shape


def test_any_number_of_texts_at_a_time(monkeypatch):
    artifact = model_of(["red", "apple", "pie", "green", "zebra", "the"])
    at_once = found_for(artifact, TEXTS)
    monkeypatch.setattr("training.importance.CHUNK", 2)
    assert found_for(artifact, TEXTS) == pytest.approx(at_once, rel=0.002)


def test_pruning_by_it_costs_less_than_by_size():
    # Two frequent words and a hundred rare ones with larger weights.
    rare = [f"word{n}" for n in range(100)]
    artifact = model_of(["apple", "pie", *rare], seed=3)
    for word in ("apple", "pie"):
        artifact.rows[place_of(artifact, bucket(word))] *= 0.3
    texts = ["apple pie", "pie"] * 200 + rare
    counts = found_for(artifact, texts)
    kept = artifact.rows.size // 2
    wanted = TopicModel(artifact).logits(texts)
    errors = []
    for importance_of in (None, counts):
        strength = np.abs(artifact.rows) * (1 if importance_of is None else importance_of)
        prune = float(np.sort(strength.ravel())[-kept])
        small = compact(artifact, prune=prune, importance=importance_of)
        errors.append(float(np.square(TopicModel(small).logits(texts) - wanted).mean()))
    assert errors[1] < errors[0] / 3
