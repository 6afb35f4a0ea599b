"""Two models query by query."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from topiccore import TopicModel
from topiccore.taxonomy import Taxonomy
from training.evaluate import views
from training.labels import LabelledQueries
from training.quality import measure
from training.report.answers import Answers, answers_of, told_codes
from training.report.intervals import percentiles, resampled


def compare(
    model: TopicModel, now: Answers, previous: TopicModel, queries: LabelledQueries
) -> dict[str, Any]:
    """Both models' figures, and every query whose answer differs, worst first.

    A query is better when its labels right less its labels wrong are more than before; ``p_value``
    is that of the exact sign test on the queries that are better or worse (McNemar 1947).
    ``differences`` has, by view and weighting, how much ``precision`` and ``coverage`` rose, each
    with a 95 % bootstrap interval over queries.
    """
    if [x.code for x in previous.taxonomy] != [x.code for x in model.taxonomy]:
        return {"previous": previous.id, "other_taxonomy": True}
    taxonomy = model.taxonomy
    before = answers_of(previous, queries)
    new, old, gold = now.emitted, before.emitted, queries.gold
    gain = _right_less_wrong(new, gold) - _right_less_wrong(old, gold)
    better, worse = int((gain > 0).sum()), int((gain < 0).sum())
    changed = np.flatnonzero((new != old).any(axis=1))
    return {
        "previous": previous.id,
        "quality": measure(previous, queries),
        "differences": _differences(new, old, queries, taxonomy),
        "changed": len(changed),
        "better": better,
        "worse": worse,
        "p_value": _p_value(better, worse),
        "labels": _by_label(new, old, gold, taxonomy),
        "queries": [
            {
                "text": queries.texts[row],
                "traffic": int(queries.counts[row]),
                "gold": told_codes(gold[row], taxonomy),
                "before": told_codes(old[row], taxonomy),
                "now": told_codes(new[row], taxonomy),
                "gain": int(gain[row]),
            }
            for row in changed[np.argsort(gain[changed], kind="stable")].tolist()
        ],
    }


def _p_value(better: int, worse: int) -> float:
    if not better + worse:
        return 1.0
    return float(f"{binomtest(better, better + worse).pvalue:.3g}")


def _right_less_wrong(emitted: NDArray[np.bool_], gold: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.asarray((emitted & gold).sum(axis=1) - (emitted & ~gold).sum(axis=1), np.int64)


def _differences(
    new: NDArray[np.bool_], old: NDArray[np.bool_], queries: LabelledQueries, taxonomy: Taxonomy
) -> dict[str, Any]:
    keys, columns = [], []
    for view, chosen in views(taxonomy):
        gold = queries.gold[:, chosen]
        for weighting, weights in (("queries", np.ones(len(gold))), ("traffic", queries.counts)):
            keys.append((view, weighting))
            columns.append(weights)
            for emitted in (new[:, chosen], old[:, chosen]):
                columns += [
                    weights * (emitted & gold).sum(axis=1),
                    weights * emitted.sum(axis=1),
                    weights * emitted.any(axis=1),
                ]
    sums = np.stack(columns, axis=1).astype(float)
    drawn = np.concatenate([draws @ sums for draws in resampled(len(queries))])
    every = sums.sum(axis=0, keepdims=True)
    found: dict[str, Any] = {}
    for number, (view, weighting) in enumerate(keys):
        part = slice(7 * number, 7 * number + 7)
        observed, draws = _rises(every[:, part]), _rises(drawn[:, part])
        found.setdefault(view, {})[weighting] = {
            name: {
                "difference": round(float(observed[name][0]), 4),
                "interval": percentiles(draws[name]),
            }
            for name in observed
        }
    return found


def _rises(sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    # Columns: weight of all queries, then right, emitted and covered of the new and the old model.
    total, right, told, covered, right_old, told_old, covered_old = sums.T
    # Where nothing is emitted, nothing is wrong.
    now = np.where(told > 0, right / np.maximum(told, 1), 1.0)
    before = np.where(told_old > 0, right_old / np.maximum(told_old, 1), 1.0)
    return {"precision": now - before, "coverage": (covered - covered_old) / total}


def _by_label(
    new: NDArray[np.bool_], old: NDArray[np.bool_], gold: NDArray[np.bool_], taxonomy: Taxonomy
) -> list[dict[str, Any]]:
    gained, lost = new & ~old, old & ~new
    counts = [(x & y).sum(axis=0) for x in (gained, lost) for y in (gold, ~gold)]
    return [
        {
            "code": taxonomy[place].code,
            "right_gained": int(counts[0][place]),
            "right_lost": int(counts[2][place]),
            "wrong_gained": int(counts[1][place]),
            "wrong_lost": int(counts[3][place]),
        }
        for place in np.flatnonzero(np.sum(counts, axis=0)).tolist()
    ]
