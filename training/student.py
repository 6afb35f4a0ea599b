"""The student: one logistic regression per label, all trained together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.validation import check_is_fitted

_EPSILON = 1e-8


class MultiLabelLogisticRegression(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Multi-label logistic regression on sparse features, trained by minibatch Adagrad.

    A scikit-learn estimator: ``fit``, ``decision_function``, ``predict_proba``, ``predict``,
    ``coef_`` [labels, features] and ``intercept_`` [labels], float32.  All labels learn in one
    pass over the data, and targets may be any probability in [0, 1], where scikit-learn's
    one-versus-rest fits every label by itself to 0 or 1.

    Adagrad: Duchi, Hazan, Singer 2011 (JMLR 12); the rate falls linearly to 0.  Rows of weights
    that a minibatch does not touch are not read.  The L2 penalty of a feature is spread over its
    occurrences.  One thread and one seed give one result.

    Args:
        epochs: passes over the data.
        batch: queries per step.
        learning_rate: initial Adagrad rate of the sparse features and the intercept.
        dense_learning_rate: the same for the dense features.
        dense_features: how many of the last columns are dense (word vectors); not penalised.
        l2: the L2 penalty of the sparse features.
        smoothing: targets are moved to [smoothing, 1 - smoothing].
        seed: of the order of the queries.
        report: called with a line of progress per epoch.
    """

    def __init__(
        self,
        *,
        epochs: int = 6,
        batch: int = 256,
        learning_rate: float = 0.5,
        dense_learning_rate: float = 0.05,
        dense_features: int = 0,
        l2: float = 0.1,
        smoothing: float = 0.005,
        seed: int = 0,
        report: Callable[[str], None] | None = None,
    ):
        self.epochs = epochs
        self.batch = batch
        self.learning_rate = learning_rate
        self.dense_learning_rate = dense_learning_rate
        self.dense_features = dense_features
        self.l2 = l2
        self.smoothing = smoothing
        self.seed = seed
        self.report = report

    def fit(self, X: sp.csr_matrix, y: NDArray[Any]) -> MultiLabelLogisticRegression:  # noqa: N803
        """Learns from CSR [queries, features] and targets in [0, 1], [queries, labels].

        Raises ``ValueError`` when shapes, values or settings are not such.
        """
        X = sp.csr_matrix(X, dtype=np.float32)  # noqa: N806
        y = np.asarray(y)
        self._check(X, y)
        split = X.shape[1] - self.dense_features
        sparse = X[:, :split]
        dense = np.asarray(X[:, split:].todense(), dtype=np.float32)
        state = _Adagrad(sparse, dense, np.asarray(y.mean(axis=0)), self)
        rng = np.random.default_rng(self.seed)
        steps = self.epochs * -(-X.shape[0] // self.batch)
        step = 0
        for epoch in range(1, self.epochs + 1):
            order = rng.permutation(X.shape[0])
            for start in range(0, len(order), self.batch):
                chosen = order[start : start + self.batch]
                targets = np.asarray(y[chosen], dtype=np.float32)
                targets = targets * np.float32(1 - 2 * self.smoothing) + np.float32(self.smoothing)
                state.step(sparse[chosen], dense[chosen], targets, 1 - step / steps)
                step += 1
            if self.report:
                self.report(f"epoch {epoch}/{self.epochs}")
        self.coef_ = np.vstack([state.weights, state.dense_weights]).T
        self.intercept_ = state.bias
        self.classes_ = np.arange(y.shape[1])
        self.n_features_in_ = X.shape[1]
        return self

    def _check(self, X: sp.csr_matrix, y: NDArray[Any]) -> None:  # noqa: N803
        if y.ndim != 2:
            raise ValueError(f"targets have {y.ndim} dimensions, not 2")
        if X.shape[0] != y.shape[0] or X.shape[0] == 0:
            raise ValueError(f"{X.shape[0]} rows of features for {y.shape[0]} rows of targets")
        if y.size and not (y.min() >= 0 and y.max() <= 1):
            raise ValueError("targets are not all in [0, 1]")
        if not np.isfinite(X.data).all():
            raise ValueError("features are not all finite")
        if not 0 <= self.dense_features <= X.shape[1]:
            raise ValueError(f"{self.dense_features} dense features of {X.shape[1]}")
        for name in ("epochs", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, below 1")

    def decision_function(self, X: sp.csr_matrix) -> NDArray[np.float32]:  # noqa: N803
        """The logits, float32 [queries, labels]."""
        check_is_fitted(self)
        return np.asarray(safe_sparse_dot(X, self.coef_.T, dense_output=True) + self.intercept_)

    def predict_proba(self, X: sp.csr_matrix) -> NDArray[np.float32]:  # noqa: N803
        """The scores before calibration, float32 [queries, labels]."""
        return sigmoid(self.decision_function(X))

    def predict(self, X: sp.csr_matrix) -> NDArray[np.int64]:  # noqa: N803
        """1 where a logit is at least 0, int64 [queries, labels]."""
        return np.asarray(self.decision_function(X) >= 0, dtype=np.int64)


def sigmoid(logits: NDArray[np.floating[Any]]) -> NDArray[Any]:
    """1 / (1 + exp(-logits)), same dtype, without overflow warnings."""
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -80, 80))))


