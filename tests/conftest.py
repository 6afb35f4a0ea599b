"""Fixtures of all tests: a small taxonomy, artifacts with made-up weights; nothing is trained."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from topiccore import Taxonomy, TaxonomyLabel, TopicModel, load
from topiccore._scoring import features, hash_tokens
from topiccore.artifact import Artifact, build_index, save
from topiccore.compaction import compact

settings.register_profile(
    "topiccore",
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("topiccore")

PLAIN_WORDS = ["used", "honda", "civic", "cheap", "hotel", "東", "🚗"]
SCALED_WORDS = ["dallas", "flight", "beach", "pizza", "straße", "京"]
BOTH_WORDS = ["red", "dress", "running", "shoes", "cafe"]
PLAIN_BIGRAMS = ["used honda", "cheap hotel"]
SCALED_BIGRAMS = ["red dress"]
BOTH_BIGRAMS = ["running shoes", "東 京"]


def buckets_of(words: list[str], bigrams: list[str]) -> np.ndarray:
    """The buckets of words and of pairs of neighbours, each once."""
    words = [word.casefold() for word in words]
    pairs = [features([pair])[1][2] for pair in bigrams]
    return np.concatenate([hash_tokens(words), np.array(pairs, dtype=np.uint32)])


def small_artifact(taxonomy: Taxonomy, seed: int = 7) -> Artifact:
    """Seeded weights over the vocabulary above, in 256ths: float32 holds and adds them exactly.

    ``RandomState`` because NumPy has promised never to change its numbers.
    """
    plain = buckets_of(PLAIN_WORDS + BOTH_WORDS, PLAIN_BIGRAMS + BOTH_BIGRAMS)
    scaled = buckets_of(SCALED_WORDS + BOTH_WORDS, SCALED_BIGRAMS + BOTH_BIGRAMS)
    index, plain_rows, scaled_rows = build_index(plain, scaled)
    labels = len(taxonomy)
    random = np.random.RandomState(seed)

    def weights(low: int, high: int, *shape: int) -> np.ndarray:
        return (random.randint(low, high, size=shape) / 256).astype(np.float32)

    rows = np.zeros((len(plain) + len(scaled), labels), dtype=np.float32)
    rows[plain_rows] = weights(-1000, 1000, len(plain), labels)
    rows[scaled_rows] = weights(-2000, 2000, len(scaled), labels)
    thresholds = weights(-200, 400, labels)
    thresholds[-1] = np.inf  # a label that is never emitted by its threshold
    return Artifact(
        taxonomy=taxonomy,
        index=index,
        rows=rows,
        bias=weights(-600, 100, labels),
        thresholds=thresholds,
        slopes=weights(200, 400, labels),
        intercepts=weights(-100, 100, labels),
        bends=np.stack([weights(-600, 100, labels), weights(-100, 500, labels)]),
        training={"precision": 0.9, "coverage": 0.7},
        data={"queries": "made up"},
    )


@pytest.fixture(scope="session")
def taxonomy() -> Taxonomy:
    """Three topics, "V", "T" and "S", with two or three subtopics each."""
    return Taxonomy(
        [
            TaxonomyLabel("V", "Vehicles", None, "cars and what moves"),
            TaxonomyLabel("V1", "Cars", "V"),
            TaxonomyLabel("V2", "Motorcycles", "V"),
            TaxonomyLabel("V3", "Parts", "V"),
            TaxonomyLabel("T", "Travel", None),
            TaxonomyLabel("T1", "Hotels", "T"),
            TaxonomyLabel("T2", "Flights", "T"),
            TaxonomyLabel("S", "Shopping", None),
            TaxonomyLabel("S1", "Clothes", "S"),
            TaxonomyLabel("S2", "Chaussures et après-ski", "S"),
        ]
    )


@pytest.fixture(scope="session")
def artifact(taxonomy: Taxonomy) -> Artifact:
    """An artifact in memory that was never saved: buckets with plain, scaled and both rows."""
    return small_artifact(taxonomy)


@pytest.fixture(scope="session")
def artifact_path(artifact: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``artifact``, saved; shared by the session: tests that change it copy it first."""
    path = tmp_path_factory.mktemp("artifacts") / "small"
    save(artifact, path)
    return path


@pytest.fixture(scope="session")
def model(artifact_path: Path) -> TopicModel:
    """``artifact_path``, loaded."""
    return load(artifact_path)


@pytest.fixture(scope="session")
def compact_artifact(artifact: Artifact) -> Artifact:
    """``artifact`` in encoding sparse8, with sparse and dense records."""
    return compact(artifact, prune=2.0)


@pytest.fixture(scope="session")
def compact_path(compact_artifact: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``compact_artifact``, saved; shared by the session: tests that change it copy it first."""
    path = tmp_path_factory.mktemp("artifacts") / "compact"
    save(compact_artifact, path)
    return path


@pytest.fixture(scope="session", params=["float32", "sparse8"])
def any_model(request: pytest.FixtureRequest) -> TopicModel:
    """A loaded model of each encoding."""
    return load(
        request.getfixturevalue(
            {"float32": "artifact_path", "sparse8": "compact_path"}[request.param]
        )
    )


@pytest.fixture(scope="session")
def make_artifact() -> Callable[..., Artifact]:
    """``make_artifact(taxonomy, seed=7)``: an artifact of the small vocabulary for any taxonomy."""
    return small_artifact


@pytest.fixture(scope="session")
def large_model() -> TopicModel:
    """1,500 labels in topics of ten labels."""
    labels = []
    for number in range(1500):
        topic = None if number % 10 == 0 else f"L{number // 10 * 10}"
        labels.append(TaxonomyLabel(f"L{number}", f"Label {number}", topic))
    return TopicModel(small_artifact(Taxonomy(labels)))
