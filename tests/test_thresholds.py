"""Thresholds: the promised error rate and power under simulation, and what a choice means."""

from dataclasses import replace

import numpy as np
import pytest
from training_support import at_most

from topiccore import Taxonomy, TaxonomyLabel
from training.calibration import Calibration, calibrate, cross_fitted_scores
from training.config import ThresholdsConfig
from training.context import beside_best
from training.evaluate import quality, with_topics
from training.precision_test import MOST_PER_QUERY
from training.student import sigmoid
from training.thresholds import (
    BEST_TOPIC,
    CANDIDATES,
    FURTHER,
    choose_thresholds,
    labels_per_query,
)

TARGET = 0.9
TAXONOMY = Taxonomy(
    [
        TaxonomyLabel("A", "A", None),
        TaxonomyLabel("A1", "A1", "A"),
        TaxonomyLabel("A2", "A2", "A"),
        TaxonomyLabel("B", "B", None),
        TaxonomyLabel("B1", "B1", "B"),
        TaxonomyLabel("B2", "B2", "B"),
    ]
)
TOPICS = TAXONOMY.parents < 0
CONFIG = ThresholdsConfig(precision=TARGET, confidence=0.9, further=0.9, min_support=10)
ENOUGH = np.full(len(TAXONOMY), 100)


def test_a_query_counts_for_what_queries_emit_at_most():
    sizes = [np.zeros(9, int), np.ones(9, int)]
    assert labels_per_query(sizes[:1]) == labels_per_query(sizes) == 1
    assert labels_per_query([*sizes, np.array([0, 2])]) == 2
    assert labels_per_query([*sizes, np.array([3, 0])]) == 3
    assert labels_per_query([*sizes, np.array([9, 0])]) == MOST_PER_QUERY


def simulated(rng, queries, gap=0.2):
    """(scores, truth, gold), [queries, labels]: labels are right less often than scores say.

    ``truth`` is the probability that the label is right, given all scores of the query.
    """
    scores = rng.beta(0.4, 0.6, (queries, len(TAXONOMY)))
    own = np.clip(scores - gap * (1 - scores), 0, 1)
    truth = own.copy()
    gold = rng.random(own.shape) < own
    for place, parent in enumerate(TAXONOMY.parents.tolist()):
        if parent >= 0:
            truth[:, parent] = 1 - (1 - truth[:, parent]) * (1 - truth[:, place])
            gold[:, parent] |= gold[:, place]
    return scores, truth, gold


def logits_of(scores):
    return np.log(scores / (1 - scores))


def identity(labels: int = 6) -> Calibration:
    zeros = np.zeros((3, labels), np.float32)
    return Calibration(np.ones(labels, np.float32), zeros[0], zeros)


def emitted_by(chosen, logits, alone=None, taxonomy=TAXONOMY):
    """What ``logits`` in context emit; ``alone``: as they are without it."""
    best = ~beside_best(logits if alone is None else alone, taxonomy)
    thresholds = np.where(best, chosen.logits, chosen.beside)
    return with_topics(logits.astype(np.float32) >= thresholds, taxonomy)


def choose(scores, gold, support=ENOUGH, config=CONFIG, seed=0):
    return chosen_with(
        identity(), logits_of(scores), gold, support=support, config=config, seed=seed
    )


def chosen_with(
    calibration, logits, gold, taxonomy=TAXONOMY, support=ENOUGH, config=CONFIG, seed=0
):
    scores = calibration.scores(logits, taxonomy)
    return choose_thresholds(logits, scores, gold, support, calibration, taxonomy, config, seed)


@pytest.fixture(scope="module")
def choices():
    """Choices on 100 samples: the thresholds, the precision there and the true one."""
    population, truth, _ = simulated(np.random.default_rng(0), 20_000, gap=0.7)
    found = []
    for seed in range(100):
        scores, _, gold = simulated(np.random.default_rng(seed + 1), 1500, gap=0.7)
        chosen = choose(scores, gold, seed=seed)
        everywhere = emitted_by(chosen, logits_of(population))
        here = emitted_by(chosen, logits_of(scores))
        real = (truth * everywhere).sum() / everywhere.sum() if everywhere.any() else 1
        found.append((chosen, quality(here, gold).precision, real))
    return found


def test_true_precision_is_rarely_below_the_target(choices):
    below = [real < TARGET for _, _, real in choices]
    assert np.mean(below) <= at_most(1 - CONFIG.confidence, len(choices))


def test_cuts_are_found_and_not_far_above_the_target(choices):
    assert np.mean([np.isfinite(chosen.cuts[BEST_TOPIC]) for chosen, _, _ in choices]) > 0.95
    assert np.median([real for _, _, real in choices]) < TARGET + 0.03


def test_cuts_meet_the_target_on_the_data_they_were_chosen_on(choices):
    assert min(precision for _, precision, _ in choices) >= TARGET


