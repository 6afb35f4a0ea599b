"""The student: a scikit-learn estimator that finds what scikit-learn and an exact solver find."""

import itertools
import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from training.student import MultiLabelLogisticRegression, sigmoid

QUERIES, FEATURES, LABELS = 400, 12, 3


def problem(seed=0, dense=0):
    """(matrix, targets in [0, 1], gold) with ``FEATURES`` sparse columns and dense ones behind."""
    rng = np.random.default_rng(seed)
    sparse = (rng.random((QUERIES, FEATURES)) < 0.3).astype(np.float32)
    values = np.hstack([sparse, rng.normal(size=(QUERIES, dense))]).astype(np.float32)
    weights = rng.normal(0, 1.5, (values.shape[1], LABELS))
    targets = sigmoid(values @ weights - 1)
    return sp.csr_matrix(values), targets, rng.random(targets.shape) < targets


def student(**settings):
    """Many small steps: near to the optimum."""
    settings = {"epochs": 300, "batch": 40, "learning_rate": 0.3, "smoothing": 0.0} | settings
    return MultiLabelLogisticRegression(**settings)


# --- an estimator ------------------------------------------------------------------------------


def test_it_clones_and_has_parameters():
    estimator = MultiLabelLogisticRegression(epochs=3, l2=0.5, seed=9)
    parameters = estimator.get_params()
    assert parameters["epochs"] == 3
    assert parameters["l2"] == 0.5
    copy = clone(estimator)
    assert copy is not estimator
    assert copy.get_params() == parameters
    assert copy.set_params(batch=7).batch == 7
    with pytest.raises(ValueError, match="Invalid parameter"):
        copy.set_params(unknown=1)
    assert "epochs=3" in repr(estimator)


def test_a_clone_of_a_fitted_one_is_not_fitted():
    matrix, _, gold = problem()
    fitted = student(epochs=1).fit(matrix, gold)
    with pytest.raises(NotFittedError):
        clone(fitted).decision_function(matrix)
    with pytest.raises(NotFittedError):
        clone(fitted).predict(matrix)


def test_shapes_and_dtypes():
    matrix, _, gold = problem(dense=2)
    estimator = student(epochs=1, dense_features=2)
    assert estimator.fit(matrix, gold) is estimator
    assert estimator.coef_.shape == (LABELS, FEATURES + 2)
    assert estimator.intercept_.shape == (LABELS,)
    assert estimator.coef_.dtype == estimator.intercept_.dtype == np.float32
    assert estimator.n_features_in_ == FEATURES + 2
    assert estimator.classes_.tolist() == [0, 1, 2]
    logits = estimator.decision_function(matrix)
    assert logits.shape == gold.shape
    assert logits.dtype == np.float32
    assert estimator.decision_function(matrix[:0]).shape == (0, LABELS)


def test_logits_scores_and_predictions_go_together():
    matrix, _, gold = problem()
    estimator = student(epochs=2).fit(matrix, gold)
    logits = estimator.decision_function(matrix)
    expected = matrix.toarray() @ estimator.coef_.T + estimator.intercept_
    assert logits == pytest.approx(expected, abs=1e-5)
    assert estimator.predict_proba(matrix) == pytest.approx(1 / (1 + np.exp(-logits)), abs=1e-6)
    assert estimator.predict(matrix).dtype == np.int64
    assert np.array_equal(estimator.predict(matrix), logits >= 0)
    accuracy = (estimator.predict(matrix) == gold).all(axis=1).mean()
    assert estimator.score(matrix, gold) == pytest.approx(accuracy)


def test_it_pickles():
    matrix, _, gold = problem()
    estimator = student(epochs=1).fit(matrix, gold)
    copy = pickle.loads(pickle.dumps(estimator))
    assert np.array_equal(copy.decision_function(matrix), estimator.decision_function(matrix))


# --- what it learns ----------------------------------------------------------------------------


