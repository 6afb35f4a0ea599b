"""fastText (Joulin et al. 2017): words and word pairs, one-vs-all loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import fasttext
import numpy as np
from numpy.typing import NDArray

from benchmarks.peers import MOST_LABELS, THRESHOLD

TITLE = "fastText, words"
PACKAGES = ("fasttext-community",)
# Learning rate and epochs: the best of a small grid on held-out training queries.
SETTINGS: dict[str, Any] = {
    "loss": "ova",
    "wordNgrams": 2,
    "minn": 0,
    "maxn": 0,
    "dim": 100,
    "lr": 0.5,
    "epoch": 15,
    "bucket": 200_000,
    "seed": 7,
    "thread": 1,
    # For so many texts and more, chosen on the validation queries: with the rate and epochs above,
    # scores reach fastText's largest value and cannot be told apart.
    "many": {"texts": 100_000, "lr": 0.2, "epoch": 5},
}
PREFIX = "__label__"


def train(
    texts: Sequence[str],
    targets: NDArray[np.float32],
    folder: Path,
    report: Callable[[str], None],
) -> None:
    learn(texts, targets, folder, report, SETTINGS)


def learn(
    texts: Sequence[str],
    targets: NDArray[np.float32],
    folder: Path,
    report: Callable[[str], None],
    settings: dict[str, Any],
) -> Any:
    """Trains with any settings, saves and returns the model."""
    chosen = dict(settings)
    many = chosen.pop("many")
    if len(texts) >= many["texts"]:
        chosen |= {"lr": many["lr"], "epoch": many["epoch"]}
    report(f"{chosen['epoch']} epochs, one thread")
    lines = folder / "train.txt"
    with lines.open("w", encoding="utf-8") as stream:
        for text, row in zip(texts, targets, strict=True):
            labels = " ".join(f"{PREFIX}{label}" for label in np.flatnonzero(row >= THRESHOLD))
            stream.write(f"{labels} {text}\n")
    model = fasttext.train_supervised(str(lines), verbose=0, **chosen)
    lines.unlink()
    model.save_model(str(folder / "model.bin"))
    # fastText knows no label that it never saw; the width of the table is kept beside it.
    (folder / "labels").write_text(str(targets.shape[1]))
    return model


def load(folder: Path) -> tuple[Any, int]:
    [path] = folder.glob("model.*")
    return fasttext.load_model(str(path)), int((folder / "labels").read_text())


def score(model: tuple[Any, int], query: str) -> Any:
    return model[0].predict(query, k=MOST_LABELS, threshold=THRESHOLD)


def score_batch(model: tuple[Any, int], queries: Sequence[str]) -> Any:
    return model[0].predict(list(queries), k=MOST_LABELS, threshold=THRESHOLD)


def probabilities(model: tuple[Any, int], queries: Sequence[str]) -> NDArray[np.float32]:
    found = np.zeros((len(queries), model[1]), dtype=np.float32)
    for row, query in enumerate(queries):
        for label, value in zip(*model[0].predict(query, k=-1), strict=True):
            found[row, int(label.removeprefix(PREFIX))] = value
    return found
