"""fastText's compressed form (Joulin et al. 2016, "FastText.zip"): product quantisation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers import fasttext_words
from benchmarks.peers.fasttext_words import load, probabilities, score, score_batch

TITLE = "fastText, words, quantised"
PACKAGES = fasttext_words.PACKAGES
QUANTISE: dict[str, Any] = {"qnorm": True, "dsub": 2}
SETTINGS = {**fasttext_words.SETTINGS, "quantise": QUANTISE}

__all__ = ["load", "probabilities", "score", "score_batch", "train"]


def train(
    texts: Sequence[str],
    targets: NDArray[np.float32],
    folder: Path,
    report: Callable[[str], None],
) -> None:
    model = fasttext_words.learn(texts, targets, folder, report, fasttext_words.SETTINGS)
    model.quantize(**QUANTISE)
    model.save_model(str(folder / "model.ftz"))
    (folder / "model.bin").unlink()
