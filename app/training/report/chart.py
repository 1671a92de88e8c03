"""A line chart as SVG, coloured by its page. Knows numbers only."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

LEFT, RIGHT, TOP, BOTTOM = 52, 14, 12, 30  # pixels around the plot, for the numbers
Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    label: str  # also its class in the style sheet
    points: Sequence[Point]


def line_chart(lines: Sequence[Line], width: int, height: int, mark: Point | None = None) -> Markup:
    """All lines on the same axes; `mark` is a point to label."""
    every = [point for line in lines for point in line.points]
    x_ticks, y_ticks = ticks([x for x, _ in every], 6), ticks([y for _, y in every], height // 45)
    left, right = min(x for x, _ in every), max(x for x, _ in every)
    low, high = y_ticks[0], y_ticks[-1]

    def x_at(x: float) -> float:
        return LEFT + (x - left) / ((right - left) or 1) * (width - LEFT - RIGHT)

    def y_at(y: float) -> float:
        return height - BOTTOM - (y - low) / ((high - low) or 1) * (height - TOP - BOTTOM)

    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{_summary(lines)}">']
    for y in y_ticks:
        at = f"{y_at(y):.1f}"
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{width - RIGHT}" y1="{at}" y2="{at}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{at}" dy=".32em" class="end">{_short(y)}</text>')
    for x in (x for x in x_ticks if left <= x <= right):
        parts.append(f'<text x="{x_at(x):.1f}" y="{height - 8}" class="mid">{_short(x)}</text>')
    for number, line in enumerate(lines):
        path = " ".join(f"{x_at(x):.1f},{y_at(y):.1f}" for x, y in thinned(line.points, width))
        parts.append(f'<polyline class="{line.label}" points="{path}"/>')
        if len(lines) > 1:
            row = TOP + 8 + 18 * number
            ends = f'x1="{width - 120}" x2="{width - 100}" y1="{row}" y2="{row}"'
            parts.append(f'<line class="{line.label}" {ends}/>')
            parts.append(f'<text x="{width - 94}" y="{row}" dy=".32em">{line.label}</text>')
    if mark is not None:
        x, y = x_at(mark[0]), y_at(mark[1])
        parts.append(f'<circle class="mark" cx="{x:.1f}" cy="{y:.1f}" r="4"/>')
        side = "end" if x > width / 2 else "start"
        parts.append(f'<text class="mark {side}" x="{x:.1f}" y="{y - 12:.1f}">{mark[1]:.3f}</text>')
    return Markup("".join([*parts, "</svg>"]))


def _summary(lines: Sequence[Line]) -> str:
    ends = (
        f"{line.label} from {line.points[0][1]:.4g} to {line.points[-1][1]:.4g}" for line in lines
    )
    return "; ".join(ends)


def thinned(points: Sequence[Point], most: int) -> Sequence[Point]:
    """No more points than there are pixels: each is the mean of its neighbours."""
    if len(points) <= most:
        return points
    size = math.ceil(len(points) / most)
    groups = (points[i : i + size] for i in range(0, len(points), size))
    return [tuple(sum(values) / len(values) for values in zip(*g, strict=True)) for g in groups]


def ticks(values: Sequence[float], about: int) -> list[float]:
    """Round numbers that span the values."""
    low, high = min(values), max(values)
    rough = (high - low) / max(1, about) or abs(high) / 10 or 1.0
    unit = 10 ** math.floor(math.log10(rough))
    step = unit * next(factor for factor in (1, 2, 2.5, 5, 10) if rough <= factor * unit * 1.0001)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(n * step, 12) for n in range(first, max(last, first + 1) + 1)]


def _short(value: float) -> str:
    if abs(value) >= 10_000:
        return f"{value / 1000:,.10g}k"
    return f"{value:,.4g}" if abs(value) >= 0.001 or value == 0 else f"{value:.0e}"