@pytest.mark.parametrize("l2", [0.1, 1.0, 10.0])
def test_it_agrees_with_scikit_learn(l2):
    matrix, _, gold = problem()
    found = student(l2=l2).fit(matrix, gold)
    peer = OneVsRestClassifier(LogisticRegression(C=1 / l2, tol=1e-8, max_iter=10_000))
    peer.fit(matrix, gold)
    scores, expected = found.predict_proba(matrix), peer.predict_proba(matrix)
    assert np.abs(scores - expected).max() < 0.01
    decided = np.abs(expected - 0.5) > 0.01
    assert np.array_equal(found.predict(matrix)[decided], peer.predict(matrix)[decided])


def optimum(values, targets, penalty):
    """Weights [features + 1, labels], the bias last, of least penalised log loss."""
    values = np.hstack([values, np.ones((len(values), 1))])

    def loss(weights, label):
        logits = values @ weights
        error = sigmoid(logits) - targets[:, label]
        value = (np.logaddexp(0, logits) - targets[:, label] * logits).sum()
        return value + (penalty * weights**2).sum() / 2, values.T @ error + penalty * weights

    start = np.zeros(values.shape[1])
    return np.array(
        [
            minimize(loss, start, (label,), jac=True, method="BFGS", tol=1e-6).x
            for label in range(targets.shape[1])
        ]
    ).T


@pytest.mark.parametrize("dense", [0, 3])
def test_soft_targets_and_dense_features_against_an_exact_solver(dense):
    matrix, targets, _ = problem(1, dense)
    penalty = np.array([0.5] * FEATURES + [0.0] * dense + [0.0])
    expected = optimum(matrix.toarray().astype(float), targets, penalty)
    found = student(l2=0.5, dense_features=dense, dense_learning_rate=0.3).fit(matrix, targets)
    assert pytest.approx(expected[:-1], abs=0.05) == found.coef_.T
    assert found.intercept_ == pytest.approx(expected[-1], abs=0.05)
    scores = sigmoid(matrix.toarray() @ expected[:-1] + expected[-1])
    assert np.abs(found.predict_proba(matrix) - scores).max() < 0.01


def test_soft_targets_are_no_hard_ones():
    matrix, targets, _ = problem()
    soft = student().fit(matrix, targets).predict_proba(matrix)
    hard = student().fit(matrix, targets >= 0.5).predict_proba(matrix)
    assert np.abs(soft - targets).mean() < 0.02
    assert np.abs(hard - targets).mean() > 0.1


def test_smoothing_moves_targets_from_0_and_1():
    matrix, _, gold = problem()
    moved = np.where(gold, 0.9, 0.1)
    smoothed = student(smoothing=0.1).fit(matrix, gold).predict_proba(matrix)
    expected = student().fit(matrix, moved).predict_proba(matrix)
    assert smoothed == pytest.approx(expected, abs=0.01)


def test_a_label_that_is_never_right_gets_low_scores():
    matrix, _, gold = problem()
    gold[:, 1] = False
    estimator = student(epochs=5).fit(matrix, gold)
    assert np.isfinite(estimator.coef_).all()
    assert estimator.predict_proba(matrix)[:, 1].max() < 0.01


def test_features_that_are_never_seen_keep_no_weight():
    matrix, _, gold = problem()
    wide = sp.hstack([matrix, sp.csr_matrix((QUERIES, 4))], format="csr")
    estimator = student(epochs=5).fit(wide, gold)
    assert (estimator.coef_[:, FEATURES:] == 0).all()
    assert np.array_equal(estimator.coef_[:, :FEATURES], student(epochs=5).fit(matrix, gold).coef_)


def test_queries_without_any_feature_teach_the_intercept():
    gold = np.arange(200)[:, None] % 4 == 0
    estimator = student().fit(sp.csr_matrix((200, 5), dtype=np.float32), gold)
    assert estimator.predict_proba(sp.csr_matrix((1, 5)))[0, 0] == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize(("sparse", "dense"), [(0, 3), (3, 0)])
def test_features_of_one_kind_alone(sparse, dense):
    values = np.random.default_rng(2).normal(size=(100, 3)).astype(np.float32)
    gold = values[:, :1] > 0
    estimator = student(epochs=100, dense_features=dense).fit(sp.csr_matrix(values), gold)
    assert (estimator.predict(sp.csr_matrix(values)) == gold).mean() > 0.95


