"""fastText with character n-grams of three to six characters besides words and pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers import fasttext_words
from benchmarks.peers.fasttext_words import load, probabilities, score, score_batch

TITLE = "fastText, words and subwords"
PACKAGES = fasttext_words.PACKAGES
SETTINGS = {**fasttext_words.SETTINGS, "minn": 3, "maxn": 6, "bucket": 1_000_000}

__all__ = ["load", "probabilities", "score", "score_batch", "train"]


def train(
    texts: Sequence[str],
    targets: NDArray[np.float32],
    folder: Path,
    report: Callable[[str], None],
) -> None:
    fasttext_words.learn(texts, targets, folder, report, SETTINGS)
