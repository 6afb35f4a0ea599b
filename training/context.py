"""What the other labels of a query say about a label: the numbers its score takes into account.

The same numbers that the kernel finds for one query, here for many at a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from topiccore.taxonomy import Taxonomy

FAMILY, SIBLING, RIVAL = range(3)
"""Planes of ``context``."""


def context(logits: NDArray[np.floating[Any]], taxonomy: Taxonomy) -> NDArray[np.float32]:
    """float32 [3, queries, labels] from logits [queries, labels].

    - ``FAMILY``: of a topic its best subtopic's logit, of a subtopic its topic's;
    - ``SIBLING``: of a subtopic the best logit of its topic's other subtopics;
    - ``RIVAL``: the best logit in any other topic, the topic itself or a subtopic.

    0 where there is no such label.
    """
    parents = taxonomy.parents
    topics = np.flatnonzero(parents < 0)
    found = np.zeros((3, *logits.shape), np.float32)
    best = np.empty((len(logits), len(topics)), np.float32)
    for column, topic in enumerate(topics.tolist()):
        children = np.flatnonzero(parents == topic)
        best[:, column] = logits[:, topic]
        if len(children):
            found[FAMILY][:, topic] = logits[:, children].max(axis=1)
            found[FAMILY][:, children] = logits[:, [topic]]
            np.maximum(best[:, column], found[FAMILY][:, topic], out=best[:, column])
        if len(children) > 1:
            found[SIBLING][:, children] = best_of_others(logits[:, children])
    if len(topics) > 1:
        rivals = best_of_others(best)
        column_of = np.searchsorted(topics, np.where(parents < 0, np.arange(len(parents)), parents))
        found[RIVAL] = rivals[:, column_of]
    return found


def beside_best(logits: NDArray[np.floating[Any]], taxonomy: Taxonomy) -> NDArray[np.bool_]:
    """bool [queries, labels]: whether another topic than the label's is the query's best.

    The best topic is the one with the best logit, its own or a subtopic's; topics that tie are best
    together.
    """
    starts = np.flatnonzero(taxonomy.parents < 0)
    # Subtopics stand directly behind their topic.
    bests = np.maximum.reduceat(logits, starts, axis=1)
    sizes = np.diff(np.append(starts, len(taxonomy)))
    return np.asarray(np.repeat(bests < bests.max(axis=1, keepdims=True), sizes, axis=1))


def best_of_others(values: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """For each column of [rows, columns >= 2] the greatest of the other columns in its row."""
    first = values.argmax(axis=1)
    top = np.partition(values, -2, axis=1)[:, -2:]
    others = np.repeat(top[:, 1:], values.shape[1], axis=1)
    others[np.arange(len(values)), first] = top[:, 0]
    return others
