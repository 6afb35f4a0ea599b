"""The artifact scores as the estimator does: kernel, reference and scikit-learn agree."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from training_support import open_run, queries, trained

import topiccore
from topiccore import Taxonomy, TaxonomyLabel, TopicModel, compact, reference
from topiccore.artifact import Artifact
from training.export import fold
from training.features import QueryFeatures
from training.stages import LEAST, trained_artifact
from training.word_table import NGRAM_WEIGHT, WordTable

TO_ESTIMATOR, TO_REFERENCE = 1e-4, 1e-5
COMMON = ["free", "new", "school", "city", "county", "home", "of", "in", "the", "online", "music"]
WORDS = [*COMMON, "Texas", "HOTELS", "café", "東京", "🚗", "e\u0301cole", "שלום", "السلام", "x"]
TEXT = st.lists(st.sampled_from(WORDS) | st.text(st.characters(), max_size=8), max_size=30).map(
    " ".join
)
EDGES = [
    pytest.param("", id="empty"),
    pytest.param(" \t\n\u3000 ", id="blanks"),
    pytest.param("x" * 100_000, id="one token of 100,000 characters"),
    pytest.param("🚗 new 🚗🏖️ city 👩‍👩‍👧", id="emoji"),
    pytest.param("cafe\u0301 e\u0301cole mu\u0308sic f\u0336r\u0336e\u0336e\u0336", id="marks"),
    pytest.param("free \ud83d music\udc00 \udfff", id="lone surrogates"),
    pytest.param("free\x00music\x00 \x00", id="NUL"),
    pytest.param("שלום free السلام music \u202eschool\u202c", id="right to left"),
    pytest.param("texas city county " + "zqxj " * 253, id="256 tokens"),
    pytest.param("texas city county " + "zqxj " * 254, id="257 tokens"),
]
REPEATED = [
    pytest.param("texas hotels " * 7700, id="100,000 characters of two words"),
    pytest.param("music " * 16_700, id="100,000 characters of one word"),
    pytest.param(" ".join(COMMON) * 2000, id="100,000 characters of common words"),
]


class Trained:
    """A run with small settings: its estimator, fitted in this process, and its artifacts.

    ``model`` has the float32 rows, ``shipped`` what was saved.
    """

    def __init__(self, folder, config):
        run = open_run(folder, config)
        self.features = run.features
        self.estimator = run.learned(run.examples)
        self.stored = run.folder.load_arrays("student")
        self.model = TopicModel(trained_artifact(run, run.folder.load_arrays("thresholds")))
        self.shipped = topiccore.load(folder / "artifact")

    def estimated(self, texts) -> np.ndarray:
        """The estimator's ``decision_function``."""
        sparse, dense = self.features.transform(texts)
        return self.estimator.decision_function(sp.hstack([sparse, dense], format="csr"))

    def differences(self, texts) -> tuple[float, float]:
        """The largest differences of the artifact's logits: to the estimator, to the reference."""
        logits = self.model.logits(texts)
        referred = np.array([reference.logits(self.model.artifact, text) for text in texts])
        return np.abs(logits - self.estimated(texts)).max(), np.abs(logits - referred).max()

    def exact_logits(self, text) -> np.ndarray:
        """The artifact's logits, added in float64."""
        artifact = self.model.artifact
        value = float(reference.scale(min(len(reference.tokenize(text)), reference.MAX_TOKENS)))
        logits = artifact.bias.astype(float)
        buckets = [bucket for _, bucket in reference.features(text)]
        buckets += [bucket for _, _, bucket in reference.ngram_features(artifact, text)]
        for bucket in buckets:
            plain, scaled = reference.find_rows(artifact, bucket)
            if plain is not None:
                logits += plain.astype(float)
            if scaled is not None:
                logits += value * scaled.astype(float)
        return logits

    def exact_estimate(self, text) -> np.ndarray:
        """The estimator's ``decision_function``, added in float64."""
        sparse, dense = self.features.transform([text])
        row = np.append(sparse.toarray()[0], dense[0]).astype(float)
        return self.estimator.coef_.astype(float) @ row + self.estimator.intercept_


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Trained:
    folder, config, _ = trained(tmp_path_factory)
    return Trained(folder, config)


# --- agreement ---------------------------------------------------------------------------------


def test_the_run_has_what_this_estimator_learned(run):
    index, rows = fold(run.estimator.coef_, run.features)
    assert np.array_equal(run.stored["keys"], index.keys)
    assert np.abs(run.stored["rows"] - rows).max() < 1e-5
    assert np.abs(run.stored["bias"] - run.estimator.intercept_).max() < 1e-5


