"""Word vectors: gensim Word2Vec on the queries."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np
from gensim.models import Word2Vec
from gensim.models.callbacks import CallbackAny2Vec
from numpy.typing import NDArray

from topiccore import _scoring
from training.config import VectorsConfig
from training.errors import ConfigError


class _Progress(CallbackAny2Vec):  # type: ignore[misc]
    def __init__(self, report: Callable[[str], None], epochs: int):
        self.report = report
        self.epochs = epochs
        self.done = 0

    def on_epoch_end(self, model: Word2Vec) -> None:
        self.done += 1
        self.report(f"word vectors: epoch {self.done}/{self.epochs}")


def train_vectors(
    texts: Sequence[str], config: VectorsConfig, seed: int, report: Callable[[str], None]
) -> tuple[list[str], NDArray[np.float32]]:
    """Skip-gram with negative sampling (Mikolov et al. 2013, arXiv:1310.4546), on one thread.

    Returns the words, most frequent first, and their vectors, float32 [words, dimensions].  One
    thread, because gensim's result is only then fixed by the seed.  Raises ``ConfigError`` when no
    word occurs ``min_count`` times.
    """
    logging.getLogger("gensim").setLevel(logging.ERROR)
    sentences = [_scoring.tokenize(text)[0] for text in texts]
    model = Word2Vec(
        vector_size=config.dimensions,
        window=config.window,
        epochs=config.epochs,
        negative=config.negative,
        min_count=config.min_count,
        sg=1,
        workers=1,
        seed=seed,
    )
    model.build_vocab(sentences)
    if not len(model.wv):
        raise ConfigError(
            f"vectors.min_count is {config.min_count}, but no word of the "
            f"{len(texts)} texts occurs so often"
        )
    model.train(
        sentences,
        total_examples=model.corpus_count,
        epochs=config.epochs,
        callbacks=[_Progress(report, config.epochs)],
    )
    return list(model.wv.index_to_key), np.asarray(model.wv.vectors, dtype=np.float32)