class _Adagrad:
    """Weights and their sums of squared gradients; ``weights`` is [features, labels]."""

    def __init__(
        self,
        sparse: sp.csr_matrix,
        dense: NDArray[np.float32],
        prior: NDArray[np.floating[Any]],
        settings: MultiLabelLogisticRegression,
    ):
        labels = len(prior)
        prior = np.clip(prior, 1e-5, 1 - 1e-5)
        self.bias = np.log(prior / (1 - prior)).astype(np.float32)
        self.bias_squares = np.zeros(labels, np.float32)
        self.weights = np.zeros((sparse.shape[1], labels), np.float32)
        self.squares = np.zeros_like(self.weights)
        self.dense_weights = np.zeros((dense.shape[1], labels), np.float32)
        self.dense_squares = np.zeros_like(self.dense_weights)
        occurrences = np.maximum(np.bincount(sparse.indices, minlength=sparse.shape[1]), 1)
        self.penalty = (settings.l2 / occurrences).astype(np.float32)
        self.rate = np.float32(settings.learning_rate)
        self.dense_rate = np.float32(settings.dense_learning_rate)

    def step(
        self,
        sparse: sp.csr_matrix,
        dense: NDArray[np.float32],
        targets: NDArray[np.float32],
        decay: float,
    ) -> None:
        touched, columns, counts = np.unique(
            sparse.indices, return_inverse=True, return_counts=True
        )
        local = sp.csr_matrix(
            (sparse.data, columns.astype(np.int32), sparse.indptr),
            shape=(sparse.shape[0], len(touched)),
        )
        weights = self.weights[touched]
        errors = local @ weights
        errors += dense @ self.dense_weights
        errors += self.bias
        np.negative(errors, out=errors)
        np.exp(np.minimum(errors, 80, out=errors), out=errors)
        errors += 1
        np.reciprocal(errors, out=errors)
        errors -= targets

        gradient = local.T @ errors
        gradient += weights * (self.penalty[touched] * counts.astype(np.float32))[:, None]
        squares = self.squares[touched]
        squares += gradient * gradient
        self.squares[touched] = squares
        np.sqrt(squares, out=squares)
        squares += _EPSILON
        gradient /= squares
        gradient *= self.rate * np.float32(decay)
        weights -= gradient
        self.weights[touched] = weights

        rate = self.dense_rate * np.float32(decay)
        gradient = dense.T @ errors
        self.dense_squares += gradient * gradient
        self.dense_weights -= rate * gradient / (np.sqrt(self.dense_squares) + _EPSILON)

        gradient = errors.sum(axis=0)
        self.bias_squares += gradient * gradient
        self.bias -= (
            self.rate * np.float32(decay) * gradient / (np.sqrt(self.bias_squares) + _EPSILON)
        )
