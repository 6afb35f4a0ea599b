"""Vowpal Wabbit: one online logistic regression per label over hashed words and pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vowpalwabbit import Workspace

from benchmarks.peers import THRESHOLD

TITLE = "Vowpal Wabbit, multilabel_oaa"
PACKAGES = ("vowpalwabbit",)
SETTINGS: dict[str, Any] = {
    "options": "--loss_function logistic --ngram 2 --bit_precision 24 --learning_rate 0.5",
    "passes": 6,
    "seed": 7,
}


def train(
    texts: Sequence[str],
    targets: NDArray[np.float32],
    folder: Path,
    report: Callable[[str], None],
) -> None:
    lines = [
        ",".join(map(str, np.flatnonzero(row >= THRESHOLD))) + _example(text)
        for text, row in zip(texts, targets, strict=True)
    ]
    workspace = Workspace(
        f"--multilabel_oaa {targets.shape[1]} {SETTINGS['options']} --quiet "
        f"--random_seed {SETTINGS['seed']}"
    )
    random = np.random.default_rng(SETTINGS["seed"])
    for number in range(SETTINGS["passes"]):
        report(f"pass {number + 1}/{SETTINGS['passes']}")
        for place in random.permutation(len(lines)):
            workspace.learn(lines[place])
    workspace.save(str(folder / "model.vw"))
    workspace.finish()
    (folder / "labels").write_text(str(targets.shape[1]))


def load(folder: Path) -> tuple[Any, Path]:
    return _open(folder), folder


def score(model: tuple[Any, Path], query: str) -> list[int]:
    # Without --probabilities: the labels above 0.5 alone, which is also the quicker answer.
    return model[0].predict(_example(query))


def score_batch(model: tuple[Any, Path], queries: Sequence[str]) -> list[list[int]]:
    return [model[0].predict(_example(query)) for query in queries]


def probabilities(model: tuple[Any, Path], queries: Sequence[str]) -> NDArray[np.float32]:
    workspace = _open(model[1], "--probabilities")
    labels = int((model[1] / "labels").read_text())
    # Examples are recycled and keep the scores of earlier queries: the last ones are the query's.
    found = [workspace.predict(_example(query))[-labels:] for query in queries]
    workspace.finish()
    return np.array(found, dtype=np.float32)


def _open(folder: Path, options: str = "") -> Any:
    return Workspace(f"--testonly --quiet {options} --initial_regressor {folder / 'model.vw'}")


def _example(text: str) -> str:
    # "|" and ":" are syntax.
    return " | " + text.replace("|", " ").replace(":", " ")
