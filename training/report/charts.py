"""Charts as SVG text; colours are variables of the page, so that light and dark both work."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 360, 260
COLOURS = 6
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 20, 12, 36
_TICKS = 5
Point = Sequence[float]
Place = Callable[[Point], tuple[float, float]]
Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Row:
    """A row of ``interval_chart``: values in [0, 1], ``None`` where there is none."""

    name: str
    value: float | None
    low: float
    high: float
    other: float | None
    shown: str


def style(number: int) -> str:
    """The classes of the line with that number: a colour, dashed once all are used."""
    return f"c{number % COLOURS}" + (" dashed" if number >= COLOURS else "")


def line_chart(
    lines: Mapping[str, Sequence[Point]],
    x_range: Range,
    y_range: Range,
    labels: tuple[str, str],
    *,
    marks: Mapping[str, Point] | None = None,
    guide: float | None = None,
    diagonal: bool = False,
    whiskers: Sequence[tuple[float, float, float]] = (),
    dots: bool = False,
    percent: tuple[bool, bool] = (True, True),
) -> str:
    """Lines over two axes.

    ``marks`` are named points, ``guide`` a level to look at, ``whiskers`` are (x, low, high);
    ``dots``: show the points, not only the line.  Points below the range are left out.
    """
    at = _placing(x_range, y_range)
    parts = [_axes(x_range, y_range, labels, at, percent)]
    if guide is not None:
        parts.append(_line("guide", at((x_range[0], guide)), at((x_range[1], guide))))
    if diagonal:
        ends = (x_range[0], y_range[0]), (x_range[1], y_range[1])
        parts.append(_line("guide", at(ends[0]), at(ends[1])))
    for x, low, high in whiskers:
        parts.append(_line("whisker", at((x, low)), at((x, high))))
    # The first line is what the page is about: it is drawn last, on top.
    for number, (name, points) in reversed(list(enumerate(lines.items()))):
        inside = [p for p in points if y_range[0] <= p[1] <= y_range[1]]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(at, inside))
        parts.append(
            f'<polyline class="line {style(number)}" points="{path}">'
            f"<title>{escape(name)}</title></polyline>"
        )
        kind = f"dot {style(number)}" if dots else "hover"
        radius = 3.5 if dots else 5
        parts += [
            _circle(
                kind,
                at(p),
                radius,
                f"{name}: {_tick(p[0], percent[0], 1)}, {_tick(p[1], percent[1], 1)}",
            )
            for p in inside
        ]
    for name, point in (marks or {}).items():
        shown = f"{name}: {_tick(point[0], percent[0], 1)}, {_tick(point[1], percent[1], 1)}"
        parts.append(_circle("mark", at(point), 5, shown))
    return _svg(" against ".join(labels[::-1]), parts)


def bar_chart(
    bars: Sequence[tuple[str, float, str]], labels: tuple[str, str], top: float = 1.0
) -> str:
    """Bars from 0 to ``top``: (name, height, what to show on hovering)."""
    at = _placing((0, 1), (0, top))
    parts = [_axes(None, (0, top), labels, at, (True, True))]
    step = (WIDTH - _LEFT - _RIGHT) / max(len(bars), 1)
    for number, (name, height, shown) in enumerate(bars):
        x, y = _LEFT + step * number, at((0, height))[1]
        parts.append(
            f'<rect class="bar" x="{x + 2:.1f}" y="{y:.1f}" width="{step - 4:.1f}" '
            f'height="{HEIGHT - _BOTTOM - y:.1f}"><title>{escape(shown)}</title></rect>'
            f'<text class="tick" x="{x + step / 2:.1f}" y="{HEIGHT - _BOTTOM + 14}" '
            f'text-anchor="middle">{escape(name)}</text>'
        )
    return _svg(" by ".join(labels[::-1]), parts)


def interval_chart(rows: Sequence[Row], guide: float, title: str) -> str:
    """One line of text per row with a dot, its interval and a second, hollow dot, from 0 to 1."""
    left, width, step, top = 168, 470, 22, 24
    height = top + step * len(rows) + 6

    def x_of(value: float) -> float:
        return left + value * (width - left - 22)

    parts = []
    for number in range(_TICKS):
        x = x_of(number / (_TICKS - 1))
        parts.append(_line("grid", (x, top - 4), (x, height - 6)))
        parts.append(_text("tick", x, top - 10, f"{number / (_TICKS - 1):.0%}", "middle"))
    parts.append(_line("guide", (x_of(guide), top - 4), (x_of(guide), height - 6)))
    for number, row in enumerate(rows):
        y = top + step * number + step / 2
        inner = [_text("name", left - 8, y + 4, _cut(row.name, 23), "end")]
        if row.value is not None:
            inner.append(_line("whisker", (x_of(row.low), y), (x_of(row.high), y)))
            inner.append(_circle("dot c0", (x_of(row.value), y), 4.5))
        if row.other is not None:
            inner.append(_circle("hollow", (x_of(row.other), y), 4))
        # So that the pointer meets the row anywhere.
        inner.append(
            f'<rect class="hover" x="0" y="{y - step / 2}" width="{width}" height="{step}"/>'
        )
        parts.append(f"<g>{''.join(inner)}<title>{escape(row.shown)}</title></g>")
    return _svg(title, parts, width, height)


def heat_map(
    rows: Sequence[str],
    matrix: Sequence[Sequence[int]],
    names: Mapping[str, str],
    labels: tuple[str, str],
) -> str:
    """A square of counts; off the diagonal, colour says how many, relative to the most.

    ``rows`` are the short names of rows and columns alike, ``names`` the full ones; the last row
    and column stand apart, and their common cell is left empty.
    """
    cell = 20
    short = [_cut(name, 10) for name in rows]
    longest = max(map(len, short))
    # Long names of columns stand upright.
    edge = 28 + 8 * longest if longest > 3 else 46
    last = len(rows) - 1
    size = edge + cell * len(rows) + 10
    most = max(
        (n for r, row in enumerate(matrix) for c, n in enumerate(row) if r != c and c != last),
        default=1,
    )

    def place(number: int) -> int:
        return edge + cell * number + (5 if number == last else 0)

    parts = [
        _text("axis", (size + edge) / 2, 11, f"{labels[1]} →", "middle"),
        f'<text class="axis" transform="rotate(-90)" x="{-(size + edge) / 2}" y="11" '
        f'text-anchor="middle">← {escape(labels[0])}</text>',
    ]
    for number, name in enumerate(short):
        middle = place(number) + cell / 2
        parts.append(_text("tick", edge - 5, middle + 4, name, "end"))
        if longest > 3:
            turned = f"translate({middle + 4:.1f} {edge - 6}) rotate(-90)"
            parts.append(f'<text class="tick" transform="{turned}">{escape(name)}</text>')
        else:
            parts.append(_text("tick", middle, edge - 6, name, "middle"))
    for r, row in enumerate(matrix):
        for c, count in enumerate(row):
            if r == c == last or not (count or r == c):
                continue
            shade = 0.08 if r == c else min(1, 0.12 + 0.88 * count / max(most, 1))
            true, false = names[rows[r]], names[rows[c]]
            if r == c:
                shown = f"{true}: {count} right"
            elif c == last:
                shown, shade = f"{true}: {count} not emitted, nor anything else", 0.08
            else:
                shown = f"{true} taken for {false}: {count}"
            x, y = place(c), place(r)
            ink = "onheat" if shade > 0.55 else "cell"
            parts.append(
                f'<g><rect class="heat" x="{x}" y="{y}" width="{cell - 1}" height="{cell - 1}" '
                f'rx="2" fill-opacity="{shade:.2f}"/>'
                f"{_text(ink, x + (cell - 1) / 2, y + 13, str(count), 'middle')}"
                f"<title>{escape(shown)}</title></g>"
            )
    # Rather scrolled than too small to read, and no larger than life.
    return _svg(" by ".join(labels), parts, size, size, (0.8, 1.2))


def _placing(x_range: Range, y_range: Range) -> Place:
    def at(point: Point) -> tuple[float, float]:
        x = (point[0] - x_range[0]) / ((x_range[1] - x_range[0]) or 1)
        y = (point[1] - y_range[0]) / ((y_range[1] - y_range[0]) or 1)
        return (
            _LEFT + min(max(x, 0), 1) * (WIDTH - _LEFT - _RIGHT),
            HEIGHT - _BOTTOM - min(max(y, 0), 1) * (HEIGHT - _TOP - _BOTTOM),
        )

    return at


def _axes(
    x_range: Range | None,
    y_range: Range,
    labels: tuple[str, str],
    at: Place,
    percent: tuple[bool, bool],
) -> str:
    parts = []
    for number in range(_TICKS):
        share = number / (_TICKS - 1)
        y = y_range[0] + share * (y_range[1] - y_range[0])
        place = at((x_range[0] if x_range else 0, y))[1]
        parts.append(_line("grid", (_LEFT, place), (WIDTH - _RIGHT, place)))
        parts.append(_text("tick", _LEFT - 5, place + 4, _tick(y, percent[1]), "end"))
        if x_range:
            x = x_range[0] + share * (x_range[1] - x_range[0])
            left = at((x, y_range[0]))[0]
            parts.append(_text("tick", left, HEIGHT - _BOTTOM + 14, _tick(x, percent[0]), "middle"))
    parts.append(_text("axis", (WIDTH + _LEFT) / 2, HEIGHT - 5, labels[0], "middle"))
    parts.append(
        f'<text class="axis" transform="rotate(-90)" x="{-(HEIGHT - _BOTTOM + _TOP) / 2}" y="10" '
        f'text-anchor="middle">{escape(labels[1])}</text>'
    )
    return "".join(parts)


def _cut(name: str, most: int) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _tick(value: float, percent: bool, digits: int = 0) -> str:
    return f"{value:.{digits}%}" if percent else f"{value:,.0f}"


def _line(kind: str, start: Point, end: Point) -> str:
    return (
        f'<line class="{kind}" x1="{start[0]:.1f}" y1="{start[1]:.1f}" '
        f'x2="{end[0]:.1f}" y2="{end[1]:.1f}"/>'
    )


def _circle(kind: str, centre: Point, radius: float, shown: str = "") -> str:
    inner = f"<title>{escape(shown)}</title>" if shown else ""
    return (
        f'<circle class="{kind}" cx="{centre[0]:.1f}" cy="{centre[1]:.1f}" r="{radius}">'
        f"{inner}</circle>"
    )


def _text(kind: str, x: float, y: float, text: str, anchor: str) -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
    )


def _svg(
    title: str,
    parts: Sequence[str],
    width: int = WIDTH,
    height: int = HEIGHT,
    scales: Range | None = None,
) -> str:
    sized = ""
    if scales:
        least, most = (round(scale * width) for scale in scales)
        sized = f' style="min-width:{least}px;max-width:{most}px"'
    return (
        f'<svg viewBox="0 0 {width} {height}"{sized} role="img" aria-label="{escape(title)}">'
        + "".join(parts)
        + "</svg>"
    )
