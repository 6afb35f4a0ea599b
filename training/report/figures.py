"""Every figure of a report, as one JSON-able dictionary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topiccore import TopicModel
from topiccore.taxonomy import Taxonomy
from training.calibration import Calibration
from training.dataset import Dataset
from training.labels import LabelledQueries
from training.quality import measure
from training.report.curves import Curves, curves

SCHEMA = "topiccore-report-1"
BINS = 10
EXAMPLES = 12
CONFUSIONS = 20
_Z = 1.96
Figures = dict[str, Any]


def figures(
    model: TopicModel,
    data: Dataset,
    others: dict[str, Curves],
    learning_curve: Sequence[tuple[int, float]],
    previous: TopicModel | None,
) -> Figures:
    """The figures of a model on the test queries; on the validation queries where there are none.

    ``others`` are curves of other scorers on the same queries; ``learning_curve`` pairs numbers of
    labelled queries with coverage at 90 % precision; ``previous`` is an artifact to compare with.
    """
    queries = data.test if len(data.test) else data.validation
    scores, emitted = _answers(model, queries)
    artifact = model.artifact
    found: Figures = {
        "schema": SCHEMA,
        "model": model.id,
        "measured_on": "test queries" if len(data.test) else "validation queries",
        "queries": len(queries),
        "labels": [
            {"code": x.code, "name": model.taxonomy.full_name(x.code), "topic": x.topic is None}
            for x in model.taxonomy
        ],
        "quality": measure(model, queries),
        "curves": {"this model": curves(scores, queries, model.taxonomy), **others},
        "per_label": _per_label(model, data, queries, scores, emitted),
        "confusions": _confusions(emitted, queries.gold, model.taxonomy),
        "reliability": _reliability(scores, queries.gold),
        "learning_curve": [list(pair) for pair in learning_curve],
        "errors": _errors(queries, emitted, model.taxonomy),
        "by_length": _by_group(queries, emitted, *_lengths(model, queries.texts)),
        "by_unknown_words": _by_group(queries, emitted, *_unknown(model, queries.texts)),
        "training": dict(artifact.training),
        "data": dict(artifact.data),
        "sizes": {
            "training queries": len(data.train),
            "validation queries": len(data.validation),
            "test queries": len(data.test),
            "unlabelled texts": len(data.pool),
        },
    }
    if previous is not None:
        found["comparison"] = compare(model, previous, queries)
    return found


def _answers(
    model: TopicModel, queries: LabelledQueries
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    artifact = model.artifact
    calibration = Calibration(artifact.slopes, artifact.intercepts, artifact.context)
    scores = calibration.scores(model.logits(queries.texts), model.taxonomy)
    emitted = np.zeros(queries.gold.shape, bool)
    for row, answer in enumerate(model.score_batch(queries.texts)):
        emitted[row, [model.taxonomy.index_of(label.code) for label in answer]] = True
    return scores, emitted


def wilson(right: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927); (0, 1) without any observation."""
    if not count:
        return 0.0, 1.0
    share = right / count
    middle = share + _Z**2 / (2 * count)
    width = _Z * float(np.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2)))
    scale = 1 + _Z**2 / count
    return max(0.0, (middle - width) / scale), min(1.0, (middle + width) / scale)


def _per_label(
    model: TopicModel,
    data: Dataset,
    queries: LabelledQueries,
    scores: NDArray[np.float32],
    emitted: NDArray[np.bool_],
) -> list[Figures]:
    artifact = model.artifact
    training = dict(artifact.training)
    least = training.get("settings", {}).get("thresholds", {}).get("min_support", 0)
    rows = []
    for place, label in enumerate(model.taxonomy):
        own, gold = emitted[:, place], queries.gold[:, place]
        right = int((own & gold).sum())
        threshold = float(artifact.thresholds[place])
        support = int(data.train.gold[:, place].sum())
        never = np.isinf(threshold) and threshold > 0
        rows.append(
            {
                "code": label.code,
                "train": support,
                "validation": int(data.validation.gold[:, place].sum()),
                "gold": int(gold.sum()),
                "emitted": int(own.sum()),
                "right": right,
                "precision": round(right / own.sum(), 4) if own.any() else None,
                "interval": [round(x, 4) for x in wilson(right, int(own.sum()))],
                "recall": round(right / gold.sum(), 4) if gold.any() else None,
                "mean_score": round(float(scores[own, place].mean()), 4) if own.any() else None,
                "threshold": None if never else round(_score_at(artifact, place, threshold), 4),
                "never": _why(support, least) if never else None,
            }
        )
    return rows


def _score_at(artifact: Any, place: int, logit: float) -> float:
    value = float(artifact.slopes[place]) * logit + float(artifact.intercepts[place])
    return float(1 / (1 + np.exp(-np.clip(value, -50, 50))))


def _why(support: int, least: int) -> str:
    if support < least:
        return f"{support} training queries, {least} are asked for"
    return "no cut is shown to keep the precision"