# --- seed and progress -------------------------------------------------------------------------


def test_a_seed_gives_one_result():
    matrix, _, gold = problem(dense=2)
    first, second, other = (
        student(epochs=2, dense_features=2, seed=seed).fit(matrix, gold) for seed in (5, 5, 6)
    )
    assert np.array_equal(first.coef_, second.coef_)
    assert np.array_equal(first.intercept_, second.intercept_)
    assert not np.array_equal(first.coef_, other.coef_)


def test_fitting_again_begins_anew():
    matrix, _, gold = problem()
    estimator = student(epochs=2)
    first = estimator.fit(matrix, gold).coef_
    assert np.array_equal(estimator.fit(matrix, gold).coef_, first)


def test_progress_is_told_per_epoch():
    matrix, _, gold = problem()
    lines: list[str] = []
    student(epochs=2, report=lines.append).fit(matrix, gold)
    assert lines == ["epoch 1/2", "epoch 2/2"]


def test_what_is_given_is_not_changed():
    matrix, targets, _ = problem(dense=1)
    before, wanted = matrix.copy(), targets.copy()
    student(epochs=1, dense_features=1, smoothing=0.1).fit(matrix, targets)
    assert (matrix != before).nnz == 0
    assert np.array_equal(targets, wanted)


# --- errors ------------------------------------------------------------------------------------


def changed(values, value):
    values = np.array(values, dtype=float)
    values[3, 1] = value
    return values


MATRIX, TARGETS, GOLD = problem()


@pytest.mark.parametrize(
    ("matrix", "targets", "settings", "said"),
    [
        (MATRIX, GOLD[:-1], {}, "400 rows of features for 399 rows of targets"),
        (MATRIX[:0], GOLD[:0], {}, "0 rows of features"),
        (MATRIX, GOLD[:, 0], {}, "targets have 1 dimensions, not 2"),
        (MATRIX, changed(TARGETS, 1.1), {}, r"targets are not all in \[0, 1\]"),
        (MATRIX, changed(TARGETS, -0.1), {}, r"targets are not all in \[0, 1\]"),
        (MATRIX, changed(TARGETS, np.nan), {}, r"targets are not all in \[0, 1\]"),
        (sp.csr_matrix(changed(MATRIX.toarray(), np.nan)), GOLD, {}, "features are not all finite"),
        (sp.csr_matrix(changed(MATRIX.toarray(), np.inf)), GOLD, {}, "features are not all finite"),
        (MATRIX, GOLD, {"dense_features": 13}, "13 dense features of 12"),
        (MATRIX, GOLD, {"dense_features": -1}, "-1 dense features of 12"),
        (MATRIX, GOLD, {"epochs": 0}, "epochs is 0, below 1"),
        (MATRIX, GOLD, {"batch": 0}, "batch is 0, below 1"),
    ],
)
def test_what_cannot_be_learned_from_is_told(matrix, targets, settings, said):
    with pytest.raises(ValueError, match=said):
        student(**settings).fit(matrix, targets)


def test_scoring_needs_as_many_features_as_were_learned():
    estimator = student(epochs=1).fit(MATRIX, GOLD)
    with pytest.raises(ValueError, match=r"dimension|mismatch|inconsistent"):
        estimator.decision_function(MATRIX[:, :-1])


# --- sigmoid -----------------------------------------------------------------------------------


def test_sigmoid():
    values = np.array([-1e6, -80, -1, 0, 1, 80, 1e6])
    for dtype, negative in itertools.product((np.float32, np.float64), (False, True)):
        found = sigmoid(values.astype(dtype) * (-1 if negative else 1))
        assert found.dtype == dtype
        assert ((found >= 0) & (found <= 1)).all()
        assert found[3] == 0.5
        assert found + found[::-1] == pytest.approx(np.ones(7), abs=1e-6)
    assert sigmoid(np.array([1.0]))[0] == pytest.approx(0.7310585786300049, rel=1e-15)
