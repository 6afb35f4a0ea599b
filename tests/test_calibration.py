"""Calibration: it finds slopes it should find, keeps rare labels near the rest, and measures."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from topiccore import Taxonomy, TaxonomyLabel
from training.calibration import Calibration, calibrate, calibration_error, focus
from training.student import sigmoid

STRAIGHT = np.zeros((2, 1), np.float32)


def flat(labels: int) -> Taxonomy:
    """So many topics."""
    return Taxonomy([TaxonomyLabel(f"T{i}", f"Topic {i}", None) for i in range(labels)])


def simulated(slopes, intercepts, queries, seed, spread=2.0):
    """(logits, gold) of labels whose true score is sigmoid(slope * logit + intercept)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(-1, spread, (queries, len(slopes)))
    scores = sigmoid(logits * slopes + intercepts)
    return logits.astype(np.float32), rng.random(scores.shape) < scores


def test_known_slopes_and_intercepts_are_found():
    slopes = np.array([0.4, 0.8, 1.0, 1.5, 2.5])
    intercepts = np.array([-1.0, 0.0, 0.5, -0.5, 1.0])
    logits, gold = simulated(slopes, intercepts, 60_000, 3)
    found = calibrate(logits, gold, flat(5), 1e-3, np.ones(logits.shape, np.float32))
    assert found.slopes.dtype == found.intercepts.dtype == np.float32
    assert found.slopes == pytest.approx(slopes, rel=0.05)
    assert found.intercepts == pytest.approx(intercepts, abs=0.06)


def test_it_is_the_optimum_of_the_penalised_likelihood():
    logits, gold = simulated(np.array([0.7, 1.4]), np.array([0.3, -0.6]), 3000, 5)
    prior = 20.0

    weights = np.random.default_rng(5).uniform(0.2, 1, logits.shape).astype(np.float32)

    def fit(values, right, weight, center, strength):
        def loss(parameters):
            z = parameters[0] * values.astype(float) + parameters[1]
            return (weight * (np.logaddexp(0, z) - right * z)).sum() + strength / 2 * (
                (parameters - center) ** 2
            ).sum()

        return minimize(loss, center, tol=1e-10).x

    shared = calibrate(logits, gold, flat(2), 1e12, weights)
    log_odds = shared.in_context(logits, flat(2)) * shared.slopes + shared.intercepts
    found = calibrate(logits, gold, flat(2), prior, weights)
    for label in range(2):
        values = log_odds[:, label], gold[:, label], weights[:, label]
        slope, shift = fit(*values, np.array([1.0, 0.0]), prior)
        expected = shared.slopes[label] * slope, shared.intercepts[label] * slope + shift
        assert [found.slopes[label], found.intercepts[label]] == pytest.approx(expected, abs=2e-3)


def test_a_pair_weighs_a_power_of_what_a_first_fit_scores_it():
    logits, gold = simulated(np.array([0.7, 1.4]), np.array([0.3, -0.6]), 3000, 5)
    power = focus(gold)
    assert 3 < power < 6
    first = calibrate(logits, gold, flat(2), 20.0, np.ones(logits.shape, np.float32))
    second = calibrate(logits, gold, flat(2), 20.0, first.scores(logits, flat(2)) ** power)
    assert calibrate(logits, gold, flat(2), 20.0).slopes == pytest.approx(second.slopes, abs=1e-3)


@pytest.mark.parametrize(("labels", "power"), [(0, 1), (500, 1), (1250, 2.5), (9000, 6)])
def test_the_more_evidence_the_sharper_the_focus(labels, power):
    gold = np.zeros((3000, 3), bool)
    gold.ravel()[:labels] = True
    assert focus(gold) == power


def test_scores_are_right_where_decisions_are_made():
    rng = np.random.default_rng(9)
    logits = rng.normal(-5, 3, (40_000, 4)).astype(np.float32)
    # Sure logits exaggerate, unsure ones do not: no single slope fits both.
    truth = sigmoid(np.where(logits > 0, 0.6 * logits, logits))
    gold = rng.random(truth.shape) < truth

    def off(found):
        scores = found.scores(logits, flat(4))
        likely = scores >= 0.7
        return abs(scores[likely].mean() - gold[likely].mean())

    ones = np.ones(logits.shape, np.float32)
    equal = replace(calibrate(logits, gold, flat(4), pair_weights=ones), bends=STRAIGHT)
    assert off(calibrate(logits, gold, flat(4))) < 0.6 * off(equal)


