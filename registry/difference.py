"""How two versions differ: figures, settings, data, and the queries whose answers change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from registry.quality import manifest_quality
from topiccore import TopicModel

if TYPE_CHECKING:
    from training.labels import LabelledQueries

_FIGURES = ("precision", "coverage", "labels", "coverage_at_90")


def difference(old: TopicModel, new: TopicModel) -> dict[str, Any]:
    """What the manifests of two versions say, side by side: ``[old, new]`` for each name."""
    qualities = [manifest_quality(model.training) for model in (old, new)]
    sizes = [
        sum(model.artifact.array(x).nbytes for x in ("groups", "keys", "entries", "rows"))
        for model in (old, new)
    ]
    codes = [[label.code for label in model.taxonomy] for model in (old, new)]
    return {
        "from": old.id,
        "to": new.id,
        "figures": {
            name: [quality.get(name) for quality in qualities]
            for name in _FIGURES
            if any(name in quality for quality in qualities)
        }
        | {
            "labels_in_taxonomy": [len(x) for x in codes],
            "features": [len(model.artifact.index.keys) for model in (old, new)],
            "bytes": sizes,
        },
        "labels_added": [x for x in codes[1] if x not in set(codes[0])],
        "labels_removed": [x for x in codes[0] if x not in set(codes[1])],
        "settings": _changed(*(_flat(model.training.get("settings")) for model in (old, new))),
        "data": _changed(*(_flat(model.artifact.data) for model in (old, new))),
    }


def changed_answers(old: TopicModel, new: TopicModel, texts: Sequence[str]) -> dict[str, Any]:
    """The queries that two versions answer differently, and how often each topic comes or goes.

    Returns ``queries`` (how many were asked), ``changed``, ``topics``: by code how many queries
    ``gained`` and ``lost`` the topic, and in how many only its subtopics ``moved``, most changed
    first; and ``answers``: text, ``before`` and ``now`` (codes) of each that changed.
    """
    gained, lost, moved = Counter[str](), Counter[str](), Counter[str]()
    topics = {
        label.code: label.topic or label.code for model in (old, new) for label in model.taxonomy
    }
    answers = []
    for text, was, now in zip(texts, old.score_batch(texts), new.score_batch(texts), strict=True):
        before, after = {x.code for x in was}, {x.code for x in now}
        if before == after:
            continue
        answers.append({"text": text, "before": sorted(before), "now": sorted(after)})
        told, tells = {topics[x] for x in before}, {topics[x] for x in after}
        gained.update(tells - told)
        lost.update(told - tells)
        moved.update({topics[x] for x in before ^ after} & told & tells)
    counts = gained + lost + moved
    return {
        "queries": len(texts),
        "changed": len(answers),
        "topics": {
            code: {"gained": gained[code], "lost": lost[code], "moved": moved[code]}
            for code, _ in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
        },
        "answers": answers,
    }


def measured(old: TopicModel, new: TopicModel, queries: LabelledQueries) -> dict[str, Any] | None:
    """Both versions' quality on labelled queries, with intervals of the differences.

    ``None`` for versions of different taxonomies.
    """
    from training.quality import measure
    from training.report.answers import answers_of
    from training.report.comparison import compare

    found = compare(new, answers_of(new, queries), old, queries)
    if "quality" not in found:
        return None
    return {
        "before": found["quality"],
        "now": measure(new, queries),
        **{key: found[key] for key in ("differences", "better", "worse", "p_value")},
    }


def _flat(value: object, name: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {name: value} if name else {}
    found: dict[str, Any] = {}
    for key, inner in value.items():
        found |= _flat(inner, f"{name}.{key}" if name else str(key))
    return found


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, list[Any]]:
    names = dict.fromkeys([*old, *new])
    return {x: [old.get(x), new.get(x)] for x in names if old.get(x) != new.get(x)}
