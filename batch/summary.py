"""What a run found, as text and as JSON."""

from __future__ import annotations

from typing import Any

from batch.counts import Counts
from topiccore import TopicModel

_TOKENS = 20


def as_json(model: TopicModel, counts: Counts, seconds: float, scored_now: int) -> dict[str, Any]:
    """The content of a summary file; shares are of all rows, 0 to 1, ``None`` of no rows.

    ``seconds`` and ``rows_per_second`` are of this run, which scored ``scored_now`` rows; the rest
    had been scored before it was interrupted.
    """
    labels = [
        {
            "code": label.code,
            "name": label.name,
            "topic": label.topic,
            "rows": int(number),
            "share": _share(int(number), counts.rows),
        }
        for label, number in zip(model.taxonomy, _labels(model, counts), strict=True)
    ]
    return {
        "model": model.id,
        "rows": counts.rows,
        "null_or_not_text": counts.nulls,
        "not_text": counts.not_text,
        "too_long": counts.too_long,
        "truncated": counts.truncated,
        "covered": counts.covered,
        "coverage": _share(counts.covered, counts.rows),
        "topics": [label for label in labels if label["topic"] is None],
        "subtopics": [label for label in labels if label["topic"] is not None],
        "unknown_tokens": {
            "share": _share(counts.unknown, counts.tokens),
            "tokens": counts.tokens,
            "unknown": counts.unknown,
            "frequent": [
                {"token": token, "times": times} for token, times in _frequent(counts, 100)
            ],
            "frequent_in_rows": counts.examined,
        },
        "seconds": seconds,
        "rows_scored_now": scored_now,
        "rows_per_second": scored_now / seconds if seconds else None,
    }


def as_text(model: TopicModel, counts: Counts, seconds: float, scored_now: int) -> str:
    """The same for people."""
    rate = scored_now / seconds if seconds else 0.0
    lines = [f"{counts.rows:,} rows in {seconds:.1f} s ({rate:,.0f} rows/s)"]
    if scored_now != counts.rows:
        lines[0] = (
            f"{counts.rows:,} rows, {scored_now:,} of them now, in {seconds:.1f} s "
            f"({rate:,.0f} rows/s)"
        )
    for number, what in (
        (counts.nulls, "rows without a query (null, or not text)"),
        (counts.too_long, "rows too long to be scored"),
        (counts.truncated, "rows of which only the first tokens were scored"),
    ):
        if number:
            lines.append(f"{number:,} {what}")
    lines.append(f"coverage: {_percent(counts.covered, counts.rows)} of rows have a topic")
    lines.append(f"unknown tokens: {_percent(counts.unknown, counts.tokens)}")
    if counts.frequent:
        sample = "" if counts.examined == counts.rows else f" (in {counts.examined:,} of the rows)"
        words = ", ".join(_printable(token) for token, _ in _frequent(counts, _TOKENS))
        lines.append(f"most often{sample}: {words}")
    found = [
        (int(number), label)
        for label, number in zip(model.taxonomy, _labels(model, counts), strict=True)
        if label.topic is None and number
    ]
    for number, label in sorted(found, key=lambda pair: (-pair[0], pair[1].code)):
        lines.append(f"  {_percent(number, counts.rows):>6}  {label.code:<6}{label.name}")
    return "\n".join(lines)


def _frequent(counts: Counts, most: int) -> list[tuple[str, int]]:
    return sorted(counts.frequent.items(), key=lambda pair: (-pair[1], pair[0]))[:most]


def _labels(model: TopicModel, counts: Counts) -> Any:
    return counts.labels if len(counts.labels) else [0] * len(model.taxonomy)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"


def _printable(token: str) -> str:
    shown = token if len(token) <= 40 else token[:40] + "..."
    return "".join(c if c.isprintable() else "\ufffd" for c in shown)
