"""Which unlabelled texts to label next: those the student is unsure of, spread over what there is.

A text's worth is how unsure the student is of its likeliest labels (the entropy of their scores)
and how likely it has a label that is short of evidence.  Of the worthiest texts one is taken from
each of as many clusters as texts are wanted, so that they do not all ask the same (cluster-based
batch active learning, Xu et al. 2007, doi:10.1007/978-3-540-71496-5_24).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans

from topiccore import TopicModel
from training.calibration import Calibration

CHUNK = 8192
"""Texts whose scores are in memory at a time."""
CANDIDATES = 10
"""Texts that are clustered, for each that is wanted."""
_LIKELIEST = 3
_SHOWN_FROM = 0.05


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A text, its likeliest labels as (code, score), best first, and why it is worth a label."""

    text: str
    labels: tuple[tuple[str, float], ...]
    reason: str


def suggest(
    model: TopicModel,
    texts: Sequence[str],
    short: NDArray[np.bool_],
    count: int,
    seed: int,
) -> list[Suggestion]:
    """At most ``count`` of ``texts``, the worthiest first.

    ``short`` [labels] says which labels have too little evidence to be emitted.
    """
    artifact, taxonomy = model.artifact, model.taxonomy
    calibration = Calibration.of(artifact)
    places = np.zeros(0, np.int64)
    worth = np.zeros(0)
    kept = np.zeros((0, len(taxonomy)), np.float32)
    for start in range(0, len(texts), CHUNK):
        scores = calibration.scores(model.logits(texts[start : start + CHUNK]), taxonomy)
        places = np.append(places, np.arange(start, start + len(scores)))
        worth = np.append(worth, _worth(scores, short))
        kept = np.vstack([kept, scores])
        best = np.argsort(-worth, kind="stable")[: CANDIDATES * count]
        places, worth, kept = places[best], worth[best], kept[best]
    if len(places) > count:
        clusters = MiniBatchKMeans(count, random_state=seed, n_init=1).fit_predict(np.sqrt(kept))
        # Candidates are sorted: the first of a cluster is its worthiest.
        _, first = np.unique(clusters, return_index=True)
        rest = np.setdiff1d(np.arange(len(places)), first)
        chosen = np.sort(np.append(first, rest[: count - len(first)]))
        places, kept = places[chosen], kept[chosen]
    return [
        _suggestion(texts[place], scores, short, model)
        for place, scores in zip(places.tolist(), kept, strict=True)
    ]


def _worth(scores: NDArray[np.float32], short: NDArray[np.bool_]) -> NDArray[np.float64]:
    likeliest = np.partition(scores, -min(_LIKELIEST, scores.shape[1]), axis=1)[:, -_LIKELIEST:]
    inside = np.clip(likeliest.astype(float), 1e-6, 1 - 1e-6)
    entropy = -(inside * np.log2(inside) + (1 - inside) * np.log2(1 - inside)).mean(axis=1)
    scarce = scores[:, short].max(axis=1, initial=0)
    return np.asarray(entropy + scarce)


def _suggestion(
    text: str, scores: NDArray[np.float32], short: NDArray[np.bool_], model: TopicModel
) -> Suggestion:
    order = np.argsort(-scores, kind="stable")[:_LIKELIEST].tolist()
    labels = [(model.taxonomy[place].code, float(scores[place])) for place in order]
    scarce = [place for place in order if short[place] and scores[place] >= _SHOWN_FROM]
    if scarce:
        reason = f"{model.taxonomy[scarce[0]].code} is short of examples"
    elif scores[order[0]] < _SHOWN_FROM:
        reason = "no likely label"
    else:
        unsure = min(order, key=lambda place: abs(float(scores[place]) - 0.5))
        reason = f"unsure of {model.taxonomy[unsure].code}"
    answer = model.score(text)
    if answer.unknown:
        reason += f"; {answer.unknown} unknown words"
    shown = tuple((code, score) for code, score in labels if score >= _SHOWN_FROM)
    return Suggestion(text, shown, reason)
