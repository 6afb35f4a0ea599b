"""Logits in the context of a query's other labels: kernel, reference and training say the same."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from topiccore import Taxonomy, TaxonomyLabel, TopicModel, reference
from topiccore.artifact import Artifact

WORDS = ["used", "honda", "civic", "cheap", "hotel", "dallas", "red", "dress", "running", "shoes"]
QUERIES = st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join)


def with_context(artifact: Artifact, seed: int = 3) -> Artifact:
    """The artifact with weights of context, in 64ths."""
    shape = (3, len(artifact.taxonomy))
    weights = np.random.RandomState(seed).randint(-40, 60, size=shape) / 64
    return replace(artifact, context=weights.astype(np.float32))


def with_beside(artifact: Artifact, seed: int = 5) -> Artifact:
    """The artifact with thresholds of labels beside the best topic: some the same, some never."""
    raised = np.random.RandomState(seed).choice([0, 0.25, 1, 3, np.inf], len(artifact.taxonomy))
    return replace(artifact, beside=(artifact.thresholds + raised).astype(np.float32))


def assert_same_answer(model: TopicModel, query: str, min_score: float | None) -> None:
    answer = model.score(query, min_score=min_score)
    expected = reference.score(model.artifact, query, min_score)
    assert [label.code for label in answer] == [code for code, _ in expected]
    for label, (_, score) in zip(answer, expected, strict=True):
        assert label.score == pytest.approx(score, rel=0, abs=1e-12)


@given(query=QUERIES, seed=st.integers(0, 200), min_score=st.none() | st.floats(0, 1))
def test_answers_in_context_as_in_the_reference(artifact, query, seed, min_score):
    assert_same_answer(TopicModel(with_context(artifact, seed)), query, min_score)


@given(query=QUERIES, seed=st.integers(0, 200), min_score=st.none() | st.floats(0, 1))
@pytest.mark.parametrize("change", [lambda x, _: x, with_context], ids=["alone", "in context"])
def test_answers_beside_the_best_topic(artifact, change, query, seed, min_score):
    assert_same_answer(TopicModel(with_beside(change(artifact, seed), seed)), query, min_score)


@pytest.mark.parametrize("min_score", [None, 0, 0.5])
@pytest.mark.parametrize("query", ["", "used honda", "red dress dallas", "running shoes cheap"])
def test_many_topics(large_model, query, min_score):
    assert_same_answer(TopicModel(with_context(large_model.artifact)), query, min_score)


@pytest.mark.parametrize("query", ["", "used honda", "red dress dallas"])
@pytest.mark.parametrize(
    "labels",
    [
        [("A", None)],
        [("A", None), ("B", None)],
        [("A", None), ("A1", "A")],
        [("A", None), ("A1", "A"), ("A2", "A")],
        [("A", None), ("B", None), ("B1", "B"), ("C", None)],
    ],
    ids=lambda labels: " ".join(code for code, _ in labels),
)
def test_small_taxonomies(make_artifact, labels, query):
    taxonomy = Taxonomy([TaxonomyLabel(code, code, topic) for code, topic in labels])
    for weighed in (with_context(make_artifact(taxonomy)), make_artifact(taxonomy)):
        for min_score in (None, 0, 0.5):
            assert_same_answer(TopicModel(weighed), query, min_score)
            assert_same_answer(TopicModel(with_beside(weighed)), query, min_score)


def test_context_by_hand(taxonomy):
    # V, V1, V2, V3, T, T1, T2, S, S1, S2
    values = np.array([1, 2, 5, 3, 4, 4, 0, -1, -2, -3], np.float32)
    family, sibling, rival = reference.context(values, taxonomy)
    assert family.tolist() == [5, 1, 1, 1, 4, 4, 4, -2, -1, -1]
    assert sibling.tolist() == [0, 5, 3, 5, 0, 0, 4, 0, -3, -2]
    assert rival.tolist() == [4, 4, 4, 4, 5, 5, 5, 5, 5, 5]


def test_equal_rivals_have_each_other(taxonomy):
    values = np.array([7, 0, 0, 0, 7, 0, 0, 1, 0, 0], np.float32)
    assert reference.context(values, taxonomy)[2].tolist() == [7] * 10


@given(
    values=hnp.arrays(np.float32, (4, 10), elements=st.integers(-8, 8).map(float)),
)
def test_training_finds_the_same_context(taxonomy, values):
    pytest.importorskip("sklearn")
    from training.context import beside_best, context

    found, beside = context(values, taxonomy), beside_best(values, taxonomy)
    for row in range(len(values)):
        assert np.array_equal(found[:, row], reference.context(values[row], taxonomy))
        assert np.array_equal(beside[row], reference.beside_best(values[row], taxonomy))


def test_no_context_is_the_logit_itself(artifact):
    model = TopicModel(artifact)
    for item in model.explain("used honda", ["V", "V1"]):
        assert item.context == ()
        assert item.context_logit == item.logit


@given(query=QUERIES)
def test_explained_context_adds_up(artifact, query):
    model = TopicModel(with_context(artifact))
    codes = [label.code for label in model.taxonomy]
    for item in model.explain(query, codes):
        shares = sum(share.share for share in item.context)
        assert item.logit + shares == pytest.approx(item.context_logit, abs=1e-5)
        assert {share.text for share in item.context} <= set(reference.CONTEXT)


def fixed(artifact: Artifact, **logits: float) -> Artifact:
    """An artifact that finds these logits in every query, -9 for other labels; thresholds are 0."""
    codes = [label.code for label in artifact.taxonomy]
    return replace(
        artifact,
        rows=np.zeros_like(artifact.rows),
        bias=np.array([logits.get(code, -9) for code in codes], np.float32),
        thresholds=np.zeros(len(codes), np.float32),
        slopes=np.ones(len(codes), np.float32),
        intercepts=np.zeros(len(codes), np.float32),
    )


def codes_of(artifact: Artifact) -> list[str]:
    return [label.code for label in TopicModel(artifact).score("")]


def test_labels_beside_the_best_topic_have_thresholds_of_their_own(artifact):
    beside = np.full(len(artifact.taxonomy), 2, np.float32)
    raised = replace(fixed(artifact, V=3, V1=1, T=1, S=2), beside=beside)
    assert codes_of(replace(raised, beside=None)) == ["V", "S", "V1", "T"]
    assert codes_of(raised) == ["V", "S", "V1"]
    # A topic is the best by its best subtopic too, and topics that tie are best together.
    raised = replace(fixed(artifact, V=1, V1=1.5, T=1.5, S=1), beside=beside)
    assert codes_of(raised) == ["V", "V1", "T"]
    explained = TopicModel(raised).explain("", ["V", "S"])
    assert [item.threshold for item in explained] == [0, 2]


def test_a_strong_rival_silences_a_topic(artifact):
    # "V" alone reaches its threshold; with "T" as strong, and a weight on rivals, it does not.
    labels = len(artifact.taxonomy)
    context = np.zeros((3, labels), np.float32)
    context[2] = -0.5
    bias = np.full(labels, -9, np.float32)
    base = replace(
        artifact,
        rows=np.zeros_like(artifact.rows),
        context=context,
        thresholds=np.zeros(labels, np.float32),
        slopes=np.ones(labels, np.float32),
        intercepts=np.zeros(labels, np.float32),
    )
    bias[0] = 2
    assert [x.code for x in TopicModel(replace(base, bias=bias.copy())).score("")] == ["V"]
    bias[4] = 6
    assert [x.code for x in TopicModel(replace(base, bias=bias)).score("")] == ["T"]
