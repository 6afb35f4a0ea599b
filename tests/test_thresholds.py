"""Thresholds: the promised error rate and power under simulation, and what a choice means."""

import numpy as np
import pytest

from topiccore import Taxonomy, TaxonomyLabel
from training.calibration import Calibration
from training.config import ThresholdsConfig
from training.evaluate import quality, with_topics
from training.student import sigmoid
from training.thresholds import CANDIDATES, LABELS_PER_QUERY, choose_thresholds, is_precise

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
CONFIG = ThresholdsConfig(folds=5, precision=TARGET, confidence=0.9, min_emitted=10)


def at_most(share: float, repeats: int) -> float:
    """The largest share that 3 standard deviations of sampling explain."""
    return share + 3 * np.sqrt(share * (1 - share) / repeats)


# --- one test of precision -----------------------------------------------------------------------


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
    few = np.full(2000, LABELS_PER_QUERY // 4)
    few[::2] = 0
    assert is_precise(few // 2, size, TARGET, 0.95)
    assert not is_precise(few, size, TARGET, 0.95)


# --- the choice of thresholds --------------------------------------------------------------------


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
    return Calibration(np.ones(labels, np.float32), np.zeros(labels, np.float32))


def emitted_by(chosen, logits):
    return with_topics(logits.astype(np.float32) >= chosen.logits, TAXONOMY)


@pytest.fixture(scope="module")
def choices():
    """Choices on 250 samples: the thresholds; by level, the precision there and the true one."""
    population, truth, _ = simulated(np.random.default_rng(0), 20_000)
    population = logits_of(population)
    found = []
    for seed in range(250):
        scores, _, gold = simulated(np.random.default_rng(seed + 1), 1500)
        logits = logits_of(scores)
        chosen = choose_thresholds(logits, gold, identity(), TAXONOMY, CONFIG, seed)
        everywhere, here = emitted_by(chosen, population), emitted_by(chosen, logits)
        levels = {}
        for name, level in (("topics", TOPICS), ("subtopics", ~TOPICS)):
            emitted = everywhere[:, level]
            real = (truth[:, level] * emitted).sum() / max(emitted.sum(), 1) if emitted.any() else 1
            levels[name] = (quality(here[:, level], gold[:, level]).precision, real)
        found.append((chosen, levels))
    return found


@pytest.mark.parametrize("level", ["topics", "subtopics"])
def test_true_precision_is_rarely_below_the_target(choices, level):
    below = [levels[level][1] < TARGET for _, levels in choices]
    assert np.mean(below) <= at_most(1 - CONFIG.confidence, len(choices))


@pytest.mark.parametrize("level", ["topics", "subtopics"])
def test_cuts_are_found_and_not_far_above_the_target(choices, level):
    assert np.mean([np.isfinite(chosen.cuts[level]) for chosen, _ in choices]) > 0.95
    assert np.median([levels[level][1] for _, levels in choices]) < TARGET + 0.04


@pytest.mark.parametrize("level", ["topics", "subtopics"])
def test_cuts_meet_the_target_on_the_data_they_were_chosen_on(choices, level):
    assert min(levels[level][0] for _, levels in choices) >= TARGET


@pytest.mark.parametrize("at_the_top", [11, 60, 110, 200])
def test_few_emissions_at_the_strictest_cuts_do_not_end_the_search(at_the_top):
    scores, gold = np.full((3000, len(TAXONOMY)), 0.01), np.zeros((3000, len(TAXONOMY)), bool)
    scores[:at_the_top, ~TOPICS], scores[at_the_top:2000, ~TOPICS] = 0.995, 0.8
    gold[:2000, ~TOPICS] = True
    gold[0, ~TOPICS] = False  # the best-scored query is a wrong one
    gold = with_topics(gold, TAXONOMY)
    chosen = choose_thresholds(logits_of(scores), gold, identity(), TAXONOMY, CONFIG, 0)
    assert chosen.cuts["subtopics"] <= 0.8
    assert chosen.support[~TOPICS].tolist() == [2000] * 4


def test_a_cut_is_one_score_for_all_labels_of_a_level():
    rng = np.random.default_rng(3)
    scores, _, gold = simulated(rng, 4000)
    calibration = Calibration(
        rng.uniform(0.5, 2, len(TAXONOMY)).astype(np.float32),
        rng.uniform(-1, 1, len(TAXONOMY)).astype(np.float32),
    )
    logits = (logits_of(scores) - calibration.intercepts) / calibration.slopes
    chosen = choose_thresholds(logits, gold, calibration, TAXONOMY, CONFIG, 0)
    assert chosen.logits.dtype == np.float32
    assert np.isfinite(chosen.logits).all()
    reached = sigmoid(chosen.logits * calibration.slopes + calibration.intercepts)
    assert reached[TOPICS] == pytest.approx(chosen.cuts["topics"], abs=1e-5)
    assert reached[~TOPICS] == pytest.approx(chosen.cuts["subtopics"], abs=1e-5)
    assert {chosen.cuts["topics"], chosen.cuts["subtopics"]} <= set(CANDIDATES.tolist())
    assert chosen.support.tolist() == [
        (scores[:, place] >= chosen.cuts["topics" if TOPICS[place] else "subtopics"]).sum()
        for place in range(len(TAXONOMY))
    ]


def test_label_with_too_little_evidence_is_never_emitted():
    scores, _, gold = simulated(np.random.default_rng(4), 4000)
    rare = TAXONOMY.index_of("A2")
    scores[:, rare] = np.minimum(scores[:, rare], 0.05)
    scores[: CONFIG.min_emitted - 1, rare], gold[: CONFIG.min_emitted - 1, rare] = 0.999, True
    chosen = choose_thresholds(logits_of(scores), gold, identity(), TAXONOMY, CONFIG, 0)
    assert chosen.logits[rare] == np.inf
    assert chosen.support[rare] == CONFIG.min_emitted - 1
    assert np.isfinite(np.delete(chosen.logits, rare)).all()
    scores[CONFIG.min_emitted, rare], gold[CONFIG.min_emitted, rare] = 0.999, True
    chosen = choose_thresholds(logits_of(scores), gold, identity(), TAXONOMY, CONFIG, 0)
    assert np.isfinite(chosen.logits[rare])
    assert chosen.support[rare] == CONFIG.min_emitted


@pytest.mark.parametrize("level", ["topics", "subtopics"])
def test_level_that_cannot_reach_the_target_is_never_emitted(level):
    rng = np.random.default_rng(5)
    scores, _, gold = simulated(rng, 3000)
    hopeless = TOPICS if level == "topics" else ~TOPICS
    other = "subtopics" if level == "topics" else "topics"
    gold[:, hopeless] = rng.random((len(gold), hopeless.sum())) < 0.5
    chosen = choose_thresholds(logits_of(scores), gold, identity(), TAXONOMY, CONFIG, 0)
    assert chosen.cuts[level] == np.inf
    assert (chosen.logits[hopeless] == np.inf).all()
    assert (chosen.support[hopeless] == 0).all()
    assert np.isfinite(chosen.cuts[other])


def test_topics_that_subtopics_bring_count_when_the_topics_cut_is_chosen():
    # Topics are right where their own score is high, wrong where a subtopic alone brings them.
    scores, _, gold = simulated(np.random.default_rng(6), 3000)
    gold = scores > 0.5
    chosen = choose_thresholds(logits_of(scores), gold, identity(), TAXONOMY, CONFIG, 0)
    assert chosen.cuts["subtopics"] <= 0.51
    assert chosen.cuts["topics"] == np.inf
    # Where no subtopic is emitted, the same topics have a cut.
    gold[:, ~TOPICS] = False
    chosen = choose_thresholds(logits_of(scores), gold, identity(), TAXONOMY, CONFIG, 0)
    assert chosen.cuts["subtopics"] == np.inf
    assert chosen.cuts["topics"] <= 0.51


def test_taxonomy_of_topics_alone():
    flat = Taxonomy([TaxonomyLabel("A", "A", None), TaxonomyLabel("B", "B", None)])
    scores = np.random.default_rng(7).beta(0.4, 0.6, (3000, 2))
    gold = scores > 0.4
    chosen = choose_thresholds(logits_of(scores), gold, identity(2), flat, CONFIG, 0)
    assert list(chosen.cuts) == ["topics"]
    assert np.isfinite(chosen.logits).all()


def test_a_seed_gives_one_choice():
    scores, _, gold = simulated(np.random.default_rng(8), 1000)
    first, second = (
        choose_thresholds(logits_of(scores), gold, identity(), TAXONOMY, CONFIG, 5) for _ in "ab"
    )
    assert np.array_equal(first.logits, second.logits)
    assert first.cuts == second.cuts


def test_stricter_settings_emit_less():
    scores, _, gold = simulated(np.random.default_rng(9), 3000)

    def cuts(precision, confidence):
        config = ThresholdsConfig(5, precision, confidence, 10)
        return choose_thresholds(logits_of(scores), gold, identity(), TAXONOMY, config, 0).cuts

    for level in ("topics", "subtopics"):
        by_precision = [cuts(precision, 0.9)[level] for precision in (0.5, 0.7, 0.9, 0.95)]
        assert by_precision == sorted(by_precision)
        assert by_precision[0] < by_precision[-1]
        by_confidence = [cuts(0.9, confidence)[level] for confidence in (0.5, 0.9, 0.999)]
        assert by_confidence == sorted(by_confidence)