def test_the_shipped_artifact_is_the_compact_form(run):
    counts = run.stored["importance"]
    small = TopicModel(compact(run.model.artifact, prune=LEAST, importance=counts))
    texts = list(queries().values())[:500]
    assert np.array_equal(small.logits(texts), run.shipped.logits(texts))
    for text in texts[:50]:
        referred = reference.logits(run.shipped.artifact, text)
        assert np.array_equal(run.shipped.logits([text])[0], referred)
    # Small weights are left out, so logits differ, but not by much.
    assert 0 < np.abs(run.shipped.logits(texts) - run.model.logits(texts)).mean() < 0.1


def test_real_queries(run):
    texts = np.array(sorted(set(queries().values())))
    chosen = np.random.default_rng(0).choice(texts, 2000, replace=False).tolist()
    logits = run.model.logits(chosen)
    assert len(np.unique(logits, axis=0)) > 1500
    to_estimator, to_reference = run.differences(chosen)
    assert to_estimator <= TO_ESTIMATOR
    assert to_reference <= TO_REFERENCE


@pytest.mark.parametrize("text", EDGES)
def test_edges(run, text):
    to_estimator, to_reference = run.differences([text])
    assert to_estimator <= TO_ESTIMATOR
    assert to_reference <= TO_REFERENCE


@pytest.mark.parametrize("text", REPEATED)
def test_large_logits(run, text):
    to_estimator, to_reference = run.differences([text])
    assert to_reference <= TO_REFERENCE
    assert to_estimator <= TO_ESTIMATOR
    assert np.abs(run.model.logits([text])).max() > 10
    assert np.abs(run.exact_logits(text) - run.exact_estimate(text)).max() <= TO_ESTIMATOR


@given(text=TEXT)
def test_any_text(run, text):
    to_estimator, to_reference = run.differences([text])
    assert to_estimator <= TO_ESTIMATOR
    assert to_reference <= TO_REFERENCE


def test_the_bias_is_the_intercept(run):
    assert run.model.logits([""])[0] == pytest.approx(run.estimator.intercept_, abs=1e-5)


def test_a_shuffled_export_would_be_seen(run):
    texts = list(queries().values())[:50]
    estimated = run.estimated(texts)
    assert np.abs(run.model.logits(texts) - np.roll(estimated, 1, axis=1)).max() > 1


# --- folding -----------------------------------------------------------------------------------


def rows_of(index, rows, bucket):
    """The (plain, scaled) rows of a bucket, ``None`` where it has none."""
    labels = np.zeros(rows.shape[1], np.float32)
    names = Taxonomy([TaxonomyLabel(f"L{i}", f"Label {i}", None) for i in range(len(labels))])
    artifact = Artifact(names, index, rows, labels, labels, labels, labels)
    found = reference.find_rows(artifact, bucket)
    return tuple(None if row is None else row.tolist() for row in found)


def test_fold_by_hand():
    words, bigrams = np.array([3, 5], np.uint32), np.array([7, 9], np.uint32)
    # Bucket 5 is a word with n-grams and a vector, 9 a bigram that shares its bucket with a word.
    table = WordTable(
        ["five", "nine", "eleven"],
        np.array([5, 9, 11], np.uint32),
        ["fiv", "ve>"],
        (3, 3),
        sp.csr_matrix(np.array([[1, 1], [0, 1], [0, 0]], np.float32)),
        np.array([[1, 0], [0, 1], [2, 3]], np.float32),
    )
    weights = np.array(
        [[10, 11], [20, 21], [30, 31], [40, 41], [5, 6], [7, 8], [1, 100], [2, 200]], np.float32
    )  # words, bigrams, n-grams, dimensions; two labels
    index, rows = fold(weights.T, QueryFeatures(words, bigrams, table))
    assert rows.dtype == np.float32
    assert rows.shape == (7, 2)
    assert rows_of(index, rows, 3) == (None, [10, 11])
    assert rows_of(index, rows, 5) == (None, [20 + 5 + 7 + 1, 21 + 6 + 8 + 100])
    assert rows_of(index, rows, 7) == (None, [30, 31])
    assert rows_of(index, rows, 9) == (None, [40 + 7 + 2, 41 + 8 + 200])
    assert rows_of(index, rows, 11) == (None, [2 * 1 + 3 * 2, 2 * 100 + 3 * 200])
    assert rows_of(index, rows, 4) == (None, None)
    for ngram, learned in (("fiv", [5, 6]), ("ve>", [7, 8])):
        (row,) = rows_of(index, rows, reference.ngram_bucket(ngram))[1:]
        assert row == pytest.approx(NGRAM_WEIGHT * np.array(learned))


def test_an_ngram_whose_bucket_a_word_has_gets_no_row():
    bucket = reference.ngram_bucket("fiv")
    table = WordTable(
        ["five"],
        np.array([bucket], np.uint32),
        ["fiv"],
        (3, 3),
        sp.csr_matrix(np.array([[1]], np.float32)),
        np.zeros((1, 0), np.float32),
    )
    none = np.zeros(0, np.uint32)
    index, rows = fold(np.array([[4.0]], np.float32), QueryFeatures(none, none, table))
    assert rows_of(index, rows, bucket) == (None, [4])
