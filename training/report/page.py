"""The page: one self-contained HTML file made of the figures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from training.report.charts import bar_chart, heat_map, line_chart

Figures = dict[str, Any]
_LINES = 6
_MOST_COMPARED = 500


def page(figures: Figures) -> str:
    """The report as HTML."""
    names = {label["code"]: label["name"] for label in figures["labels"]}
    sections = [
        _section("Precision and coverage", _curves(figures)),
        _comparison(figures),
        _section("Topics and subtopics", _labels(figures, names)),
        _section("Confusions", _confusions(figures, names)),
        _section("Are the scores probabilities?", _reliability(figures)),
        _section("More labels", _learning(figures)),
        _section("Errors", _errors(figures)),
        _section("Where it is strong and weak", _groups(figures)),
        _section("Data and settings", _settings(figures)),
    ]
    template = files("training.report").joinpath("page.html").read_text(encoding="utf-8")
    return (
        template.replace("{{title}}", f"Model {figures['model'][:12]}")
        .replace("{{lead}}", _lead(figures))
        .replace("{{sections}}", "".join(sections))
    )


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>" if body else ""


def _lead(figures: Figures) -> str:
    quality = figures["quality"]
    tiles = []
    for view in ("all labels", "topics", "subtopics"):
        if view in quality:
            once = quality[view]["queries"]
            tiles.append(
                f'<div class="tile"><b>{once["precision"]:.1%}</b> precision<br>'
                f"<b>{once['coverage']:.1%}</b> coverage<br><small>{view}</small></div>"
            )
    error = quality["calibration_error"]
    tiles.append(f'<div class="tile"><b>{error:.3f}</b><br>calibration error</div>')
    return (
        f"<p>On {figures['queries']} {figures['measured_on']}, by its own thresholds; "
        f"model <code>{figures['model']}</code>.</p><div class='tiles'>{''.join(tiles)}</div>"
    )


def _curves(figures: Figures) -> str:
    blocks = []
    for view in ("all labels", "topics", "subtopics"):
        for weighting in ("queries", "traffic"):
            lines = {
                name: found[view][weighting]
                for name, found in list(figures["curves"].items())[:_LINES]
                if view in found
            }
            if not lines:
                continue
            own = figures["quality"][view][weighting]
            chart = line_chart(
                lines,
                (0, 1),
                (0.6, 1),
                ("coverage", "precision"),
                marks={"its thresholds": (own["coverage"], own["precision"])},
                guide=0.9,
            )
            by = "each query once" if weighting == "queries" else "weighted by traffic"
            blocks.append(f"<figure>{chart}<figcaption>{view}, {by}</figcaption></figure>")
    legend = "".join(
        f'<span class="key"><i class="c{number % 6}"></i>{escape(name)}</span>'
        for number, name in enumerate(list(figures["curves"])[:_LINES])
    )
    legend += '<span class="key"><i class="m"></i>its own thresholds</span>'
    return f'<p class="legend">{legend}</p><div class="row">{"".join(blocks)}</div>'


def _labels(figures: Figures, names: dict[str, str]) -> str:
    is_topic = {label["code"]: label["topic"] for label in figures["labels"]}
    rows = []
    for row in figures["per_label"]:
        low, high = row["interval"]
        rows.append(
            (
                f"{'' if is_topic[row['code']] else '– '}{names[row['code']]}",
                row["code"],
                row["train"],
                row["gold"],
                row["emitted"],
                _percent(row["precision"]),
                f"{low:.0%}–{high:.0%}" if row["emitted"] else "",
                _percent(row["recall"]),
                _number(row["mean_score"]),
                _number(row["threshold"]) if row["never"] is None else f"never: {row['never']}",
            )
        )
    header = (
        *("label", "code", "in training", "gold", "emitted", "precision", "95 %"),
        *("recall", "mean score", "score to emit"),
    )
    return _filter("labels") + _table(header, rows, "labels")


def _confusions(figures: Figures, names: dict[str, str]) -> str:
    found = figures["confusions"]
    rows = [
        (
            "no label is right" if true == "-" else names[true],
            names[false],
            count,
        )
        for true, false, count in found["commonest"]
    ]
    chart = heat_map(found["topics"], found["matrix"])
    return (
        f'<div class="row"><figure class="wide">{chart}<figcaption>rows: the right topic that was '
        "missed, columns: the wrong one that was emitted</figcaption></figure>"
        f"{_table(('right', 'emitted', 'times'), rows)}</div>"
    )


def _reliability(figures: Figures) -> str:
    bins = figures["reliability"]
    line = [(b["mean_score"], b["right"]) for b in bins]
    chart = line_chart(
        {"labels with that score": line},
        (0, 1),
        (0, 1),
        ("mean score", "share that is right"),
        diagonal=True,
    )
    total = sum(b["count"] for b in bins[1:]) or 1
    bars = [
        (f"{b['from']:.1f}", b["count"] / total, f"{b['count']} labels from {b['from']:.1f}")
        for b in bins
        if b["from"] > 0
    ]
    return (
        f'<div class="row"><figure>{chart}<figcaption>on the diagonal, a score of 0.7 is right '
        "seven times in ten</figcaption></figure>"
        f"<figure>{bar_chart(bars, ('score', 'share of labels from 0.1 on'))}"
        "<figcaption>how common scores are</figcaption></figure></div>"
    )


def _learning(figures: Figures) -> str:
    points = figures["learning_curve"]
    if not points:
        return ""
    most = points[-1][0]
    chart = line_chart(
        {"labels alone": points},
        (0, most),
        (0, 1),
        ("labelled queries", "coverage at 90 % precision"),
        percent=(False, True),
    )
    return (
        f"<figure>{chart}<figcaption>students of labels alone, on the validation queries"
        "</figcaption></figure>"
    )


def _errors(figures: Figures) -> str:
    blocks = []
    for kind, found in figures["errors"].items():
        rows = [
            (x["text"], " ".join(x["gold"]) or "-", " ".join(x["emitted"]) or "-")
            for x in found["examples"]
        ]
        blocks.append(
            f"<details><summary>{escape(kind)}: {found['count']}</summary>"
            f"{_table(('query', 'right', 'emitted'), rows)}</details>"
        )
    return "".join(blocks)


def _groups(figures: Figures) -> str:
    tables = []
    for key, title in (("by_length", "words"), ("by_unknown_words", "unknown words")):
        rows = [
            (x["group"], x["queries"], _percent(x["coverage"]), _percent(x["precision"]))
            for x in figures[key]
        ]
        tables.append(_table((title, "queries", "coverage", "precision"), rows))
    return f'<div class="row">{"".join(tables)}</div>'


def _settings(figures: Figures) -> str:
    sizes = _table(("data", "count"), list(figures["sizes"].items()))
    content = {"training": figures["training"], "data": figures["data"]}
    shown = json.dumps(content, indent=1, ensure_ascii=False)
    return (
        f"{sizes}<details><summary>all of the manifest</summary><pre>{escape(shown)}</pre>"
        "</details>"
    )


def _comparison(figures: Figures) -> str:
    found = figures.get("comparison")
    if not found:
        return ""
    title = f"Against {found['previous'][:12]}"
    if found.get("other_taxonomy"):
        return _section(title, "<p>The taxonomies differ: nothing to compare.</p>")
    rows = []
    for view in ("all labels", "topics", "subtopics"):
        if view in found["quality"]:
            before, now = found["quality"][view]["queries"], figures["quality"][view]["queries"]
            rows += [
                (f"{view}: {name}", f"{before[key]:.1%}", f"{now[key]:.1%}")
                for key, name in (("precision", "precision"), ("coverage", "coverage"))
            ]
    low, high = found["interval"]
    changed = [
        (
            x["text"],
            " ".join(x["gold"]) or "-",
            " ".join(x["before"]) or "-",
            " ".join(x["now"]) or "-",
            f"{x['gain']:+d}",
        )
        for x in found["queries"][:_MOST_COMPARED]
    ]
    return _section(
        title,
        _table(("", "before", "now"), rows)
        + f"<p>{found['changed']} answers differ: {found['better']} better, {found['worse']} worse;"
        f" labels right less labels wrong, per query: {found['difference']:+.3f} (95 % interval"
        f" {low:+.3f} to {high:+.3f}).</p><details><summary>the queries</summary>"
        + _filter("changed")
        + _table(("query", "right", "before", "now", "gain"), changed, "changed")
        + "</details>",
    )


def _filter(target: str) -> str:
    return (
        f'<label class="filter">show rows with <input type="search" data-table="{target}"></label>'
    )


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]], name: str = "") -> str:
    head = "".join(f'<th><button type="button">{escape(x)}</button></th>' for x in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(x))}</td>" for x in row) + "</tr>" for row in rows
    )
    mark = f' id="{name}"' if name else ""
    return (
        f'<div class="scroll" tabindex="0"><table{mark}><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
