"""Noise along the network, and distributions of values before and after."""

from __future__ import annotations

import math
from collections.abc import Sequence

from headtail.report_page.labels import apart
from headtail.report_page.scales import Scale, drawable
from headtail.report_page.spots import Spot

__all__ = ["COLOURS", "histogram", "ink_of", "noise_lines"]

WIDTH, HEIGHT = 600, 320
LEFT, RIGHT, TOP, BOTTOM = 46, 66, 20, 40
COLOURS = ("calm", "four", "pale", "poor")
BARS_WIDTH, BARS_HEIGHT = 220, 84


def noise_lines(profiles: Sequence[Spot]) -> str:
    """SNR over the layers in order, a line per program; hollow marks are depthwise layers."""
    most = max(len(profile["layers"].value) for profile in profiles)
    across = Scale(0, max(1, most - 1), LEFT, WIDTH - RIGHT, 1)
    values = [one["snr_db"].value for profile in profiles for one in profile["layers"]]
    heights = iter(drawable(values))
    upward = Scale.over(drawable(values), start=HEIGHT - BOTTOM, end=TOP)
    places = [
        [(across(i), upward(next(heights))) for i in range(len(profile["layers"].value))]
        for profile in profiles
    ]
    ends = apart([line[-1][1] for line in places], 15)
    lines = [
        _line(profile, line, end, i)
        for i, (profile, line, end) in enumerate(zip(profiles, places, ends, strict=True))
    ]
    title = "Signal-to-noise ratio in decibels at the output of each layer, in order of execution"
    return (
        f'<svg class="wide" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"><title>{title}</title>'
        f"{_grid(upward)}{''.join(lines)}</svg>"
    )


def _grid(upward: Scale) -> str:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    lines = [
        f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{upward(v):.1f}" y2="{upward(v):.1f}"/>'
        f'<text x="{LEFT - 8}" y="{upward(v) + 4:.1f}" text-anchor="end">{words}</text>'
        for v, words in upward.ticks()
    ]
    return (
        "".join(lines)
        + f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>'
        f'<text x="{LEFT + 4}" y="{TOP - 9}">SNR dB</text>'
        f'<text x="{LEFT}" y="{HEIGHT - 14}">first layer</text>'
        f'<text x="{right}" y="{HEIGHT - 14}" text-anchor="end">last layer</text>'
    )


def ink_of(place: int) -> str:
    """The colour of the line at this place in the list."""
    return f"var(--{COLOURS[place % len(COLOURS)]})"


def _line(profile: Spot, places: Sequence[tuple[float, float]], label_y: float, place: int) -> str:
    ink = ink_of(place)
    dashes = f' stroke-dasharray="{5 * (place // len(COLOURS))} 3"' if place >= len(COLOURS) else ""
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    marks = [
        f"<g {one.at}><title>{one['layer']} ({one['op']}): {one['snr_db'].text('db')} dB</title>"
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{3.4 if hollow else 2.2}" stroke="{ink}" '
        f'stroke-width="1.5" fill="{"var(--paper)" if hollow else ink}"/></g>'
        for one, (x, y) in zip(profile["layers"], places, strict=True)
        for hollow in (one["op"].value == "depthwise",)
    ]
    x = places[-1][0] + 9
    label = f'<text class="tag" x="{x:.1f}" y="{label_y + 4:.1f}">{profile["precision"]}</text>'
    return f'<path class="line" stroke="{ink}"{dashes} d="{path}"/>{"".join(marks)}{label}'


def histogram(change: Spot) -> str:
    """Filled: after. Outline: before. Heights are logarithms of counts, so that tails show."""
    both = change["before"], change["after"]
    low = min(one["edges"].value[0] for one in both)
    high = max(one["edges"].value[-1] for one in both)
    across = Scale(low, high, 0, BARS_WIDTH, 1)
    tallest = max(math.log1p(max(one["counts"].value)) for one in both) or 1.0
    upward = Scale(0, tallest, BARS_HEIGHT, 4, 1)
    before, after = (_outline(one, across, upward) for one in both)
    return (
        f'<svg viewBox="0 0 {BARS_WIDTH} {BARS_HEIGHT}" role="img" {change.at} '
        f'preserveAspectRatio="none"><title>Values of {change["name"]} before and after</title>'
        f'<path class="after" d="{after}"/><path class="before" d="{before}"/></svg>'
    )


def _outline(one: Spot, across: Scale, upward: Scale) -> str:
    edges, counts = one["edges"].value, one["counts"].value
    steps = [
        f"V{upward(math.log1p(count)):.1f}H{across(edge):.1f}"
        for count, edge in zip(counts, edges[1:], strict=True)
    ]
    return f"M{across(edges[0]):.1f} {BARS_HEIGHT}{''.join(steps)}V{BARS_HEIGHT}"
