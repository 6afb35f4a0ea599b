"""The exact test of precision: its errors and its power under simulation, and its worst case."""

import numpy as np
import pytest
from scipy.stats import binom
from training_support import at_most

from training.precision_test import MOST_PER_QUERY, is_precise

TARGET = 0.9


def one_label(rng, queries, precision):
    return (rng.random(queries) > precision).astype(int), np.ones(queries, int)


def up_to_three(rng, queries, precision):
    size = rng.integers(0, 4, queries)
    return rng.binomial(size, 1 - precision), size


def all_or_none(rng, queries, precision):
    """The labels of a query are right or wrong together."""
    size = rng.integers(0, 4, queries)
    return np.where(rng.random(queries) > precision, size, 0), size


def rarely(rng, queries, precision):
    wrong, size = one_label(rng, queries, precision)
    emitted = rng.random(queries) < 0.3
    return wrong * emitted, size * emitted


def accepted(draw, queries, precision, repeats, confidence, seed=1):
    rng = np.random.default_rng(seed)
    found = [is_precise(*draw(rng, queries, precision), TARGET, confidence) for _ in range(repeats)]
    return sum(found) / repeats


@pytest.mark.parametrize("confidence", [0.8, 0.95])
@pytest.mark.parametrize("queries", [100, 1000, 4000])
@pytest.mark.parametrize("draw", [one_label, up_to_three, all_or_none, rarely])
def test_precision_just_below_the_target_is_rarely_accepted(draw, queries, confidence):
    share = accepted(draw, queries, TARGET - 1e-4, 600, confidence)
    assert share <= at_most(1 - confidence, 600)


def test_the_bound_is_no_idle_one():
    # Close to what is allowed: a test that never accepted would pass the test above too.
    assert accepted(one_label, 4000, TARGET - 1e-4, 600, 0.8) > 0.05


@pytest.mark.parametrize("draw", [one_label, up_to_three, all_or_none])
def test_precision_well_below_the_target_is_never_accepted(draw):
    assert accepted(draw, 2000, 0.87, 200, 0.95) == 0


@pytest.mark.parametrize(
    ("draw", "queries", "precision", "least"),
    [
        (one_label, 1000, 0.95, 0.95),
        (one_label, 5000, 0.92, 0.95),
        (up_to_three, 1000, 0.95, 0.95),
        (all_or_none, 1000, 0.95, 0.9),
        (all_or_none, 5000, 0.92, 0.8),
        (rarely, 3000, 0.95, 0.9),
    ],
)
def test_power(draw, queries, precision, least):
    assert accepted(draw, queries, precision, 100, 0.95) >= least


def test_no_evidence_is_no_acceptance():
    assert not is_precise(np.zeros(500, int), np.zeros(500, int), TARGET, 0.95)
    assert not is_precise(np.zeros(3, int), np.ones(3, int), TARGET, 0.95)


def test_of_many_labels_of_a_query_the_wrong_ones_count_first():
    size = np.full(2000, 10)
    # 5 % wrong, but of the four that count a quarter is.
    few = np.full(2000, MOST_PER_QUERY // 4)
    few[::2] = 0
    assert is_precise(few // 2, size, TARGET, 0.95)
    assert not is_precise(few, size, TARGET, 0.95)


@pytest.mark.parametrize("confidence", [0.8, 0.95])
@pytest.mark.parametrize("queries", [50, 100, 1000])
def test_counting_for_one_accepts_too_low_a_precision_no_more_often(queries, confidence):
    rng = np.random.default_rng(1)
    draws = [one_label(rng, queries, TARGET - 1e-4) for _ in range(600)]
    share = np.mean([is_precise(*draw, TARGET, confidence, limit=1) for draw in draws])
    assert share <= at_most(1 - confidence, 600)


def test_counting_for_one_shows_more_with_few_queries():
    right, one = np.zeros(25, int), np.ones(25, int)
    assert is_precise(right, one, TARGET, 0.8, limit=1)
    assert not is_precise(right, one, TARGET, 0.8)


@pytest.mark.parametrize("queries", [20, 100, 2345])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_of_one_label_a_query_it_is_the_binomial_test(queries, confidence):
    ones = np.ones(queries, int)
    most = int(binom.ppf(1 - confidence, queries, 1 - TARGET)) - 1
    allowed = [
        count for count in range(queries) if binom.cdf(count, queries, 1 - TARGET) <= 1 - confidence
    ]
    assert most == max(allowed, default=-1)
    for wrong, accepted in ((most, True), (most + 1, False)):
        if wrong >= 0:
            told = np.arange(queries) < wrong
            assert is_precise(told.astype(int), ones, TARGET, confidence, limit=1) == accepted


def test_targets_of_four_digits_are_taken_as_they_are():
    wrong = (np.arange(20_000) < 11).astype(int)
    # Likely at an error of 0.0006, unlikely at one of 0.001.
    assert not is_precise(wrong, np.ones(20_000, int), 0.9994, 0.9, limit=1)
    assert is_precise(wrong, np.ones(20_000, int), 0.999, 0.9, limit=1)


def test_several_wrong_labels_of_a_query_say_less_than_one_each():
    size = np.full(400, 2)
    alone, together = np.zeros(400, int), np.zeros(400, int)
    alone[:62] = 1
    together[:31] = 2
    assert is_precise(alone, size, TARGET, 0.95, limit=2)
    assert not is_precise(together, size, TARGET, 0.95, limit=2)
    assert is_precise(together, size, TARGET, 0.8, limit=2)


@pytest.mark.parametrize("target", [0.5, 0.85, 0.925, 0.97, 0.995])
def test_any_target(target):
    rng = np.random.default_rng(4)
    size = rng.integers(1, 4, 6000)

    def accepted(precision):
        wrong = rng.binomial(size, 1 - precision)
        return is_precise(wrong, size, target, 0.9, limit=3)

    assert accepted(1 - (1 - target) / 3)
    assert not accepted(target - (1 - target) / 3)


def test_no_query_is_ever_too_many_for_it():
    size = np.random.default_rng(2).integers(0, 3, 200_000)
    wrong = (np.arange(len(size)) % 11 == 0) * size
    assert is_precise(wrong, size, TARGET, 0.95, limit=2)
    assert not is_precise(wrong, size, 0.92, 0.95, limit=2)


def test_no_distribution_of_the_region_is_worse_than_the_one_taken():
    # Drawn at random: as many two-label queries and doubly wrong ones as the test reckons with.
    rng = np.random.default_rng(8)
    queries, repeats = 600, 1500
    for two in (0.2, 0.6):
        for both in (0.0, 0.02, 0.05):
            # Just the error allowed: the share of queries with one wrong label makes up for it.
            one = (1 - TARGET) * (1 + two) - 2 * both
            drawn = rng.multinomial(queries, [one, both, 1 - one - both], repeats)
            accepted = 0
            for single, double, _ in drawn.tolist():
                wrong = np.repeat([2, 1, 0], [double, single, queries - single - double])
                size = np.ones(queries, int)
                # Doubly wrong ones have two labels, the other two-label queries are any.
                size[:double] = 2
                rest = double + rng.permutation(queries - double)
                size[rest[: max(0, round(two * queries) - double)]] = 2
                accepted += is_precise(wrong, size, TARGET, 0.8, limit=2)
            assert accepted / repeats <= at_most(0.2, repeats), (two, both)