def _confusions(emitted: NDArray[np.bool_], gold: NDArray[np.bool_], taxonomy: Taxonomy) -> Figures:
    topics = np.flatnonzero(taxonomy.parents < 0)
    own, right = emitted[:, topics].astype(int), gold[:, topics].astype(int)
    # Of an emitted topic that is wrong, the gold topics share the blame; no gold topic is "-".
    wrong = own * (1 - right)
    missed = right * (1 - own)
    none = (right.sum(axis=1) == 0).astype(int)
    matrix = missed.T @ wrong + np.diag((own * right).sum(axis=0))
    pairs: Counter[tuple[str, str]] = Counter()
    for row_emitted, row_gold in zip(emitted, gold, strict=True):
        extra = np.flatnonzero(row_emitted & ~row_gold)
        lacking = np.flatnonzero(row_gold & ~row_emitted)
        for false in extra.tolist():
            same_level = [x for x in lacking.tolist() if (x in topics) == (false in topics)]
            for true in same_level or ([-1] if not row_gold.any() else []):
                name = "-" if true < 0 else taxonomy[true].code
                pairs[name, taxonomy[false].code] += 1
    return {
        "topics": [taxonomy[place].code for place in topics.tolist()],
        "matrix": matrix.tolist(),
        "nothing_right": (none @ wrong).tolist(),
        "commonest": [[*pair, count] for pair, count in pairs.most_common(CONFUSIONS)],
    }


def _reliability(scores: NDArray[np.float32], gold: NDArray[np.bool_]) -> list[Figures]:
    values, right = scores.ravel(), gold.ravel()
    place = np.minimum((values * BINS).astype(int), BINS - 1)
    return [
        {
            "from": number / BINS,
            "to": (number + 1) / BINS,
            "count": int((place == number).sum()),
            "mean_score": round(float(values[place == number].mean()), 4),
            "right": round(float(right[place == number].mean()), 4),
        }
        for number in range(BINS)
        if (place == number).any()
    ]


def _errors(
    queries: LabelledQueries, emitted: NDArray[np.bool_], taxonomy: Taxonomy
) -> dict[str, Figures]:
    topics = taxonomy.parents < 0
    kinds: dict[str, list[Figures]] = {
        "nothing emitted": [],
        "emitted where no label is right": [],
        "wrong topic": [],
        "right topic, wrong subtopic": [],
        "an extra label beside right ones": [],
    }
    for row, text in enumerate(queries.texts):
        own, gold = emitted[row], queries.gold[row]
        extra = own & ~gold
        if not own.any():
            kind = "nothing emitted" if gold.any() else None
        elif not extra.any():
            kind = None
        elif not gold.any():
            kind = "emitted where no label is right"
        elif not (own & gold).any():
            kind = "wrong topic"
        elif (extra & ~topics).any() and not (own & gold & ~topics).any():
            kind = "right topic, wrong subtopic"
        else:
            kind = "an extra label beside right ones"
        if kind:
            kinds[kind].append(
                {"text": text, "gold": _codes(gold, taxonomy), "emitted": _codes(own, taxonomy)}
            )
    return {kind: {"count": len(rows), "examples": rows[:EXAMPLES]} for kind, rows in kinds.items()}


def _codes(row: NDArray[np.bool_], taxonomy: Taxonomy) -> list[str]:
    places = np.flatnonzero(row).tolist()
    brought = {int(taxonomy.parents[place]) for place in places}
    return [taxonomy[place].code for place in places if place not in brought]


def _lengths(model: TopicModel, texts: list[str]) -> tuple[NDArray[np.int64], list[str]]:
    tokens = np.array([answer.tokens for answer in model.score_batch(texts)])
    return np.clip(tokens, 1, 6) - 1, ["1 word", "2", "3", "4", "5", "6 or more"]


def _unknown(model: TopicModel, texts: list[str]) -> tuple[NDArray[np.int64], list[str]]:
    unknown = np.array([answer.unknown for answer in model.score_batch(texts)])
    return np.minimum(unknown, 2), ["none", "1", "2 or more"]


def _by_group(
    queries: LabelledQueries,
    emitted: NDArray[np.bool_],
    group: NDArray[np.int64],
    names: list[str],
) -> list[Figures]:
    rows = []
    for number, name in enumerate(names):
        chosen = group == number
        own = emitted[chosen]
        rows.append(
            {
                "group": name,
                "queries": int(chosen.sum()),
                "coverage": round(float(own.any(axis=1).mean()), 4) if chosen.any() else None,
                "precision": round(float((own & queries.gold[chosen]).sum() / own.sum()), 4)
                if own.any()
                else None,
            }
        )
    return rows


def compare(model: TopicModel, previous: TopicModel, queries: LabelledQueries) -> Figures:
    """Both models' figures, and every query whose answer differs.

    ``interval`` is the 95 % bootstrap interval (Efron 1979) of the difference in labels right minus
    labels wrong per query.
    """
    if [x.code for x in previous.taxonomy] != [x.code for x in model.taxonomy]:
        return {"previous": previous.id, "other_taxonomy": True}
    (_, new), (_, old) = _answers(model, queries), _answers(previous, queries)
    gain = [
        (own & queries.gold).sum(axis=1).astype(int) - (own & ~queries.gold).sum(axis=1)
        for own in (new, old)
    ]
    difference = gain[0] - gain[1]
    random = np.random.default_rng(0)
    draws = [
        float(difference[random.integers(0, len(difference), len(difference))].mean())
        for _ in range(1000)
    ]
    changed = np.flatnonzero((new != old).any(axis=1))
    return {
        "previous": previous.id,
        "quality": measure(previous, queries),
        "changed": len(changed),
        "better": int((difference > 0).sum()),
        "worse": int((difference < 0).sum()),
        "difference": round(float(difference.mean()), 4),
        "interval": [round(float(x), 4) for x in np.percentile(draws, [2.5, 97.5])],
        "queries": [
            {
                "text": queries.texts[row],
                "gold": _codes(queries.gold[row], model.taxonomy),
                "before": _codes(old[row], model.taxonomy),
                "now": _codes(new[row], model.taxonomy),
                "gain": int(difference[row]),
            }
            for row in changed[np.argsort(difference[changed], kind="stable")].tolist()
        ],
    }