def test_scores_that_are_next_to_nothing_are_right_too():
    rng = np.random.default_rng(19)
    logits = rng.normal(-5, 3, (40_000, 4)).astype(np.float32)
    # Below 0 twice as steep as above it.
    truth = sigmoid(np.where(logits > 0, 0.6 * logits, 1.2 * logits))
    gold = rng.random(truth.shape) < truth
    found = calibrate(logits, gold, flat(4))

    def off(calibration):
        scores = calibration.scores(logits, flat(4))
        return [
            abs(np.log(scores[band].mean() / gold[band].mean()))
            for low, high in ((0.001, 0.01), (0.01, 0.05), (0.05, 0.2), (0.4, 0.6), (0.6, 1))
            if (band := (truth >= low) & (truth < high)).any()
        ]

    assert max(off(found)) < 0.2
    assert max(off(replace(found, bends=STRAIGHT))) > 0.5


def test_rare_labels_have_what_labels_have_in_general():
    slopes = np.full(20, 0.6)
    logits, gold = simulated(slopes, np.full(20, 0.2), 20_000, 7)
    # A label that comes near only three times, and is wrong then.
    rare = np.full((len(logits), 1), -30, np.float32)
    rare[:3] = 1.0
    with_rare = np.append(logits, rare, axis=1), np.append(gold, rare > 2, axis=1)
    found = calibrate(*with_rare, flat(21))
    general = calibrate(logits, gold, flat(20), prior=1e9)
    assert general.slopes == pytest.approx(0.6, rel=0.03)
    assert np.ptp(general.slopes) < 1e-3
    assert found.slopes[-1] == pytest.approx(general.slopes[0], abs=0.05)
    assert found.intercepts[-1] == pytest.approx(general.intercepts[0], abs=0.05)
    # Without the pull of the others three wrong labels say a lot.
    alone = calibrate(*with_rare, flat(21), 0.01, np.ones(with_rare[0].shape, np.float32))
    assert alone.scores(np.ones((1, 21)), flat(21))[0, -1] < 0.1


@pytest.mark.parametrize("queries", [30, 300, 3000])
def test_the_less_evidence_the_nearer_to_the_rest(queries):
    logits, gold = simulated(np.array([0.5] * 9 + [2.0]), np.zeros(10), 20_000, 11)
    alone = np.zeros(len(logits), bool)
    alone[:queries] = True
    # Outside the first queries the odd label says nothing: logit so low that it is never right.
    logits[~alone, 9], gold[~alone, 9] = -40, False
    strong = calibrate(logits, gold, flat(10), prior=1e-3).slopes[9]
    pulled = calibrate(logits, gold, flat(10), prior=100).slopes[9]
    held = calibrate(logits, gold, flat(10), prior=1e6).slopes[9]
    rest = calibrate(logits, gold, flat(10), prior=100).slopes[:9].mean()
    assert abs(held - rest) < 0.1
    assert rest - 0.1 < held <= pulled + 0.05
    assert pulled < strong + 0.05


@pytest.mark.parametrize("right", [False, True])
def test_labels_that_are_always_or_never_right_have_finite_values(right):
    logits = np.random.default_rng(1).normal(0, 3, (500, 3)).astype(np.float32)
    found = calibrate(logits, np.full(logits.shape, right), flat(3))
    assert np.isfinite(found.slopes).all()
    assert np.isfinite(found.intercepts).all()
    assert (found.slopes > 0).all()


def test_slopes_stay_above_0_where_logits_mislead():
    logits, gold = simulated(np.full(3, -2.0), np.zeros(3), 5000, 13)
    assert (calibrate(logits, gold, flat(3)).slopes > 0).all()


def test_huge_logits_do_no_harm():
    logits, gold = simulated(np.ones(3), np.zeros(3), 2000, 17)
    logits[0] = 1e6
    logits[1] = -1e6
    found = calibrate(logits, gold, flat(3))
    assert np.isfinite(found.slopes).all()
    assert np.isfinite(found.scores(logits, flat(3))).all()


def test_logits_that_overflowed_have_scores_and_no_warning():
    taxonomy = Taxonomy(
        [
            TaxonomyLabel("A", "a", None),
            TaxonomyLabel("A1", "b", "A"),
            TaxonomyLabel("A2", "c", "A"),
            TaxonomyLabel("B", "d", None),
        ]
    )
    ones = np.ones(4, np.float32)
    calibration = Calibration(ones, 0 * ones, np.tile(np.float32([[0.5], [-1], [-1]]), 4))
    values = [np.inf, -np.inf, np.nan, np.finfo(np.float32).max, 0.0]
    logits = np.stack(np.meshgrid(*[values] * 4), axis=-1).reshape(-1, 4).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = calibration.scores(logits, taxonomy)
    assert ((scores >= 0) & (scores <= 1)).all()
    # The one that is high alone is sure, and one that is no number is not.
    high, none = np.float32([[0, 0, 0, np.inf], [0, 0, 0, np.nan]])
    assert calibration.scores(high[None], taxonomy)[0, 3] == pytest.approx(1)
    assert calibration.scores(none[None], taxonomy)[0, 3] == pytest.approx(0)
    assert np.isnan(none[3])