def test_calibration_search_and_model_together_rarely_break_the_promise():
    # As a run does it: the calibration is learned from the very queries the cut is chosen on.
    population, truth, _ = simulated(np.random.default_rng(0), 8000, gap=0.7)
    population = logits_of(population)
    config = replace(CONFIG, confidence=0.8)
    found = []
    for seed in range(60):
        scores, _, gold = simulated(np.random.default_rng(seed + 1), 300, gap=0.7)
        logits = logits_of(scores)
        calibration = calibrate(logits, gold, TAXONOMY)
        unseen = cross_fitted_scores(logits, gold, TAXONOMY, seed)
        chosen = choose_thresholds(
            logits, unseen, gold, ENOUGH, calibration, TAXONOMY, config, seed
        )
        everywhere = emitted_by(chosen, calibration.in_context(population, TAXONOMY), population)
        if everywhere.any():
            found.append((truth * everywhere).sum() / everywhere.sum())
    assert len(found) > 48
    assert np.mean(np.array(found) < TARGET) <= at_most(1 - config.confidence, len(found))
    assert np.median(found) < TARGET + 0.05


@pytest.mark.parametrize("at_the_top", [11, 60, 110, 200])
def test_few_emissions_at_the_strictest_cuts_do_not_end_the_search(at_the_top):
    scores, gold = np.full((3000, len(TAXONOMY)), 0.01), np.zeros((3000, len(TAXONOMY)), bool)
    topic = TAXONOMY.index_of("A")
    scores[:at_the_top, topic], scores[at_the_top:2000, topic] = 0.995, 0.8
    gold[:2000, topic] = True
    gold[0, topic] = False  # the best-scored query is a wrong one
    chosen = choose(scores, gold)
    assert chosen.cuts[BEST_TOPIC] <= 0.8
    assert emitted_by(chosen, logits_of(scores))[:, topic].sum() == 2000


def test_cuts_are_scores_for_all_labels():
    rng = np.random.default_rng(3)
    scores, _, gold = simulated(rng, 4000, gap=0.1)
    calibration = Calibration(
        rng.uniform(0.5, 2, len(TAXONOMY)).astype(np.float32),
        rng.uniform(-1, 1, len(TAXONOMY)).astype(np.float32),
        np.zeros((3, len(TAXONOMY)), np.float32),
    )
    logits = (logits_of(scores) - calibration.intercepts) / calibration.slopes
    chosen = chosen_with(calibration, logits, gold)
    for values in (chosen.logits, chosen.beside):
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
    best, further = (
        sigmoid(values * calibration.slopes + calibration.intercepts)
        for values in (chosen.logits, chosen.beside)
    )
    assert best[TOPICS] == pytest.approx(chosen.cuts[BEST_TOPIC], abs=1e-5)
    assert best[~TOPICS] == pytest.approx(chosen.cuts[FURTHER], abs=1e-5)
    assert further == pytest.approx(chosen.cuts[FURTHER], abs=1e-5)
    assert chosen.cuts[BEST_TOPIC] in CANDIDATES
    assert chosen.cuts[BEST_TOPIC] < chosen.cuts[FURTHER] == CONFIG.further
    assert (chosen.beside >= chosen.logits).all()


def test_further_labels_are_never_easier_than_the_best_topic():
    scores, _, gold = simulated(np.random.default_rng(3), 4000)
    chosen = choose(scores, gold, config=replace(CONFIG, further=0.2))
    assert chosen.cuts[FURTHER] == chosen.cuts[BEST_TOPIC] > 0.2


def test_label_with_too_little_evidence_is_never_emitted():
    scores, _, gold = simulated(np.random.default_rng(4), 4000)
    rare = TAXONOMY.index_of("A2")
    support = ENOUGH.copy()
    support[rare] = CONFIG.min_support - 1
    chosen = choose(scores, gold, support)
    for values in (chosen.logits, chosen.beside):
        assert values[rare] == np.inf
        assert np.isfinite(np.delete(values, rare)).all()
    support[rare] += 1
    assert np.isfinite(choose(scores, gold, support).logits).all()


def test_label_that_no_validation_query_has_is_never_emitted():
    scores, _, gold = simulated(np.random.default_rng(4), 4000)
    rare = TAXONOMY.index_of("A2")
    gold[:, rare] = False
    scores[:, rare] = 0.01
    assert choose(scores, gold).logits[rare] == np.inf
    gold[0, rare] = True
    assert np.isfinite(choose(scores, gold).logits).all()


def test_cross_fitted_scores_of_a_query_do_not_ask_for_what_is_right_there():
    scores, _, gold = simulated(np.random.default_rng(4), 200)
    logits = logits_of(scores)
    rare = TAXONOMY.index_of("A2")
    gold[:, rare] = False
    gold[:3, rare] = True
    before = cross_fitted_scores(logits, gold, TAXONOMY, 0, 3)
    other = gold.copy()
    other[7, TOPICS] ^= True
    after = cross_fitted_scores(logits, other, TAXONOMY, 0, 3)
    assert np.array_equal(before[7], after[7])
    assert not np.array_equal(before, after)
    # No part is scored as if the label's queries within it were known.
    assert (before[:3, rare] == 0).all()
    assert (before[:, rare] > 0).any()
    assert (np.delete(before, rare, axis=1) > 0).all()


