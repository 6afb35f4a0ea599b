"""Precision, coverage and coverage at a precision, against their definitions by brute force."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from topiccore import Taxonomy, TaxonomyLabel
from training.evaluate import (
    coverage_at_precision,
    quality,
    topic_scores,
    views,
    with_topics,
)

LABELS = 5
TAXONOMY = Taxonomy(
    [
        TaxonomyLabel("A", "A", None),
        TaxonomyLabel("A1", "A1", "A"),
        TaxonomyLabel("A2", "A2", "A"),
        TaxonomyLabel("B", "B", None),
        TaxonomyLabel("B1", "B1", "B"),
    ]
)
PARENT = {1: 0, 2: 0, 4: 3}
SETS = st.frozensets(st.integers(0, LABELS - 1))
GRID = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0])
SCORES = st.lists(GRID, min_size=LABELS, max_size=LABELS)
WEIGHT = st.integers(1, 9)
PRECISIONS = st.sampled_from([Fraction(9, 10), Fraction(1, 2), Fraction(2, 3), Fraction(1)])


def matrix(sets) -> np.ndarray:
    return np.array([[label in chosen for label in range(LABELS)] for chosen in sets], dtype=bool)


def complete(labels) -> set[int]:
    """A set of labels and the topics of its subtopics."""
    return set(labels) | {PARENT[label] for label in labels if label in PARENT}


def brute(emitted, gold, weights) -> tuple[Fraction, Fraction, Fraction]:
    """(precision, coverage, labels per query) by the definition, exactly."""
    size = sum(weight * len(e) for e, weight in zip(emitted, weights, strict=True))
    right = sum(w * len(e & g) for e, g, w in zip(emitted, gold, weights, strict=True))
    covered = sum(weight for e, weight in zip(emitted, weights, strict=True) if e)
    precision = Fraction(right, size) if size else Fraction(1)
    return precision, Fraction(covered, sum(weights)), Fraction(size, sum(weights))


@given(st.lists(st.tuples(SETS, SETS, WEIGHT), min_size=1, max_size=20))
def test_quality_by_definition(rows):
    emitted, gold, weights = (list(column) for column in zip(*rows, strict=True))
    found = quality(matrix(emitted), matrix(gold), np.array(weights))
    expected = brute(emitted, gold, weights)
    assert (found.precision, found.coverage, found.labels) == pytest.approx(
        tuple(map(float, expected)), rel=1e-12
    )
    unweighted = quality(matrix(emitted), matrix(gold))
    expected = brute(emitted, gold, [1] * len(rows))
    assert (unweighted.precision, unweighted.coverage, unweighted.labels) == pytest.approx(
        tuple(map(float, expected)), rel=1e-12
    )


@given(st.lists(st.tuples(SETS, SETS, WEIGHT), min_size=1, max_size=20))
def test_a_weight_is_so_many_queries(rows):
    emitted, gold, weights = (list(column) for column in zip(*rows, strict=True))
    repeated = np.repeat(np.arange(len(rows)), weights)
    first = quality(matrix(emitted), matrix(gold), np.array(weights))
    second = quality(matrix(emitted)[repeated], matrix(gold)[repeated])
    assert first.precision == pytest.approx(second.precision)
    assert first.coverage == pytest.approx(second.coverage)
    assert first.labels == pytest.approx(second.labels)


def test_quality_by_hand():
    emitted = matrix([{0, 1}, set(), {3}, {0, 2}])
    gold = matrix([{0, 1}, {3}, {0}, {0, 1}])
    found = quality(emitted, gold)
    assert (found.precision, found.coverage, found.labels) == (3 / 5, 3 / 4, 5 / 4)
    found = quality(emitted, gold, np.array([10, 1, 1, 1]))
    assert (found.precision, found.coverage, found.labels) == (21 / 23, 12 / 13, 23 / 13)


def test_nothing_emitted_is_precise_and_covers_nothing():
    found = quality(matrix([set(), set()]), matrix([{0}, {1}]))
    assert (found.precision, found.coverage, found.labels) == (1.0, 0.0, 0.0)


def test_what_is_emitted_where_no_label_is_right_is_wrong():
    assert quality(matrix([{0}]), matrix([set()])).precision == 0


@given(st.lists(SETS, min_size=1, max_size=10))
def test_with_topics(sets):
    emitted = matrix(sets)
    before = emitted.copy()
    assert np.array_equal(with_topics(emitted, TAXONOMY), matrix(map(complete, sets)))
    assert np.array_equal(emitted, before)


@given(st.lists(SCORES, min_size=1, max_size=10))
def test_topic_scores(rows):
    scores = np.array(rows)
    before = scores.copy()
    expected = before.copy()
    for subtopic, topic in PARENT.items():
        expected[:, topic] = np.maximum(expected[:, topic], before[:, subtopic])
    assert np.array_equal(topic_scores(scores, TAXONOMY), expected)
    assert np.array_equal(scores, before)


@given(rows=st.lists(SCORES, min_size=1, max_size=10), cut=GRID)
def test_a_cut_on_topic_scores_emits_what_subtopics_bring(rows, cut):
    scores = np.array(rows)
    assert np.array_equal(
        topic_scores(scores, TAXONOMY) >= cut, with_topics(scores >= cut, TAXONOMY)
    )


@given(
    rows=st.lists(st.tuples(SCORES, SETS, WEIGHT), min_size=1, max_size=12),
    precision=PRECISIONS,
    weighted=st.booleans(),
)
def test_coverage_at_precision_by_definition(rows, precision, weighted):
    scores, gold, weights = (list(column) for column in zip(*rows, strict=True))
    weights = weights if weighted else [1] * len(rows)
    best, cuts = Fraction(0), {float("inf")}
    for cut in sorted({value for row in scores for value in row}):
        emitted = [{label for label in range(LABELS) if row[label] >= cut} for row in scores]
        reached, coverage, _ = brute(emitted, gold, weights)
        if reached >= precision and coverage >= best:
            cuts = {cut} if coverage > best else cuts | {cut}
            best = coverage
    found = coverage_at_precision(
        np.array(scores), matrix(gold), float(precision), np.array(weights) if weighted else None
    )
    assert found.coverage == pytest.approx(float(best), rel=1e-12)
    assert found.cut in cuts
    # The cut itself reaches what is stated for it.
    stated = quality(np.array(scores) >= found.cut, matrix(gold), np.array(weights))
    assert stated.precision >= float(precision) - 1e-12
    assert stated.coverage == pytest.approx(found.coverage)


def test_ties_stand_or_fall_together():
    # 9 right labels and a wrong one at one score, which no cut can part.
    scores = np.full((10, 1), 0.5)
    gold = np.ones((10, 1), dtype=bool)
    gold[9] = False
    assert coverage_at_precision(scores, gold, 0.9).coverage == 1
    assert coverage_at_precision(scores, gold, 0.91).coverage == 0
    assert coverage_at_precision(scores, gold, 0.91).cut == np.inf
    # Another wrong one below: the cut stays above it.
    found = coverage_at_precision(np.append(scores, [[0.4]], 0), np.append(gold, [[False]], 0), 0.9)
    assert (found.coverage, found.cut) == (10 / 11, 0.5)


def test_precision_may_fall_below_the_target_on_the_way():
    # The best-scored label is wrong; with 19 right ones below it the precision is there again.
    scores = np.linspace(1, 0.5, 20)[:, None]
    gold = np.arange(20)[:, None] > 0
    found = coverage_at_precision(scores, gold, 0.9)
    assert (found.coverage, found.cut) == (1.0, 0.5)


def test_weights_move_the_cut():
    scores = np.array([[0.9], [0.8]])
    gold = np.array([[True], [False]])
    assert coverage_at_precision(scores, gold, 0.9).coverage == 0.5
    assert coverage_at_precision(scores, gold, 0.9, np.array([9, 1])).coverage == 1
    assert coverage_at_precision(scores, gold, 0.9, np.array([8, 1])).coverage == 8 / 9


@pytest.mark.parametrize("size", [10, 70, 1000, 99_990])
def test_a_precision_that_is_just_reached_counts(size):
    gold = (np.arange(size) >= size // 10)[:, None]
    assert coverage_at_precision(np.full((size, 1), 0.5), gold, 0.9).coverage == 1
    assert coverage_at_precision(np.full((size, 1), 0.5), gold, 0.9 + 1e-9).coverage == 0


def test_views():
    found = {name: chosen.tolist() for name, chosen in views(TAXONOMY)}
    assert found == {
        "all labels": [True] * 5,
        "topics": [True, False, False, True, False],
        "subtopics": [False, True, True, False, True],
    }
    flat = Taxonomy([TaxonomyLabel("A", "A", None)])
    assert [name for name, _ in views(flat)] == ["all labels", "topics"]