def test_logits_that_are_numbers_stay_as_they_are():
    logits = np.float32([[1e6, -3.25], [0.1, 7]])
    nothing = Calibration(np.float32([1, 1]), np.float32([0, 0]), np.zeros((3, 2), np.float32))
    assert (nothing.in_context(logits, flat(2)) == logits).all()


def test_scores_and_logits_at_a_score_are_inverse():
    calibration = Calibration(
        np.array([0.5, 2.0], np.float32),
        np.array([1.0, -3.0], np.float32),
        np.zeros((3, 2), np.float32),
        np.array([[-1.0, 0.5], [0.75, -0.5]], np.float32),
    )
    for score in (0.01, 0.2, 0.5, 0.9, 0.99):
        logits = calibration.logit_at(score)
        assert calibration.scores(logits[None], flat(2))[0] == pytest.approx([score] * 2, rel=1e-5)
    # Log-odds of 0: above the first knee, and below the second, where half as steep.
    assert calibration.logit_at(0.5) == pytest.approx([-2.0, (-0.5 + 3) / 2])
    assert calibration.scores(np.array([[-2.0, 1.5]]), flat(2)).shape == (1, 2)


# --- context -----------------------------------------------------------------------------------


def test_weights_of_context_are_found():
    taxonomy = Taxonomy(
        [
            *(TaxonomyLabel("A", "A", None), TaxonomyLabel("A1", "A1", "A")),
            *(TaxonomyLabel("A2", "A2", "A"), TaxonomyLabel("B", "B", None)),
            *(TaxonomyLabel("B1", "B1", "B"), TaxonomyLabel("B2", "B2", "B")),
        ]
    )
    topics = taxonomy.parents < 0
    weights = np.where(topics, [[0.5], [0], [-0.4]], [[0.2], [-0.3], [-0.1]])
    truth = Calibration(
        np.where(topics, 0.8, 1.2).astype(np.float32),
        np.where(topics, -0.5, 0.3).astype(np.float32),
        weights.astype(np.float32),
    )
    rng = np.random.default_rng(23)
    logits = rng.normal(-0.5, 2, (60_000, 6)).astype(np.float32)
    gold = rng.random(logits.shape) < truth.scores(logits, taxonomy)
    found = calibrate(logits, gold, taxonomy)
    assert found.weights.dtype == np.float32
    assert found.weights == pytest.approx(weights, abs=0.05)
    assert found.slopes == pytest.approx(truth.slopes, rel=0.05)
    assert found.intercepts == pytest.approx(truth.intercepts, abs=0.06)


# --- expected calibration error ----------------------------------------------------------------


def test_error_of_true_scores_is_near_0_and_of_shifted_ones_is_the_shift():
    rng = np.random.default_rng(19)
    truth = rng.uniform(0.3, 0.7, (40_000, 2))
    gold = rng.random(truth.shape) < truth
    assert calibration_error(truth, gold) < 0.01
    assert calibration_error(truth + 0.2, gold) == pytest.approx(0.2, abs=0.01)


def test_error_by_hand():
    scores = np.array([[0.6, 0.2], [0.8, 0.4]])
    gold = np.array([[False, False], [True, True]])
    # One bin: mean score 0.5, half are right.  Four bins: each pair by itself.
    assert calibration_error(scores, gold, bins=1) == pytest.approx(0)
    assert calibration_error(scores, gold, bins=4) == pytest.approx((0.2 + 0.6 + 0.6 + 0.2) / 4)
    assert calibration_error(scores, gold, bins=2) == pytest.approx((0.2 + 0.2) / 2)
    assert calibration_error(scores, gold, bins=99) == calibration_error(scores, gold, bins=4)


def test_low_scores_do_not_hide_the_error():
    scores = np.concatenate([np.full(10_000, 0.001), np.full(10, 0.9)])[:, None]
    gold = np.zeros(scores.shape, dtype=bool)
    assert calibration_error(scores, gold) == pytest.approx(0.9)
    assert calibration_error(scores[:10_000], gold[:10_000]) == 0
