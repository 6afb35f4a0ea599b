"""The part of the page that sets two models side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from training.report.markup import Cell, filters, percent, rise, table

_MOST_SHOWN = 1000


def comparison_section(figures: dict[str, Any], names: dict[str, str]) -> str:
    """Figures side by side, labels and queries that changed; empty without another model."""
    found = figures.get("comparison")
    if not found:
        return ""
    other = f"<p><small>before: <code>{found['previous']}</code></small></p>"
    if found.get("other_taxonomy"):
        return f"{other}<p>The taxonomies differ: there is nothing to compare.</p>"
    if not found["changed"]:
        return f"{_side_by_side(figures, found)}{other}<p>Every answer is the same.</p>"
    return (
        _side_by_side(figures, found)
        + other
        + f"<p>{found['changed']:,} of {figures['queries']:,} answers differ: {found['better']} "
        f"better, {found['worse']} worse (right labels less wrong ones), the rest as good. Were "
        "better and worse equally likely, so clear a result would have a probability of "
        f"{_told(found['p_value'])}.</p>" + _labels(found, names) + _queries(found, names)
    )


def _told(probability: float) -> str:
    return "less than 0.0001" if probability < 1e-4 else f"{probability:.2g}"


def _side_by_side(figures: dict[str, Any], found: dict[str, Any]) -> str:
    rows: list[Sequence[str | Cell]] = []
    for view, by_weighting in found["differences"].items():
        for weighting, differences in by_weighting.items():
            for name, difference in differences.items():
                rows.append(
                    (
                        view,
                        name if weighting == "queries" else f"{name} by traffic",
                        percent(found["quality"][view][weighting][name]),
                        percent(figures["quality"][view][weighting][name]),
                        rise(difference["difference"], difference["interval"]),
                    )
                )
    errors = (x["quality"]["calibration_error"] for x in (found, figures))
    rows.append(("scores", "calibration error", *(Cell(f"{x:.3f}", x) for x in errors), Cell("")))
    return table(("of", "figure", "before", "now", "points (95 % interval)"), rows)


def _labels(found: dict[str, Any], names: dict[str, str]) -> str:
    rows = [
        (
            names[x["code"]],
            x["right_gained"],
            x["right_lost"],
            x["wrong_gained"],
            x["wrong_lost"],
        )
        for x in found["labels"]
    ]
    header = ("label", "right: gained", "right: lost", "wrong: gained", "wrong: lost")
    return (
        f"<details><summary>the {len(rows)} labels of these answers</summary>"
        f"{filters('label-changes')}{table(header, rows, 'label-changes')}</details>"
    )


def _queries(found: dict[str, Any], names: dict[str, str]) -> str:
    # Those that got worse stand first, those that got better last: both ends are of interest.
    shown = found["queries"]
    if len(shown) > _MOST_SHOWN:
        shown = shown[: _MOST_SHOWN // 2] + shown[-_MOST_SHOWN // 2 :]
    rows, tags = [], []
    for x in shown:
        sets = (
            "; ".join(names[code] for code in x[key]) or "–" for key in ("gold", "before", "now")
        )
        rows.append((x["text"], *sets, Cell(f"{x['gain']:+d}", x["gain"]), x["traffic"]))
        tags.append("better" if x["gain"] > 0 else "worse" if x["gain"] < 0 else "same")
    choices = (("", "all"), ("worse", "worse"), ("better", "better"), ("same", "as good"))
    header = ("query", "right", "before", "now", "gain", "asked")
    told = "" if len(shown) == found["changed"] else f", {len(shown)} of them here"
    return (
        f"<details><summary>the {found['changed']:,} queries{told}</summary>"
        f"{filters('changed', choices)}{table(header, rows, 'changed', tags)}</details>"
    )
