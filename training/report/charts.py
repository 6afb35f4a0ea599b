"""Charts as SVG text; colours are variables of the page, so that light and dark both work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 360, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 20, 12, 34
Point = Sequence[float]


def line_chart(
    lines: Mapping[str, Sequence[Point]],
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    labels: tuple[str, str],
    *,
    marks: Mapping[str, Point] | None = None,
    guide: float | None = None,
    diagonal: bool = False,
    percent: tuple[bool, bool] = (True, True),
) -> str:
    """Lines over two axes; ``marks`` are named points, ``guide`` a level to look at."""

    def at(point: Point) -> tuple[float, float]:
        x = (point[0] - x_range[0]) / (x_range[1] - x_range[0])
        y = (point[1] - y_range[0]) / (y_range[1] - y_range[0])
        return (
            _LEFT + min(max(x, 0), 1) * (WIDTH - _LEFT - _RIGHT),
            HEIGHT - _BOTTOM - min(max(y, 0), 1) * (HEIGHT - _TOP - _BOTTOM),
        )

    parts = [_axes(x_range, y_range, labels, at, percent)]
    if guide is not None:
        (x1, y1), (x2, _) = at((x_range[0], guide)), at((x_range[1], guide))
        parts.append(f'<line class="guide" x1="{x1}" y1="{y1:.1f}" x2="{x2}" y2="{y1:.1f}"/>')
    if diagonal:
        (x1, y1), (x2, y2) = at((x_range[0], y_range[0])), at((x_range[1], y_range[1]))
        parts.append(f'<line class="guide" x1="{x1}" y1="{y1:.1f}" x2="{x2}" y2="{y2:.1f}"/>')
    for number, (name, points) in enumerate(lines.items()):
        inside = [p for p in points if y_range[0] <= p[1] <= y_range[1]]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(at, inside))
        parts.append(
            f'<polyline class="line c{number % 6}" points="{path}">'
            f"<title>{escape(name)}</title></polyline>"
        )
        parts += [
            f'<circle class="dot c{number % 6}" cx="{at(p)[0]:.1f}" cy="{at(p)[1]:.1f}" r="5">'
            f"<title>{escape(name)}: {_tick(p[0], percent[0])}, {_tick(p[1], percent[1])}</title>"
            "</circle>"
            for p in inside
        ]
    for name, point in (marks or {}).items():
        x, y = at(point)
        parts.append(
            f'<circle class="mark" cx="{x:.1f}" cy="{y:.1f}" r="5"><title>{escape(name)}: '
            f"{_tick(point[0], percent[0])}, {_tick(point[1], percent[1])}</title></circle>"
        )
    return _svg(" against ".join(labels[::-1]), parts)


def bar_chart(bars: Sequence[tuple[str, float, str]], labels: tuple[str, str]) -> str:
    """Bars from 0 to 1: (name, height, what to show on hovering)."""

    def at(point: Point) -> tuple[float, float]:
        return (
            _LEFT + point[0] * (WIDTH - _LEFT - _RIGHT),
            HEIGHT - _BOTTOM - point[1] * (HEIGHT - _TOP - _BOTTOM),
        )

    parts = [_axes(None, (0, 1), labels, at, (True, True))]
    step = (WIDTH - _LEFT - _RIGHT) / max(len(bars), 1)
    for number, (name, height, shown) in enumerate(bars):
        x, y = _LEFT + step * number, at((0, height))[1]
        parts.append(
            f'<rect class="bar" x="{x + 2:.1f}" y="{y:.1f}" width="{step - 4:.1f}" '
            f'height="{HEIGHT - _BOTTOM - y:.1f}"><title>{escape(shown)}</title></rect>'
            f'<text class="tick" x="{x + step / 2:.1f}" y="{HEIGHT - _BOTTOM + 13}" '
            f'text-anchor="middle">{escape(name)}</text>'
        )
    return _svg(" by ".join(labels[::-1]), parts)


def heat_map(names: Sequence[str], matrix: Sequence[Sequence[int]]) -> str:
    """A square of counts; off the diagonal, colour says how many, relative to the most."""
    cell, edge = 17, 30
    size = edge + cell * len(names) + 4
    most = max((n for r, row in enumerate(matrix) for c, n in enumerate(row) if r != c), default=1)
    parts = []
    for place, name in enumerate(names):
        middle = edge + cell * place + cell / 2
        parts.append(
            f'<text class="tick" x="{edge - 4}" y="{middle + 4}" text-anchor="end">'
            f"{escape(name)}</text>"
            f'<text class="tick" x="{middle}" y="{edge - 6}" text-anchor="middle">'
            f"{escape(name)}</text>"
        )
    for r, row in enumerate(matrix):
        for c, count in enumerate(row):
            shade = 0.08 if r == c else count / max(most, 1)
            shown = (
                f"{names[r]}: {count} right"
                if r == c
                else f"{names[r]} taken for {names[c]}: {count}"
            )
            parts.append(
                f'<rect class="heat" x="{edge + cell * c}" y="{edge + cell * r}" '
                f'width="{cell - 1}" height="{cell - 1}" fill-opacity="{shade:.2f}">'
                f"<title>{escape(shown)}</title></rect>"
            )
    return _svg("right topic by emitted topic", parts, size, size)


def _axes(x_range, y_range, labels, at, percent) -> str:  # type: ignore[no-untyped-def]
    parts = []
    for number in range(5):
        y = y_range[0] + number * (y_range[1] - y_range[0]) / 4
        place = at((x_range[0] if x_range else 0, y))[1]
        parts.append(
            f'<line class="grid" x1="{_LEFT}" y1="{place:.1f}" x2="{WIDTH - _RIGHT}" '
            f'y2="{place:.1f}"/><text class="tick" x="{_LEFT - 5}" y="{place + 4:.1f}" '
            f'text-anchor="end">{_tick(y, percent[1])}</text>'
        )
        if x_range:
            x = x_range[0] + number * (x_range[1] - x_range[0]) / 4
            parts.append(
                f'<text class="tick" x="{at((x, y_range[0]))[0]:.1f}" y="{HEIGHT - _BOTTOM + 14}" '
                f'text-anchor="middle">{_tick(x, percent[0])}</text>'
            )
    parts.append(
        f'<text class="axis" x="{(WIDTH + _LEFT) / 2}" y="{HEIGHT - 4}" text-anchor="middle">'
        f"{escape(labels[0])}</text>"
        f'<text class="axis" transform="rotate(-90)" x="{-(HEIGHT - _BOTTOM) / 2}" y="11" '
        f'text-anchor="middle">{escape(labels[1])}</text>'
    )
    return "".join(parts)


def _tick(value: float, percent: bool) -> str:
    return f"{value:.0%}" if percent else f"{value:,.0f}"


def _svg(title: str, parts: Sequence[str], width: int = WIDTH, height: int = HEIGHT) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">'
        + "".join(parts)
        + "</svg>"
    )
