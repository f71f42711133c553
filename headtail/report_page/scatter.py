"""Score over cost, one mark per artifact, with the Pareto front as a line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape

from headtail.report_page.glyphs import colour, mark, named
from headtail.report_page.labels import Box, Tag, place_labels
from headtail.report_page.scales import LogScale, Scale, drawable
from headtail.report_page.spots import Spot

__all__ = ["Axis", "scatter"]

WIDTH, HEIGHT = 440, 360
LEFT, RIGHT, TOP, BOTTOM = 48, 18, 16, 46
RADIUS = 5.0
HOLLOW = 4.2
SIDE_BY_SIDE = 12.0  # between marks that would coincide
NEAR = 9.0
FAR = 4.0  # from a mark, for a label


@dataclass(frozen=True)
class Axis:
    """What a chart's side is about: a key of the artifact, its kind of number, its title.

    `unit` divides the values for the ticks.
    """

    key: str
    kind: str
    title: str
    unit: float = 1.0


@dataclass(frozen=True)
class _Point:
    spot: Spot
    x: float
    y: float
    low: float
    high: float
    shown_x: float = 0.0

    @property
    def format(self) -> str:
        return str(self.spot.value["format"])

    @property
    def precision(self) -> str:
        return str(self.spot.value["precision"])


def scatter(artifacts: Sequence[Spot], cost: Axis, score: Axis, *, front: str, title: str) -> str:
    """An SVG of the artifacts that have both figures; `front` names the front to draw."""
    costs = [one[cost.key].value / cost.unit for one in artifacts]
    across = LogScale.over(costs, start=LEFT, end=WIDTH - RIGHT)
    heights = _heights([one[score.key] for one in artifacts])
    upward = Scale.over([v for held in heights for v in held], start=HEIGHT - BOTTOM, end=TOP)
    clusters = _beside(
        [
            _Point(one, across(price), *map(upward, held))
            for one, price, held in zip(artifacts, costs, heights, strict=True)
        ]
    )
    points = [point for cluster in clusters for point in cluster]
    inside = [
        _grid(across, upward, cost.title, score.title),
        _front(points, front),
        *map(_whisker, points),
        *(_mark(point, cost, score, front) for point in points),
        *_labels(clusters, _steps(points, front)),
    ]
    return (
        f'<svg class="panel" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
        f"<title>{title}</title>{''.join(inside)}</svg>"
    )


def _heights(scores: Sequence[Spot]) -> list[list[float]]:
    """Value and ends of the interval of each, the value itself where there is none."""
    held = [
        score["value"].value if score[name].value is None else score[name].value
        for score in scores
        for name in ("value", "low", "high")
    ]
    heights = drawable(held)
    return [heights[i : i + 3] for i in range(0, len(heights), 3)]


def _beside(points: list[_Point]) -> list[list[_Point]]:
    """Marks of one precision that would cover each other, side by side around where they belong."""
    clusters: list[list[_Point]] = []
    for point in sorted(points, key=lambda p: (p.x, p.format, p.precision)):
        for cluster in clusters:
            near = abs(cluster[0].x - point.x) < NEAR and abs(cluster[0].y - point.y) < NEAR
            if near and cluster[0].precision == point.precision:
                cluster.append(point)
                break
        else:
            clusters.append([point])
    return [
        [
            replace(point, shown_x=point.x + (i - (len(cluster) - 1) / 2) * SIDE_BY_SIDE)
            for i, point in enumerate(sorted(cluster, key=lambda p: p.format))
        ]
        for cluster in clusters
    ]


def _grid(across: LogScale, upward: Scale, x_title: str, y_title: str) -> str:
    bottom = HEIGHT - BOTTOM
    lines = [
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{words}</text>'
        for y, words in ((upward(value), words) for value, words in upward.ticks())
    ]
    lines += [
        f'<text x="{across(value):.1f}" y="{bottom + 18}" text-anchor="middle">{words}</text>'
        for value, words in across.ticks()
    ]
    right = WIDTH - RIGHT
    lines.append(f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
    lines.append(f'<text x="{right}" y="{HEIGHT - 8}" text-anchor="end">{x_title}</text>')
    lines.append(f'<text x="{LEFT + 4}" y="{TOP - 6}">{y_title}</text>')
    return "".join(lines)


def _steps(points: Sequence[_Point], front: str) -> list[_Point]:
    """The artifacts on the front, by cost."""
    return sorted((p for p in points if front in p.spot["fronts"].value), key=lambda p: (p.x, -p.y))


def _front(points: Sequence[_Point], front: str) -> str:
    """Steps: what can be had at a cost is the best score of anything that costs no more."""
    on = _steps(points, front)
    if not on:
        return ""
    steps = f"M{on[0].x:.1f} {on[0].y:.1f}" + "".join(f"H{p.x:.1f}V{p.y:.1f}" for p in on[1:])
    return f'<path class="front" d="{steps}H{WIDTH - RIGHT}"/>'


def _whisker(point: _Point) -> str:
    if point.low == point.high:
        return ""
    return (
        f'<line class="whisker" stroke="{colour(point.format)}" x1="{point.shown_x:.1f}" '
        f'x2="{point.shown_x:.1f}" y1="{point.low:.1f}" y2="{point.high:.1f}"/>'
    )


def _mark(point: _Point, cost: Axis, score: Axis, front: str) -> str:
    spot = point.spot
    value = spot[score.key]
    between = ""
    if value["low"].value is not None:
        between = f" ({value['low'].text(score.kind)} to {value['high'].text(score.kind)})"
    words = (
        f"{named(point.format)} {spot['precision']}: {score.title} "
        f"{value['value'].text(score.kind)}{between}, "
        f"{spot[cost.key].text(cost.kind)} {cost.title}"
    )
    filled = front in spot["fronts"].value
    radius = RADIUS if filled else HOLLOW
    shape = mark(point.format, point.shown_x, point.y, radius, filled=filled)
    place = f'data-cost="{spot[cost.key].value}" data-score="{value["value"].value}"'
    return f"<g {spot.at} {place}><title>{words}</title>{shape}</g>"


def _labels(clusters: Sequence[Sequence[_Point]], on: Sequence[_Point]) -> list[str]:
    """The precisions, one for marks that stand side by side; those on the front in any case."""
    room = RADIUS + 1
    tags, taken = [], []
    for cluster in clusters:
        left, right = cluster[0].shown_x, cluster[-1].shown_x
        box = Box(left - room, cluster[0].y - room, right - left + 2 * room, 2 * room)
        tags.append(Tag(box, cluster[0].precision, any(point in on for point in cluster)))
        taken += [Box(p.shown_x - 0.5, p.high, 1, p.low - p.high) for p in cluster]
    for here, there in zip(on, [*on[1:], None], strict=True):
        end = there.x if there else WIDTH - RIGHT
        taken.append(Box(here.x, here.y - 1, end - here.x, 2))
        if there:
            taken.append(Box(there.x - 1, there.y, 2, here.y - there.y))
    frame = Box(LEFT, TOP - 4, WIDTH - LEFT, HEIGHT - TOP - BOTTOM + 2)
    boxes = place_labels(tags, taken, frame)
    return [_label(box, tag) for box, tag in zip(boxes, tags, strict=True) if box]


def _label(box: Box, tag: Tag) -> str:
    """The words, from the side of the box that is next to the mark, and a line if they are far."""
    mark = tag.mark
    x, anchor = box.x + box.width / 2, "middle"
    if box.x >= mark.x + mark.width - FAR:
        x, anchor = box.x, "start"
    elif box.x + box.width <= mark.x + FAR:
        x, anchor = box.x + box.width, "end"
    words = (
        f'<text class="tag" x="{x:.1f}" y="{box.y + 11.5:.1f}" text-anchor="{anchor}">'
        f"{escape(tag.words)}</text>"
    )
    centre = mark.x + mark.width / 2, mark.y + mark.height / 2
    end = min(max(centre[0], box.x), box.x + box.width), min(max(centre[1], box.y), box.y + 13)
    away = math.dist(centre, end)
    if away < mark.width / 2 + 2 * FAR:
        return words
    start = [c + (e - c) * (RADIUS + 2) / away for c, e in zip(centre, end, strict=True)]
    return (
        f'<line class="leader" x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" '
        f'y2="{end[1]:.1f}"/>{words}'
    )
