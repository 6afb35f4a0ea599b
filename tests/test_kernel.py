"""Logits and emitted labels: the kernel against the reference, and against sums made by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unicode14 import NEWER

from topiccore import (
    Answer,
    EmittedLabel,
    QueryTooLongError,
    QueryTypeError,
    Taxonomy,
    TaxonomyLabel,
    TopicModel,
    reference,
)
from topiccore._scoring import hash_tokens
from topiccore.compaction import compact
from training.bends import bent

KNOWN = [
    *("used", "honda", "civic", "cheap", "hotel", "東", "🚗", "dallas", "flight", "beach", "pizza"),
    *("straße", "京", "red", "dress", "running", "shoes", "cafe", "Café", "RED", "unknown"),
]
EDGES = [
    pytest.param("", id="empty"),
    pytest.param(b"", id="empty bytes"),
    pytest.param(" \t\n\u3000 ", id="blanks"),
    pytest.param("unknown words only", id="unknown"),
    pytest.param("used honda civic dallas", id="plain"),
    pytest.param("red dress running shoes cafe", id="both rows"),
    pytest.param("dallas flight beach pizza", id="scaled"),
    pytest.param("x" * 100_000, id="one token of 100,000 characters"),
    pytest.param("🚗🚗 東京 🚗", id="emoji and ideographs"),
    pytest.param("used \ud83d honda\udc00", id="lone surrogates"),
    pytest.param("used\x00honda\x00", id="NUL"),
    pytest.param("שלום used السلام honda", id="right to left"),
    pytest.param(b"used\xff honda \xe6\x9d", id="not UTF-8"),
    pytest.param("used honda " + "x " * 50_000, id="100,000 characters"),
    pytest.param("red dress " + "x " * 254, id="256 tokens"),
    pytest.param("red dress " + "x " * 255, id="257 tokens"),
]
LARGE_LOGITS = [
    pytest.param("red dress " * 10_000, id="100,000 characters"),
    pytest.param("running shoes, " * 128, id="256 tokens"),
    pytest.param("running shoes, " * 128 + "used", id="257 tokens"),
]
CHARACTERS = st.characters().filter(lambda c: c not in NEWER)
TEXT = st.lists(st.sampled_from(KNOWN) | st.text(CHARACTERS, max_size=6), max_size=30).map(" ".join)
QUERIES = TEXT | TEXT.map(lambda text: text.encode("utf-8", "replace")) | st.binary(max_size=40)


def assert_same_answer(model: TopicModel, query: str | bytes, min_score: float | None) -> None:
    answer = model.score(query, min_score=min_score)
    expected = reference.score(model.artifact, query, min_score)
    assert [label.code for label in answer] == [code for code, _ in expected]
    for label, (_, score) in zip(answer, expected, strict=True):
        assert label.score == pytest.approx(score, rel=0, abs=1e-12)
    tokens = len(reference.tokenize(query))
    assert answer.truncated is (tokens > reference.MAX_TOKENS)
    assert answer.tokens == min(tokens, reference.MAX_TOKENS)
    assert answer.unknown == reference.unknown_tokens(model.artifact, query)


# --- the kernel against the reference -----------------------------------------------------------


def test_vocabulary_has_every_kind_of_row(model):
    kinds = {entry & 3 for entry in model.artifact.index.entries.tolist()}
    assert kinds == {reference.PLAIN, reference.SCALED, reference.PLAIN | reference.SCALED}


@pytest.mark.parametrize("query", EDGES + LARGE_LOGITS)
def test_edge_logits_have_the_bits_of_the_reference(any_model, query):
    logits = any_model.logits([query])
    assert logits.dtype == np.float32
    assert np.array_equal(logits, [reference.logits(any_model.artifact, query)])


@given(query=QUERIES)
def test_logits_have_the_bits_of_the_reference(any_model, query):
    assert np.array_equal(any_model.logits([query])[0], reference.logits(any_model.artifact, query))


@pytest.mark.parametrize("min_score", [None, 0, 0.5, 1])
@pytest.mark.parametrize("query", EDGES)
def test_edge_answers_as_in_the_reference(any_model, query, min_score):
    assert_same_answer(any_model, query, min_score)


@pytest.mark.parametrize("min_score", [None, 0, 0.5, 1])
@pytest.mark.parametrize("query", LARGE_LOGITS)
def test_answers_of_large_logits_as_in_the_reference(model, query, min_score):
    assert_same_answer(model, query, min_score)


@given(query=QUERIES, min_score=st.none() | st.sampled_from([0, 0.5, 1]) | st.floats(0, 1))
def test_answers_as_in_the_reference(any_model, query, min_score):
    assert_same_answer(any_model, query, min_score)


@given(seed=st.integers(0, 1000), query=TEXT, min_score=st.none() | st.floats(0, 1))
def test_answers_of_other_weights_as_in_the_reference(
    make_artifact, taxonomy, seed, query, min_score
):
    assert_same_answer(TopicModel(make_artifact(taxonomy, seed)), query, min_score)


@pytest.mark.parametrize("labels", [1, 2, 3, 7, 8, 9, 511, 512, 513, 1023, 1024, 1025, 1537])
def test_any_number_of_labels(make_artifact, labels):
    # Around the widths of vectors and the kernel's blocks of labels.
    taxonomy = Taxonomy([TaxonomyLabel(f"L{i}", f"Label {i}", None) for i in range(labels)])
    artifact = make_artifact(taxonomy)
    for kind in (artifact, compact(artifact, prune=0), compact(artifact, prune=3.5)):
        model = TopicModel(kind)
        for query in ("", "used honda", "red dress running shoes dallas"):
            assert np.array_equal(model.logits([query])[0], reference.logits(kind, query))
            assert_same_answer(model, query, None)
            assert_same_answer(model, query, 0)


@pytest.mark.parametrize("min_score", [None, 0, 0.5, 1])
@pytest.mark.parametrize("query", ["", "used honda civic", "red dress running shoes", "x " * 300])
def test_many_labels(large_model, query, min_score):
    assert len(large_model.taxonomy) == 1500
    assert np.array_equal(
        large_model.logits([query])[0], reference.logits(large_model.artifact, query)
    )
    assert_same_answer(large_model, query, min_score)
    assert len(large_model.score(query, min_score=0)) == 1500


# --- sums by hand -------------------------------------------------------------------------------


def rows_of(model: TopicModel, word: str) -> tuple[np.ndarray, np.ndarray]:
    """The plain and the scaled row of a word, zeros where it has none."""
    artifact = model.artifact
    plain, scaled = reference.find_rows(artifact, int(hash_tokens([word])[0]))
    assert plain is not None or scaled is not None
    nothing = np.zeros(len(artifact.bias), np.float32)
    return nothing if plain is None else plain, nothing if scaled is None else scaled


def test_empty_query_is_the_bias(model):
    artifact = model.artifact
    assert np.array_equal(model.logits(["", b"", " !"]), [artifact.bias] * 3)
    scores = {label.code: label.score for label in model.score("", min_score=0)}
    straight = artifact.slopes * artifact.bias.astype(float) + artifact.intercepts
    calibrated = bent(straight, *artifact.bends.astype(float))
    for place in range(len(artifact.bias)):
        if artifact.taxonomy[place].topic is not None:  # a topic's may be its subtopic's
            expected = 1 / (1 + math.exp(-calibrated[place]))
            assert scores[artifact.taxonomy[place].code] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 9])
def test_every_repetition_of_a_token_counts(model, count):
    bias = model.artifact.bias
    plain, scaled = rows_of(model, "honda")
    assert not scaled.any()
    assert np.array_equal(model.logits(["honda " * count])[0], bias + count * plain)
    plain, scaled = rows_of(model, "pizza")
    assert not plain.any()
    expected = bias + count * scaled / math.sqrt(count)
    assert model.logits(["pizza " * count])[0] == pytest.approx(expected, abs=1e-4)
    plain, scaled = rows_of(model, "red")
    assert plain.any()
    assert scaled.any()
    expected = bias + count * plain + count * scaled / math.sqrt(count)
    assert model.logits(["red " * count])[0] == pytest.approx(expected, abs=1e-4)


def test_unknown_tokens_count_in_the_scale(model):
    plain, scaled = rows_of(model, "red")
    expected = model.artifact.bias + plain + scaled / 2
    assert np.array_equal(model.logits(["unknown red other unknown"])[0], expected)


def test_pairs_of_neighbours_count_in_order(model):
    used, honda = rows_of(model, "used")[0], rows_of(model, "honda")[0]
    apart = model.artifact.bias + honda + used
    assert np.array_equal(model.logits(["honda used"])[0], apart)
    assert np.array_equal(model.logits(["used x honda"])[0], apart)
    assert not np.array_equal(model.logits(["used honda"])[0], apart)


def test_tokens_after_the_limit_do_not_count(model):
    cut = "honda " * 256
    assert np.array_equal(model.logits([cut]), model.logits([cut + "used red dallas"]))
    assert not model.score(cut).truncated
    assert model.score(cut + "used").truncated


# --- emitted labels -----------------------------------------------------------------------------


def constant_model(artifact, logits: dict[str, float], **thresholds: float) -> TopicModel:
    """A model with the same logits for every query; others are -9; thresholds are 0 by default."""
    codes = [label.code for label in artifact.taxonomy]
    ones = np.ones(len(codes), np.float32)
    return TopicModel(
        replace(
            artifact,
            rows=np.zeros_like(artifact.rows),
            bias=np.array([logits.get(code, -9) for code in codes], np.float32),
            thresholds=np.array([thresholds.get(code, 0) for code in codes], np.float32),
            slopes=ones,
            intercepts=0 * ones,
            bends=np.zeros_like(artifact.bends),
        )
    )


def sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def pairs(answer: Answer) -> list[tuple[str, float]]:
    return [(label.code, label.score) for label in answer]


def test_nothing_reaches_its_threshold(artifact):
    answer = constant_model(artifact, {}).score("used honda")
    assert answer == []
    assert type(answer) is Answer


def test_labels_have_code_name_and_score(artifact):
    (label,) = constant_model(artifact, {"S": 1}).score("")
    assert label == EmittedLabel("S", "Shopping", sigmoid(1))


def test_threshold_itself_is_enough(artifact):
    model = constant_model(
        artifact, {"V": 1.5, "T": 1.5}, V=1.5, T=np.nextafter(np.float32(1.5), np.float32(2))
    )
    assert pairs(model.score("")) == [("V", sigmoid(1.5))]


def test_min_score_itself_is_enough(artifact):
    model = constant_model(artifact, {"V": 1.5}, V=9)
    assert pairs(model.score("", min_score=sigmoid(1.5))) == [("V", sigmoid(1.5))]
    assert model.score("", min_score=np.nextafter(sigmoid(1.5), 1)) == []


def test_thresholds_are_on_logits_and_scores_are_calibrated(artifact):
    base = constant_model(artifact, {"V": 2, "T": 1}).artifact
    slopes, intercepts = base.slopes.copy(), base.intercepts.copy()
    slopes[0], intercepts[0] = 0.5, -3
    model = TopicModel(replace(base, slopes=slopes, intercepts=intercepts))
    assert pairs(model.score("")) == [("T", sigmoid(1)), ("V", sigmoid(-2))]


def test_below_its_knee_a_score_falls_more_steeply(artifact):
    base = constant_model(artifact, {"V": 2, "T": -1, "S": -2}).artifact
    bends = np.zeros_like(base.bends)
    bends[:, [base.taxonomy.index_of(code) for code in "VTS"]] = [[-1.5], [2]]
    model = TopicModel(replace(base, bends=bends))
    found = dict(pairs(model.score("", min_score=0.001)))
    assert {code: found[code] for code in "VTS"} == pytest.approx(
        {"V": sigmoid(2), "T": sigmoid(-1), "S": sigmoid(-2 - 2 * 0.5)}
    )
    told = model.explain("", ["S"])[0]
    assert told.score == pytest.approx(found["S"])


def test_subtopic_brings_its_topic_with_at_least_its_score(artifact):
    model = constant_model(artifact, {"V2": 2, "V": -1})
    assert pairs(model.score("")) == [("V", sigmoid(2)), ("V2", sigmoid(2))]
    assert pairs(model.score("", min_score=0.5)) == [("V", sigmoid(2)), ("V2", sigmoid(2))]


def test_brought_topic_keeps_a_higher_score_of_its_own(artifact):
    model = constant_model(artifact, {"V2": 1, "V": 3}, V=5)
    assert pairs(model.score("")) == [("V", sigmoid(3)), ("V2", sigmoid(1))]


def test_topic_has_the_score_of_its_best_subtopic(artifact):
    model = constant_model(artifact, {"V": 0.5, "V1": 1, "V2": 3, "V3": 2})
    codes = ["V", "V2", "V3", "V1"]
    assert [label.code for label in model.score("")] == codes
    assert model.score("")[0].score == sigmoid(3)


def test_subtopic_below_its_threshold_does_not_raise_its_topic(artifact):
    model = constant_model(artifact, {"V": 1, "V1": 4}, V1=5)
    assert pairs(model.score("")) == [("V", sigmoid(1))]


def test_topic_does_not_bring_its_subtopics(artifact):
    assert pairs(constant_model(artifact, {"T": 1}).score("")) == [("T", sigmoid(1))]


def test_best_first_and_ties_in_the_order_of_the_taxonomy(artifact):
    model = constant_model(artifact, {"V": 1, "V3": 0.5, "T": 2, "T1": 2, "T2": 2, "S": 1, "S1": 0})
    codes = [label.code for label in model.score("")]
    assert codes == ["T", "T1", "T2", "V", "S", "V3", "S1"]


def test_all_equal_scores_are_in_the_order_of_the_taxonomy(large_model):
    base = large_model.artifact
    equal = np.zeros_like(base.bias)
    model = TopicModel(
        replace(
            base,
            rows=np.zeros_like(base.rows),
            bias=equal,
            intercepts=equal,
            slopes=equal + 1,
            bends=0 * base.bends,
        )
    )
    codes = [label.code for label in base.taxonomy]
    assert [label.code for label in model.score("used", min_score=0.5)] == codes


@given(query=TEXT, min_score=st.none() | st.floats(0, 1))
def test_order_and_topics_of_every_answer(model, query, min_score):
    answer = model.score(query, min_score=min_score)
    scores = {label.code: label.score for label in answer}
    assert len(scores) == len(answer)
    ranks = [(-label.score, model.taxonomy.index_of(label.code)) for label in answer]
    assert ranks == sorted(ranks)
    for code, score in scores.items():
        topic = model.taxonomy[model.taxonomy.index_of(code)].topic
        if topic is not None:
            assert scores[topic] >= score


@given(query=TEXT, limit=st.integers(0, 12))
def test_max_labels_are_the_first(model, query, limit):
    answer = model.score(query, min_score=0.1)
    cut = model.score(query, min_score=0.1, max_labels=limit)
    assert cut == answer[:limit]
    assert type(cut) is Answer


def test_max_labels_keeps_truncated(model):
    assert model.score("used " * 257, max_labels=0).truncated


@given(query=QUERIES)
def test_infinite_threshold_is_never_reached(model, query):
    assert model.artifact.thresholds[-1] == np.inf
    assert model.taxonomy[-1].code not in [label.code for label in model.score(query)]


def test_infinite_threshold_is_not_reached_by_a_large_logit(artifact):
    assert constant_model(artifact, {"S": 3e38}, S=np.inf).score("") == []
    assert constant_model(artifact, {"S": 3e38}, S=np.inf).score("", min_score=1)[0].code == "S"


def test_scores_of_extreme_logits(artifact):
    model = constant_model(artifact, {"V": 3e38, "T": -3e38}, T=-np.inf)
    assert pairs(model.score("")) == [("V", 1.0), ("T", 0.0)]


@pytest.mark.parametrize("steepness", [-0.5, 0, 2])
def test_logits_that_overflowed_downwards_have_score_0(artifact, steepness):
    base = constant_model(artifact, dict.fromkeys("VTS", -3e38)).artifact
    bends = np.full_like(base.bends, steepness)
    rows = np.full_like(base.rows, -3e38)
    model = TopicModel(replace(base, rows=rows, bends=bends))
    assert np.isneginf(model.logits(["used honda"])).any()
    found = dict(pairs(model.score("used honda", min_score=0)))
    assert len(found) == len(base.taxonomy)
    assert [found[code] for code in "VTS"] == [0.0, 0.0, 0.0]
    place = base.taxonomy.index_of("V")
    assert reference.score_at(model.artifact, place, -math.inf) == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_rows_that_are_no_numbers_do_no_harm(artifact, value):
    model = TopicModel(replace(artifact, rows=np.full_like(artifact.rows, value)))
    for query in ("used honda", "red", "dallas flight"):
        for min_score in (None, 0, 0.5, 1):
            assert len(model.score(query, min_score=min_score)) <= len(model.taxonomy)


# --- batches ------------------------------------------------------------------------------------


@given(queries=st.lists(QUERIES, max_size=8), min_score=st.none() | st.floats(0, 1))
def test_batch_is_each_query_scored(model, queries, min_score):
    answers = model.score_batch(queries, min_score=min_score, max_labels=3)
    single = [model.score(query, min_score=min_score, max_labels=3) for query in queries]
    assert answers == single
    assert [a.truncated for a in answers] == [a.truncated for a in single]
    assert all(type(answer) is Answer for answer in answers)


def test_batch_takes_any_iterable(model):
    queries = ["used honda", b"red dress", "x " * 300]
    expected = [model.score(query) for query in queries]
    assert model.score_batch(iter(queries)) == expected
    assert model.score_batch(tuple(queries)) == expected
    assert [answer.truncated for answer in model.score_batch(queries)] == [False, False, True]
    assert np.array_equal(model.logits(iter(queries)), model.logits(queries))


def test_empty_batch(model):
    assert model.score_batch([]) == []
    assert model.logits([]).shape == (0, len(model.taxonomy))


@pytest.mark.parametrize("method", ["score_batch", "logits"])
def test_errors_of_a_batch_name_the_position(model, method):
    call = getattr(model, method)
    with pytest.raises(QueryTypeError, match=r"^query 2: .*NoneType"):
        call(["used", "\ud800", None, 5])
    with pytest.raises(QueryTooLongError, match=r"^query 1: .*1048577 bytes"):
        call(["used", "x" * (2**20 + 1)])


def test_tokens_and_unknown_tokens_by_hand(any_model):
    answer = any_model.score("used qwxz honda qwxz")
    assert (answer.tokens, answer.unknown) == (4, 2)
    (batch,) = any_model.score_batch(["used qwxz honda qwxz"])
    assert (batch.tokens, batch.unknown) == (4, 2)
    assert (any_model.score("").tokens, any_model.score("").unknown) == (0, 0)
