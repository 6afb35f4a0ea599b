"""The scikit-learn peer's own regressions, converted by skl2onnx, in ONNX Runtime.

skl2onnx has no converter for ``HashingVectorizer``: hashing stays in scikit-learn, and its row is
made dense, for ONNX Runtime multiplies no sparse input.  Converted as they are, the regressions
become one product per label, several times slower; so their weights are stacked into one linear
model first, which is one product, and the sigmoid follows in NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LinearRegression

from benchmarks.peers import THRESHOLD, sklearn_hashing

TITLE = "the same in ONNX Runtime"
PACKAGES = ("onnxruntime", "skl2onnx", *sklearn_hashing.PACKAGES)
SETTINGS = {**sklearn_hashing.SETTINGS, "onnx": "one stacked linear model, dense input, opset 18"}
CHUNK = 32  # dense rows of 2^18 floats take 1 MB each


def train(
    texts: Sequence[str],
    targets: NDArray[np.float32],
    folder: Path,
    report: Callable[[str], None],
) -> None:
    sklearn_hashing.train(texts, targets, folder, report)
    regressions = sklearn_hashing.load(folder).named_steps["regressions"].estimators_
    report("converting")
    stacked = LinearRegression()
    stacked.coef_ = np.concatenate([regression.coef_ for regression in regressions])
    stacked.intercept_ = np.concatenate([regression.intercept_ for regression in regressions])
    stacked.n_features_in_ = stacked.coef_.shape[1]
    converted = to_onnx(
        stacked,
        initial_types=[("features", FloatTensorType([None, stacked.n_features_in_]))],
        target_opset=18,
    )
    (folder / "model.onnx").write_bytes(converted.SerializeToString())
    (folder / "pipeline.joblib").unlink()


def load(folder: Path) -> tuple[HashingVectorizer, Any]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        folder / "model.onnx", options, providers=["CPUExecutionProvider"]
    )
    return HashingVectorizer(dtype=np.float32, **SETTINGS["hashing"]), session


def score(model: tuple[HashingVectorizer, Any], query: str) -> list[tuple[int, float]]:
    row = _run(model, [query])[0]
    return [(label, row[label]) for label in np.flatnonzero(row >= THRESHOLD)]


def score_batch(model: tuple[HashingVectorizer, Any], queries: Sequence[str]) -> NDArray[np.bool_]:
    return probabilities(model, queries) >= THRESHOLD


def probabilities(
    model: tuple[HashingVectorizer, Any], queries: Sequence[str]
) -> NDArray[np.float32]:
    chunks = [queries[start : start + CHUNK] for start in range(0, len(queries), CHUNK)]
    return np.concatenate([_run(model, chunk) for chunk in chunks])


def _run(model: tuple[HashingVectorizer, Any], queries: Sequence[str]) -> NDArray[np.float32]:
    vectorizer, session = model
    dense = vectorizer.transform(queries).toarray()
    logits = session.run(None, {"features": dense})[0]
    return 1 / (1 + np.exp(-logits))
