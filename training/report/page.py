"""The page: one self-contained HTML file made of the figures."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import Any

from training.quality import PRECISION, precision_of
from training.report.charts import (
    Row,
    bar_chart,
    heat_map,
    interval_chart,
    line_chart,
    style,
)
from training.report.comparison_section import comparison_section
from training.report.confusions import NONE
from training.report.data_section import data_section
from training.report.figures import THIS_MODEL, Figures
from training.report.markup import (
    ABSENT,
    Cell,
    Value,
    count,
    filters,
    interval,
    number,
    percent,
    table,
)
from training.report.reliability import BINS

VIEWS = ("all labels", "topics", "subtopics")
WEIGHTINGS = {"queries": "each query once", "traffic": "weighted by traffic"}
_LINES = 12
_TWO_COLUMNS = 12
_TOPICS_TITLE = "precision and recall of each topic"
_TOPICS = 40
"""Charts with a row for each topic have at most so many: pictures are for looking at."""


def page(figures: Figures) -> str:
    """The report as HTML."""
    names = {label["code"]: label["name"] for label in figures["labels"]}
    sections = [
        ("curves", "Precision and coverage", _curves(figures)),
        ("comparison", "Against another model", comparison_section(figures, names)),
        ("topics", "Topics", _topics(figures, names)),
        ("labels", "All labels", _labels(figures, names)),
        ("confusions", "Confusions", _confusions(figures, names)),
        ("reliability", "Are the scores probabilities?", _reliability(figures)),
        ("learning", "What more labels would bring", _learning(figures)),
        ("errors", "Errors", _errors(figures, names)),
        ("groups", "Where it is strong and weak", _groups(figures)),
        ("data", "Data and settings", data_section(figures)),
    ]
    shown = [section for section in sections if section[2]]
    links = "".join(f'<a href="#{name}">{escape(title)}</a>' for name, title, _ in shown)
    body = "".join(
        f'<section id="{name}"><h2>{escape(title)}</h2>{content}</section>'
        for name, title, content in shown
    )
    template = files("training.report").joinpath("page.html").read_text(encoding="utf-8")
    # One pass, so that nothing in the figures can pass for a place of the template.
    parts = {"title": f"Model {figures['model'][:12]}", "lead": _lead(figures)}
    parts |= {"links": links, "sections": body}
    pieces = template.split("{{")
    filled = [pieces[0]]
    for piece in pieces[1:]:
        name, _, rest = piece.partition("}}")
        filled += [parts[name], rest]
    return "".join(filled)


def _lead(figures: Figures) -> str:
    quality = figures["quality"]
    tiles = []
    for view in _views(quality):
        once, traffic = quality[view]["queries"], quality[view]["traffic"]
        tiles.append(
            f'<div class="tile"><small>{view}</small>'
            f"<span><b>{percent(precision_of(once)).text}</b> precision</span>"
            f"<span><b>{once['coverage']:.1%}</b> coverage</span>"
            f"<small>by traffic {percent(precision_of(traffic)).text}, "
            f"{traffic['coverage']:.1%}</small></div>"
        )
    tiles.append(
        f'<div class="tile"><small>scores</small><span><b>{quality["calibration_error"]:.3f}</b> '
        "calibration error</span></div>"
    )
    warning = (
        "<p>There are no test queries. On the validation queries, on which thresholds and "
        "calibration were chosen, figures look better than they are.</p>"
        if figures["measured_on"] == "validation queries"
        else ""
    )
    return (
        f"{warning}<p>On {figures['queries']:,} {figures['measured_on']}, logged "
        f"{figures['traffic']:,} times, by the model's own thresholds. Precision: of the labels "
        "emitted, the share that is right. Coverage: of the queries, the share with a label.</p>"
        f"<p><small>model <code>{figures['model']}</code></small></p>"
        f'<div class="tiles">{"".join(tiles)}</div>'
    )


def _views(by_view: dict[str, Any]) -> list[str]:
    return [view for view in VIEWS if view in by_view]


def _curves(figures: Figures) -> str:
    names = _scorers(figures)
    blocks = []
    for view in _views(figures["curves"][THIS_MODEL]):
        for weighting, told in WEIGHTINGS.items():
            own = figures["quality"][view][weighting]
            lines = {
                name: figures["curves"][name][view][weighting]
                for name in names
                if view in figures["curves"][name]
            }
            low = 0.6 if own["precision"] >= 0.6 else 0.0
            chart = line_chart(
                lines,
                (0, 1),
                (low, 1),
                ("coverage", "precision"),
                marks={"by its own thresholds": (own["coverage"], own["precision"])},
                guide=PRECISION,
            )
            blocks.append(f"<figure>{chart}<figcaption>{view}, {told}</figcaption></figure>")
    keys = [_key(style(place), name) for place, name in enumerate(names)]
    keys.append(_key("m", "its own thresholds"))
    return (
        f'<p class="legend">{"".join(keys)}</p><div class="row">{"".join(blocks)}</div>'
        "<p>A curve has every cut on the scores, the same for all labels. The model's own "
        "thresholds differ between a query's best topic and further labels, so their point may "
        f"stand beside the curve. Coverage at {PRECISION:.0%} precision:</p>{_at_90(figures)}"
    )


def _scorers(figures: Figures) -> list[str]:
    # The model, then the teacher, then the rest: what people look for must not be cut off.
    others = [name for name in figures["curves"] if name != THIS_MODEL]
    others.sort(key=lambda name: (not name.lower().startswith("teacher"), name))
    return [THIS_MODEL, *others][:_LINES]


def _key(kind: str, name: str) -> str:
    return f'<span class="key"><i class="{kind}"></i>{escape(name)}</span>'


def _at_90(figures: Figures) -> str:
    views = _views(figures["curves"][THIS_MODEL])
    header = [f"{view}, {told}" for view in views for told in WEIGHTINGS.values()]
    rows: list[list[Value]] = []
    for name in _scorers(figures):
        found = figures["coverage_at_90"].get(name, {})
        shares = [found.get(view, {}).get(x) for view in views for x in WEIGHTINGS]
        rows.append([name, *(percent(share, bar=True) for share in shares)])
    return table(("scorer", *header), rows)


def _topics(figures: Figures, names: dict[str, str]) -> str:
    topics = {label["code"] for label in figures["labels"] if label["topic"]}
    rows = [row for row in figures["per_label"] if row["code"] in topics and row["gold"]]
    if not rows:
        return ""
    told = ""
    if len(rows) > _TOPICS:
        told = f"<p>The {_TOPICS} most frequent of {len(rows)}; the table below has all.</p>"
        rows = sorted(rows, key=lambda row: -row["gold"])[:_TOPICS]
    rows.sort(key=lambda row: (-(row["recall"] or 0), row["code"]))
    drawn = [
        Row(
            names[row["code"]],
            row["precision"],
            row["interval"][0],
            row["interval"][1],
            row["recall"],
            f"{names[row['code']]}: {row['gold']} queries, {row['emitted']} emitted, "
            f"{row['right']} of them right",
        )
        for row in rows
    ]
    # Side by side where there is room for two.
    half = (len(drawn) + 1) // 2 if len(drawn) >= _TWO_COLUMNS else len(drawn)
    charts = "".join(
        f'<figure class="tall">{interval_chart(part, PRECISION, _TOPICS_TITLE)}</figure>'
        for part in (drawn[:half], drawn[half:])
        if part
    )
    return (
        f'{told}<p class="legend">{_key("c0", "precision, with its 95 % interval")}'
        f'{_key("h", "recall")}</p><div class="row">{charts}</div>'
    )


def _labels(figures: Figures, names: dict[str, str]) -> str:
    is_topic = {label["code"]: label["topic"] for label in figures["labels"]}
    below = figures["below_target"]["labels"]
    rows, tags = [], []
    for row in figures["per_label"]:
        topic, told = is_topic[row["code"]], row["emitted"] > 0
        rows.append(
            (
                names[row["code"]],
                row["code"],
                count(row["train"]),
                count(row["validation"]),
                row["gold"],
                row["emitted"],
                percent(row["precision"], bar=True),
                interval(row["interval"], told),
                *_on_validation(row["on_validation"]),
                percent(row["recall"], bar=True),
                percent(row["f1"]),
                number(row["mean_score"]),
                number(row["calibration_error"]),
                *(
                    (number(row["threshold"]), number(row["threshold_beside"]))
                    if row["never"] is None
                    else ("never", "never")
                ),
            )
        )
        words = ["topic" if topic else "subtopic", "told" if told else "silent"]
        words += ["never"] * bool(row["never"]) + ["below"] * (row["code"] in below)
        tags.append(" ".join(words))
    header = (
        *("label", "code", "in training", "in validation", "gold here", "emitted", "precision"),
        *(
            "95 %",
            "precision in validation",
            "95 % there",
            "recall",
            "F1",
            "mean score",
            "calibration error",
        ),
        *("score to emit", "beside a better topic"),
    )
    choices = (
        *(("", "all"), ("topic", "topics"), ("subtopic", "subtopics"), ("told", "emitted here")),
        *(("silent", "not emitted here"), ("never", "never emitted")),
        ("below", "shown to be below the target"),
    )
    return (
        filters("label-table", choices)
        + table(header, rows, "label-table", tags)
        + _below_target(figures, names)
        + _never(figures, names)
    )


def _on_validation(found: dict[str, Any] | None) -> tuple[Cell, Cell]:
    if found is None:
        return Cell(ABSENT), Cell(ABSENT)
    return percent(found["precision"], bar=True), interval(found["interval"], found["emitted"] > 0)


def _below_target(figures: Figures, names: dict[str, str]) -> str:
    target, below = figures["below_target"]["target"], figures["below_target"]["labels"]
    promise = (
        f"<p>The precision of {target:.0%} is promised for all emitted labels together, not for "
        "each of them: what is sure makes up for what is less so.</p>"
    )
    if not below:
        return promise
    rows = []
    for row in figures["per_label"]:
        if row["code"] in below:
            found = row["on_validation"]
            cells = found["emitted"], found["right"], *_on_validation(found)
            rows.append((names[row["code"]], row["code"], *cells))
    told = "1 label" if len(below) == 1 else f"{len(below)} labels"
    header = ("label", "code", "emitted in validation", "right", "precision", "95 %")
    return (
        f"{promise}<details><summary>{told} shown to be below the target of {target:.0%}</summary>"
        f"{table(header, rows)}</details>"
    )


def _never(figures: Figures, names: dict[str, str]) -> str:
    found = [row for row in figures["per_label"] if row["never"]]
    if not found:
        return "<p>Every label can be emitted.</p>"
    rows = [(names[row["code"]], row["code"], row["never"]) for row in found]
    told = "1 label that is" if len(found) == 1 else f"{len(found)} labels that are"
    return (
        f"<details><summary>{told} never emitted, and why</summary>"
        f"{table(('label', 'code', 'why'), rows)}</details>"
    )


def _confusions(figures: Figures, names: dict[str, str]) -> str:
    found = figures["confusions"]
    full = {**names, NONE: "none"}
    rows = [
        ("no label is right" if true == NONE else names[true], names[false], times)
        for true, false, times in found["commonest"]
    ]
    kept = _most_confused(found["matrix"])
    chart = heat_map(
        [[*found["topics"], NONE][place] for place in kept],
        [[found["matrix"][row][column] for column in kept] for row in kept],
        full,
        ("right topic", "emitted topic"),
    )
    some = "" if len(kept) > len(found["topics"]) else f" The {_TOPICS} most confused are shown."
    nothing = sum(row[-1] for row in found["matrix"][:-1])
    beside = table(("right", "emitted instead", "times"), rows) if rows else "<p>None.</p>"
    return (
        f'<div class="row"><figure class="wide">{chart}<figcaption>Rows: the right topic that was '
        "missed; columns: the wrong one emitted in its place; on the diagonal, the right ones. The "
        f"last row is queries without a right label, the last column the {nothing} topics of "
        f"queries for which nothing is emitted.{some}</figcaption></figure>"
        f'<div class="beside">{beside}</div></div>'
    )


def _most_confused(matrix: Sequence[Sequence[int]]) -> list[int]:
    # Places of rows to draw, in order; the last row and column are no topic's.
    last = len(matrix) - 1
    confused = [
        sum(matrix[place][:last]) + sum(row[place] for row in matrix) - 2 * matrix[place][place]
        for place in range(last)
    ]
    ranked = sorted(range(last), key=lambda place: -confused[place])[:_TOPICS]
    return [*sorted(ranked), last]


def _reliability(figures: Figures) -> str:
    bins = figures["reliability"]
    chart = line_chart(
        {"labels with that score": [(b["mean_score"], b["right"]) for b in bins]},
        (0, 1),
        (0, 1),
        ("mean score", "share that is right"),
        diagonal=True,
        whiskers=[(b["mean_score"], *b["interval"]) for b in bins],
        dots=True,
    )
    counts = {b["from"]: b["count"] for b in bins}
    # The lowest bin has nearly all pairs of a query and a label: beside it, nothing could be seen.
    shown = [(lower / BINS, counts.get(lower / BINS, 0)) for lower in range(1, BINS)]
    total = sum(times for _, times in shown)
    shares = [times / max(total, 1) for _, times in shown]
    # Heights whose quarters are whole.
    top = next(height for height in (0.4, 0.6, 0.8, 1.0) if max(shares) <= height)
    bars = [
        (
            f"{lower:.1f}",
            share,
            f"score {lower:.1f} to {lower + 1 / BINS:.1f}: {times} labels of queries",
        )
        for (lower, times), share in zip(shown, shares, strict=True)
    ]
    error = figures["quality"]["calibration_error"]
    return (
        f'<div class="row"><figure>{chart}<figcaption>On the diagonal, a score of 0.7 is right '
        f"seven times in ten. Expected calibration error: {error:.3f}, over scores from 0.05 on."
        "</figcaption></figure>"
        f"<figure>{bar_chart(bars, ('score from', 'share of scores from 0.1 on'), top)}"
        f"<figcaption>How common scores are: {total:,} of 0.1 or more.</figcaption></figure></div>"
    )


def _learning(figures: Figures) -> str:
    points = figures["learning_curve"]
    if not points:
        return ""
    chart = line_chart(
        {"labels alone": points},
        (0, points[-1][0]),
        (0, 1),
        ("labelled queries", "coverage at 90 % precision"),
        dots=True,
        percent=(False, True),
    )
    rows = [(f"{queries:,}", percent(coverage)) for queries, coverage in points]
    return (
        f'<div class="row"><figure>{chart}<figcaption>Students that learned from so many labels '
        "and from no annotations, on the validation queries.</figcaption></figure>"
        f"{table(('labelled queries', 'coverage'), rows)}</div>"
    )


def _errors(figures: Figures, names: dict[str, str]) -> str:
    blocks = []
    for kind, found in figures["errors"].items():
        share = found["count"] / max(figures["queries"], 1)
        head = f"{kind}: {found['count']} queries ({share:.1%}), asked {found['traffic']:,} times"
        if not found["examples"]:
            blocks.append(f"<p>{escape(head)}</p>")
            continue
        rows = [
            (
                x["text"],
                _named(x["gold"], names),
                _named(x["emitted"], names),
                f"{x['label']} {x['score']:.2f}",
                x["traffic"],
            )
            for x in found["examples"]
        ]
        best = "best label and score" if kind == "nothing emitted" else "wrong label and score"
        some = "" if len(rows) == found["count"] else f"<p>The {len(rows)} most asked:</p>"
        blocks.append(
            f"<details><summary>{escape(head)}</summary>{some}"
            f"{table(('query', 'right', 'emitted', best, 'asked'), rows)}</details>"
        )
    return "".join(blocks)


def _named(codes: Sequence[str], names: dict[str, str]) -> str:
    return "; ".join(names[code] for code in codes) or "–"


def _groups(figures: Figures) -> str:
    tables = []
    for key, title in (("by_length", "tokens"), ("by_unknown_tokens", "unknown tokens")):
        rows = [
            (
                x["group"],
                x["queries"],
                percent(x["coverage"], bar=True),
                percent(x["traffic_coverage"]),
                percent(x["precision"], bar=True),
                interval(x["interval"], x["precision"] is not None),
            )
            for x in figures[key]
        ]
        header = (title, "queries", "coverage", "by traffic", "precision", "95 %")
        tables.append(table(header, rows))
    return f'<div class="row">{"".join(tables)}</div>'
