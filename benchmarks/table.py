"""Tables that read well in a terminal and are Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column is set left, the others right."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        first, *others = (
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "| " + " | ".join([first, *others]) + " |"

    rule = "|" + "|".join(
        "-" * (width + 2) if i == 0 else "-" * (width + 1) + ":" for i, width in enumerate(widths)
    )
    return "\n".join([line(header), rule + "|", *map(line, rows)])


def duration(seconds: float) -> str:
    """Three digits in the unit that suits: ``"412 ns"``, ``"3.42 µs"``, ``"215 ms"``."""
    for factor, unit in ((1e9, "ns"), (1e6, "µs"), (1e3, "ms")):
        if seconds * factor < 999.5:
            return f"{_three_digits(seconds * factor)} {unit}"
    return f"{_three_digits(seconds)} s"


def size(count: float) -> str:
    """A number of bytes: ``"24.1 MB"`` (10^6), ``"3.20 kB"``."""
    for factor, unit in ((1, "B"), (1e3, "kB"), (1e6, "MB")):
        if count / factor < 999.5:
            return f"{_three_digits(count / factor)} {unit}"
    return f"{_three_digits(count / 1e9)} GB"


def rate(seconds: float) -> str:
    """Queries per second from seconds per query: ``"512,000"``."""
    return f"{float(f'{1 / seconds:.3g}'):,.0f}"


def _three_digits(value: float) -> str:
    if value == 0:
        return "0"
    decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:,.{decimals}f}"
