"""scikit-learn: hashed words and pairs, one logistic regression per label by SGD."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import SGDClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline

from benchmarks.peers import THRESHOLD

TITLE = "scikit-learn, hashing + one-vs-rest SGD"
PACKAGES = ("scikit-learn",)
# The penalty: the best of a small grid on held-out training queries.
SETTINGS: dict[str, Any] = {
    "hashing": {
        "ngram_range": (1, 2),
        "n_features": 2**18,
        "alternate_sign": False,
        "token_pattern": r"\S+",
    },
    "sgd": {"loss": "log_loss", "alpha": 1e-6, "max_iter": 20, "random_state": 7},
}


def train(
    texts: Sequence[str],
    targets: NDArray[np.float32],
    folder: Path,
    report: Callable[[str], None],
) -> None:
    report(f"{targets.shape[1]} regressions, one after the other")
    pipeline = Pipeline(
        [
            ("hashing", HashingVectorizer(dtype=np.float32, **SETTINGS["hashing"])),
            ("regressions", OneVsRestClassifier(SGDClassifier(**SETTINGS["sgd"]))),
        ]
    )
    pipeline.fit(texts, label_sets(targets))
    joblib.dump(pipeline, folder / "pipeline.joblib")


def label_sets(targets: NDArray[np.float32]) -> NDArray[np.int64]:
    """Targets as scikit-learn wants them, int64 [queries, labels].

    Not int8: LabelBinarizer numbers the labels in the dtype it is given, and 356 do not fit.
    """
    return (targets >= THRESHOLD).astype(np.int64)


def load(folder: Path) -> Pipeline:
    return joblib.load(folder / "pipeline.joblib")


def score(model: Pipeline, query: str) -> list[tuple[int, float]]:
    row = model.predict_proba([query])[0]
    return [(label, row[label]) for label in np.flatnonzero(row >= THRESHOLD)]


def score_batch(model: Pipeline, queries: Sequence[str]) -> NDArray[np.bool_]:
    return model.predict_proba(queries) >= THRESHOLD


def probabilities(model: Pipeline, queries: Sequence[str]) -> NDArray[np.float32]:
    return model.predict_proba(queries).astype(np.float32)
