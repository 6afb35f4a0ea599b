"""Pieces of HTML: tables that the page can sort and filter, and figures as people read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

ABSENT = "–"


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table: ``text``, what it is sorted by, and a ``bar`` in [0, 1] behind it."""

    text: str
    key: float | None = None
    bar: float | None = None


Value = str | int | Cell


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[Value]],
    name: str = "",
    tags: Sequence[str] = (),
) -> str:
    """A table that is sorted by a click on a heading.

    ``tags`` has words for each row that a choice of ``filters`` can ask for.
    """
    rows = list(rows)
    # A heading stands over its figures.
    right = [not isinstance(value, str) for value in rows[0]] if rows else [False] * len(header)
    head = "".join(
        f'<th{" class=n" if at_right else ""}><button type="button">{escape(x)}</button></th>'
        for x, at_right in zip(header, right, strict=True)
    )
    body = "".join(_row(row, tags[number] if tags else "") for number, row in enumerate(rows))
    mark = f' id="{name}"' if name else ""
    return (
        '<div class="scroll" tabindex="0" role="group" aria-label="table">'
        f"<table{mark}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(row: Sequence[Value], tags: str) -> str:
    mark = f' data-tags="{escape(tags)}"' if tags else ""
    return f"<tr{mark}>{''.join(map(_cell, row))}</tr>"


def _cell(value: Value) -> str:
    if isinstance(value, str):
        return f"<td>{escape(value)}</td>"
    if isinstance(value, int):
        return f'<td class="n">{value}</td>'
    key = "" if value.key is None else f' data-key="{value.key:g}"'
    bar = "" if value.bar is None else f' style="--bar:{value.bar:.0%}"'
    kind = "n bar" if value.bar is not None else "n"
    return f'<td class="{kind}"{key}{bar}>{escape(value.text)}</td>'


def filters(target: str, choices: Sequence[tuple[str, str]] = ()) -> str:
    """A field (and a choice of (tag, name)) that show some rows of the table ``target`` only."""
    chooser = ""
    if choices:
        options = "".join(f'<option value="{tag}">{escape(name)}</option>' for tag, name in choices)
        chooser = f'<label>show <select data-table="{target}">{options}</select></label> '
    return (
        f'<p class="filter">{chooser}<label>rows with <input type="search" data-table="{target}">'
        f'</label> <output data-count="{target}" aria-live="polite"></output></p>'
    )


def percent(value: float | None, *, bar: bool = False) -> Cell:
    """A share as ``12.3%``."""
    if value is None:
        return Cell(ABSENT)
    return Cell(f"{value:.1%}", value, value if bar else None)


def number(value: float | None) -> Cell:
    """A figure with two digits."""
    return Cell(ABSENT) if value is None else Cell(f"{value:.2f}", value)


def count(value: int | None) -> Value:
    """A count."""
    return Cell(ABSENT) if value is None else value


def interval(bounds: Sequence[float], known: bool) -> Cell:
    """A 95 % interval of a share."""
    low, high = bounds
    return Cell(f"{low:.0%}–{high:.0%}", low) if known else Cell(ABSENT)


def rise(value: float, bounds: Sequence[float]) -> Cell:
    """A difference of two shares in points, with its 95 % interval."""
    low, high = (100 * x for x in bounds)
    return Cell(f"{100 * value:+.1f} ({low:+.1f} to {high:+.1f})", value)
