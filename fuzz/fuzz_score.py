"""Fuzz target: any bytes as a query.  Kernel, reference and Arrow path must agree to the last bit.

Runs with Python 3.11, whose Unicode is that of the tokenizer, by ``fuzz/run.py``.
"""

from __future__ import annotations

import sys

import atheris
import models
import numpy as np
import pyarrow as pa

from topiccore import reference
from topiccore._scoring import MAX_TOKENS, features, tokenize

FLOORS = [None, None, 0.0, 0.5, 0.97, 1.0]
MODELS = models.make()


def check(data: bytes) -> None:
    """Raises ``AssertionError`` where two of the implementations differ.

    The first byte chooses the model and the arguments, the rest is the query.
    """
    choice, query = (data[0] if data else 0), data[1:]
    model = MODELS[choice % 3]
    floor = FLOORS[choice // 3 % len(FLOORS)]
    limit = choice // 18 % 5 or None
    expected = reference.tokenize(query)
    tokens, truncated = tokenize(query)
    assert tokens == expected[:MAX_TOKENS], (tokens, expected)
    assert truncated == (len(expected) > MAX_TOKENS)
    assert tokenize(query.decode("utf-8", "replace")) == (tokens, truncated)
    buckets = features([query])[1]
    assert buckets.tolist() == [bucket for _, bucket in reference.features(query)]
    assert np.array_equal(model.logits([query])[0], reference.logits(model.artifact, query))
    answer = model.score(query, min_score=floor, max_labels=limit)
    found = [(label.code, label.score) for label in answer]
    wanted = reference.score(model.artifact, query, floor)[:limit]
    assert found == wanted, (found, wanted)
    assert answer.truncated == truncated
    assert model.score_batch([query], min_score=floor, max_labels=limit) == [answer]
    column = pa.array([query, None, query], pa.binary())
    answers = model.score_arrow(column, min_score=floor, max_labels=limit)
    assert [answers[0], answers[1], answers[2]] == [found, [], found]
    assert answers.truncated.tolist() == [truncated, False, truncated]


if __name__ == "__main__":
    if not __debug__:
        raise SystemExit("assertions are off")
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()