def test_label_without_evidence_does_not_spoil_the_cut_of_the_others():
    scores, _, gold = simulated(np.random.default_rng(4), 4000)
    rare = TAXONOMY.index_of("A2")
    gold[1:, rare] = False
    gold[0, rare] = True
    support = ENOUGH.copy()
    support[rare] = 0
    assert choose(scores, gold, support).cuts[BEST_TOPIC] < choose(scores, gold).cuts[BEST_TOPIC]


def test_further_labels_that_cannot_keep_the_target_are_never_emitted():
    rng = np.random.default_rng(5)
    scores, _, _ = simulated(rng, 3000)
    topic_of = np.where(TOPICS, np.arange(len(TAXONOMY)), TAXONOMY.parents)
    best = topic_of[logits_of(scores).argmax(axis=1)]
    gold = np.zeros(scores.shape, bool)
    gold[np.arange(len(gold)), best] = True
    gold[0, ~TOPICS] = True  # seen at all, no more
    scores[np.arange(len(gold)), best] = scores.max(axis=1)
    chosen = choose(scores, gold)
    assert chosen.cuts[FURTHER] == np.inf
    assert (chosen.beside == np.inf).all()
    assert np.isfinite(chosen.logits[TOPICS]).all()
    assert chosen.cuts[BEST_TOPIC] < 0.5


def test_hopeless_scores_emit_nothing():
    rng = np.random.default_rng(6)
    scores, _, _ = simulated(rng, 3000)
    chosen = choose(scores, rng.random(scores.shape) < 0.5)
    assert set(chosen.cuts.values()) == {np.inf}
    assert not emitted_by(chosen, logits_of(scores)).any()


def test_topics_that_subtopics_bring_count():
    # Topics are right where their own score is high, wrong where a subtopic alone brings them.
    scores, _, _ = simulated(np.random.default_rng(6), 3000)
    gold = scores > 0.5
    gold[:, ~TOPICS] &= scores[:, ~TOPICS] > 0.99
    chosen = choose(scores, gold, config=replace(CONFIG, further=0.6))
    assert chosen.cuts[FURTHER] > 0.9


def test_taxonomy_of_topics_alone():
    flat = Taxonomy([TaxonomyLabel("A", "A", None), TaxonomyLabel("B", "B", None)])
    scores = np.random.default_rng(7).beta(0.4, 0.6, (3000, 2))
    gold = scores > 0.4
    chosen = chosen_with(identity(2), logits_of(scores), gold, flat, ENOUGH[:2])
    assert np.isfinite(chosen.logits).all()
    assert emitted_by(chosen, logits_of(scores), taxonomy=flat).sum(axis=1).max() == 2


@pytest.mark.parametrize("texts", [40, 100])
def test_few_texts_of_one_label_without_an_error_are_enough(texts):
    flat = Taxonomy([TaxonomyLabel(code, code, None) for code in "ABC"])
    rng = np.random.default_rng(7)
    gold = np.eye(3, dtype=bool)[rng.integers(0, 3, texts)]
    logits = np.where(gold, 3, -4) + rng.normal(0, 0.5, gold.shape)
    calibration = calibrate(logits, gold, flat)
    unseen = cross_fitted_scores(logits, gold, flat, 0)
    config = replace(CONFIG, confidence=0.8)
    chosen = choose_thresholds(logits, unseen, gold, ENOUGH[:3], calibration, flat, config, 0)
    assert np.isfinite(chosen.logits).all()
    emitted = emitted_by(chosen, calibration.in_context(logits, flat), logits, flat)
    assert np.array_equal(emitted, gold)


def test_a_seed_gives_one_choice():
    scores, _, gold = simulated(np.random.default_rng(8), 1000)
    first, second = (choose(scores, gold, seed=5) for _ in "ab")
    assert np.array_equal(first.logits, second.logits)
    assert np.array_equal(first.beside, second.beside)
    assert first.cuts == second.cuts


def test_stricter_settings_emit_less():
    scores, _, gold = simulated(np.random.default_rng(9), 3000)

    def cut(precision, confidence):
        config = replace(CONFIG, precision=precision, confidence=confidence, further=precision)
        return choose(scores, gold, config=config).cuts[BEST_TOPIC]

    by_precision = [cut(precision, 0.9) for precision in (0.5, 0.7, 0.9, 0.95)]
    assert by_precision == sorted(by_precision)
    assert by_precision[0] < by_precision[-1]
    by_confidence = [cut(0.9, confidence) for confidence in (0.5, 0.9, 0.999)]
    assert by_confidence == sorted(by_confidence)
