"""Whether a version is worse than another: on labelled queries, else by the figures they carry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from registry.measured_on import tested_on
from topiccore import TopicModel

if TYPE_CHECKING:
    from training.labels import LabelledQueries

VIEW = "all labels"
FIGURES = ("precision", "coverage")
Outcome = tuple[str, str, dict[str, Any]]
"""State, text and figures of a gate."""


def of_queries(
    model: TopicModel, previous: TopicModel, queries: LabelledQueries, margin: float
) -> Outcome:
    """Both models' answers to the same queries, compared in pairs.

    Precision and coverage, each query once and weighted by traffic: none may have fallen by more
    than ``margin``, nor so that the whole 95 % interval of the difference is below zero.
    """
    from training.quality import measure
    from training.report.answers import answers_of
    from training.report.comparison import compare

    if _codes(model) != _codes(previous):
        return _other_taxonomy()
    found = compare(model, answers_of(model, queries), previous, queries)
    now, before = measure(model, queries), found["quality"]
    figures = {
        "measured_on": "labelled queries",
        "queries": len(queries),
        "margin": margin,
        "now": now[VIEW],
        "before": before[VIEW],
        "differences": found["differences"][VIEW],
        "changed": found["changed"],
        "better": found["better"],
        "worse": found["worse"],
        "p_value": found["p_value"],
    }
    told, bad = [], []
    for weighting, differences in found["differences"][VIEW].items():
        for name in FIGURES:
            difference, (low, high) = differences[name]["difference"], differences[name]["interval"]
            if weighting == "queries":
                value = now[VIEW][weighting][name]
                told.append(f"{name} {value:.1%} ({difference:+.1%} [{low:+.1%}, {high:+.1%}])")
            if difference < -margin or high < 0:
                bad.append(
                    f"{name}{' by traffic' if weighting == 'traffic' else ''} fell by "
                    f"{-difference:.2%} [{-high:.2%}, {-low:.2%}]"
                )
    text = f"{len(queries)} queries: {', '.join(told)}; {found['better']} better, "
    text += f"{found['worse']} worse"
    if bad:
        return "failed", f"{'; '.join(bad)}; {text}", figures
    return "passed", text, figures


def of_figures(model: TopicModel, previous: TopicModel, margin: float, why: str) -> Outcome:
    """The figures of both manifests, if they were measured on the same queries.

    ``why`` tells why the models were not asked themselves.
    """
    if _codes(model) != _codes(previous):
        return _other_taxonomy()
    told = f"by the manifests' figures alone, because {why}"
    now, before = (manifest_quality(x.training) for x in (model, previous))
    figures: dict[str, Any] = {"measured_on": "figures of the manifests", "because": why}
    figures |= {"margin": margin, "now": now, "before": before}
    for one, found in ((model, now), (previous, before)):
        if not all(_is_share(found.get(name)) for name in FIGURES):
            return (
                "failed",
                f"{one.id[:12]} carries no figures to compare, and {why}; give --labels",
                figures,
            )
    tests = [tested_on(x.artifact.data) for x in (model, previous)]
    if tests[0] != tests[1] or not tests[0]:
        return (
            "failed",
            f"the manifests' figures are not of the same test queries, and {why}; give --labels",
            figures,
        )
    text = ", ".join(f"{x} {now[x]:.1%} ({now[x] - before[x]:+.1%})" for x in FIGURES)
    bad = [x for x in FIGURES if now[x] - before[x] < -margin]
    if bad:
        return (
            "failed",
            f"{' and '.join(bad)} fell by more than {margin:.1%}: {text}; {told}",
            figures,
        )
    return "passed", f"{text}; {told}", figures


def not_measured(why: str) -> Outcome:
    """What there is to say without labelled queries, as ``why`` tells: nothing that passes."""
    text = (
        f"not measured: {why}; give --labels, fetch the queries, or override "
        "(--figures-only REASON: by the manifests' figures)"
    )
    return "failed", text, {"measured_on": "nothing", "because": why}


def manifest_quality(training: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of a manifest over all labels, each query once; empty where it has none."""
    found: Any = training
    for key in ("quality", VIEW, "queries"):
        found = found.get(key) if isinstance(found, Mapping) else None
    return dict(found) if isinstance(found, Mapping) else {}


def _is_share(value: object) -> bool:
    return isinstance(value, (int, float)) and 0 <= value <= 1


def _codes(model: TopicModel) -> list[str]:
    return [label.code for label in model.taxonomy]


def _other_taxonomy() -> Outcome:
    text = "the versions have different taxonomies: their quality cannot be compared"
    return "failed", text, {"measured_on": "nothing"}
