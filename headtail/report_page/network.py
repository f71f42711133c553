"""The sections about the network: noise by layer, sensitivity, distributions, changed images."""

from __future__ import annotations

import math
from html import escape

from headtail.quality.sheet import sheet_name
from headtail.report_page.lines import COLOURS, histogram, ink_of, noise_lines
from headtail.report_page.spots import Spot
from headtail.report_page.tables import artifact_name, head, missing, section, table

__all__ = ["changed", "distributions", "noise", "sensitivity"]

SHOWN = 8  # of the worst layers, and of the changed images of an artifact
BARS = 16
OPEN = 6  # contact sheets that are seen without a click
LISTED = 2  # programs whose worst layers stand beside the chart
OPERATORS = {  # as the class of a bar -> name, colour
    "conv": ("convolution", "calm"),
    "depthwise": ("depthwise convolution", "four"),
    "linear": ("linear", "pale"),
}
_QUANTIZE = "headtail quantize SOURCE --recipe w8a8 --calibration-data DIR"


def noise(page: Spot) -> str:
    """SNR along the network, and the layers where it is least."""
    about = (
        "Signal-to-noise ratio at the output of every layer, all layers before it quantized too. "
        "Where a line falls, noise enters. Hollow marks are depthwise convolutions."
    )
    profiles = [one for one in page["quality"]["noise"] if one["layers"]]
    if not profiles:
        what = "No layer was measured; that happens while a model is quantized:"
        return section("Noise by layer", about, missing(what, command=_QUANTIZE))
    key = "".join(f"<li>{_swatch(i)}{_program(profile)}</li>" for i, profile in enumerate(profiles))
    noisiest = sorted(enumerate(profiles), key=lambda pair: _least(pair[1]))[:LISTED]
    falls = "".join(_falls(profile, i) for i, profile in sorted(noisiest, key=lambda pair: pair[0]))
    body = (
        f'<div class="split"><figure><ul class="key">{key}</ul>{noise_lines(profiles)}</figure>'
        f"<div>{falls}</div></div>" + "".join(map(_every_layer, profiles))
    )
    return section("Noise by layer", about, body)


def _least(profile: Spot) -> float:
    return float(min(one["snr_db"].value for one in profile["layers"]))


def _swatch(place: int) -> str:
    """Hollow for lines that are dashed, since another line has their colour."""
    look = "swatch" if place < len(COLOURS) else "swatch hollow"
    return f'<span class="{look}" style="color:{ink_of(place)}"></span>'


def _falls(profile: Spot, place: int) -> str:
    worst = sorted(profile["layers"], key=lambda one: one["snr_db"].value)[:5]
    items = "".join(
        f"<li>{one['layer'].dotted}<span>{one['snr_db'].show('db')}</span></li>" for one in worst
    )
    heading = f"{_swatch(place)}{_program(profile)}, least dB"
    return f'<h3>{heading}</h3><ul class="bars short">{items}</ul>'


def _program(profile: Spot) -> str:
    return artifact_name(profile) if profile["format"] else str(profile["precision"])


def _every_layer(profile: Spot) -> str:
    rows = [
        f'<tr><th scope="row">{one["layer"].dotted}</th><td>{one["op"]}</td>'
        f'<td class="n">{one["snr_db"].show("db")}</td></tr>'
        for one in profile["layers"]
    ]
    count = profile["n"].show("count")
    caption = f"{profile['precision'].value}: mean over {profile['n'].value} inputs"
    body = table(caption, head(["Layer", "Operator", "SNR dB#"]), rows)
    return (
        f"<details><summary>All {len(rows)} layers of {_program(profile)}, on {count} inputs"
        f"</summary>{body}</details>"
    )


def sensitivity(page: Spot) -> str:
    """Bars: the damage of each layer quantized alone."""
    about = (
        "Noise power over signal power at the outputs if only this layer is quantized. A bar twice "
        "as long is a layer that does twice the damage, and the first to keep more bits."
    )
    runs = [one for one in page["quality"]["sensitivity"] if one["layers"]]
    if not runs:
        what = "Sensitivity was not measured; that happens while a model is quantized:"
        return section("Sensitivity", about, missing(what, command=_QUANTIZE))
    return section("Sensitivity", about, "".join(map(_run, runs)))


def _run(run: Spot) -> str:
    order = sorted(run["layers"], key=lambda one: -one["damage"].value)
    longest = order[0]["damage"].value or 1.0
    items = "".join(_bar(one, longest) for one in order[:BARS])
    rest = len(order) - BARS
    shown = f"The {BARS} most sensitive of {len(order)} layers." if rest > 0 else ""
    head_ = f"<h3>{run['storage']}: {run['method']}, {run['n'].show('count')} inputs</h3>"
    held = {one["op"].value for one in order[:BARS]}
    key = "".join(
        f'<li><span class="swatch" style="color:var(--{hue})"></span>{name}</li>'
        for op, (name, hue) in OPERATORS.items()
        if op in held
    )
    more = ""
    if rest > 0:
        rows = [
            f'<tr><th scope="row">{one["layer"].dotted}</th>'
            f'<td class="n">{one["weights"].show("count")}</td>'
            f'<td class="n">{one["damage"].show("small")}</td></tr>'
            for one in order[BARS:]
        ]
        body = table("The other layers", head(["Layer", "Weights#", "Damage#"]), rows)
        more = f"<details><summary>The other {rest} layers</summary>{body}</details>"
    return (
        f'{head_}<ul class="key">{key}</ul><ul class="bars">{items}</ul>'
        f'<p class="aside">{shown}</p>{more}'
    )


def _bar(one: Spot, longest: float) -> str:
    width = 100 * one["damage"].value / longest
    return (
        f"<li>{one['layer'].dotted}"
        f'<span class="track"><span class="bar {one["op"]}" style="width:{width:.2f}%">'
        f"</span></span><span>{one['damage'].show('small')}</span></li>"
    )


def distributions(page: Spot) -> str:
    """Histograms of values before and after equalization."""
    about = (
        "Outline: before equalization. Filled: after. Heights are logarithms of counts, so that "
        "tails show. Spread: the largest range of a channel over the median one; one scale "
        "serves them all, so the nearer to 1 the better."
    )
    found = list(page["quality"]["equalization"])
    steps = "".join(f"<li>{step}</li>" for step in page["quality"]["steps"])
    said = (
        '<p class="aside">Done to the network first, or tried and left out:</p>'
        f'<ul class="aside">{steps}</ul>'
        if steps
        else ""
    )
    if not found and steps:
        left = '<p class="none">No channels were evened out, so there is nothing to compare.</p>'
        return section("Distributions", about, left + said)
    if not found:
        what = "No tensor was recorded before and after equalization; quantizing does:"
        return section("Distributions", about, missing(what, command=_QUANTIZE))
    charts = "".join(map(_histogram, found))
    return section("Distributions", about, f'<div class="small">{charts}</div>{said}')


def _histogram(change: Spot) -> str:
    ends = [change[name]["edges"].value for name in ("before", "after")]
    low, high = min(one[0] for one in ends), max(one[-1] for one in ends)
    was, now = (change[f"spread_{when}"].show("spread") for when in ("before", "after"))
    return (
        f"<figure>{histogram(change)}"
        f'<div class="ends"><span>{_short(low)}</span><span>{_short(high)}</span></div>'
        f"<figcaption>{change['name'].dotted}<br>spread {was} \N{RIGHTWARDS ARROW} {now}"
        "</figcaption></figure>"
    )


def _short(value: float) -> str:
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:.{min(digits, 4)}f}".replace("-", "\N{MINUS SIGN}")


def changed(page: Spot) -> str:
    """A contact sheet per artifact, surest answers first."""
    about = (
        "Inputs that the artifact answers differently, those first that the float32 model was most "
        "certain of. Struck out: the float32 answer. The numbers are the confidences."
    )
    reports = list(page["quality"]["reports"])
    if not reports:
        what = "Changed answers are recorded while a model is quantized:"
        return section("Changed answers", about, missing(what, command=_QUANTIZE))
    same = [one for one in reports if not one["changed"]]
    others = [one for one in reports if one["changed"]]
    sheets = "".join(_sheet(page, one, is_open=i < OPEN) for i, one in enumerate(others))
    names = ", ".join(map(artifact_name, same))
    none = f'<p class="aside">No answer changed in {names}.</p>' if same else ""
    return section("Changed answers", about, sheets + none)


def _sheet(page: Spot, report: Spot, *, is_open: bool) -> str:
    order = sorted(
        report["changed"], key=lambda one: (-one["confidence_before"].value, one["index"].value)
    )
    total = len(order)
    cards = "".join(_card(page, one) for one in order[:SHOWN])
    heading = f"{artifact_name(report)}: {total} of {report['n'].show('count')}"
    sheet = f'<ul class="sheet">{cards}</ul>'
    if any(one["thumbnail"] for one in report["changed"]):
        key = f"{report['format'].value}.{report['precision'].value}"
        name = escape(sheet_name(key))
        sheet += f'<p class="aside">Beside the report in the bundle: <code>{name}</code></p>'
    if is_open:
        return f"<h3>{heading}</h3>{sheet}"
    return f"<details><summary>{heading}</summary>{sheet}</details>"


def _card(page: Spot, one: Spot) -> str:
    before, after = (_class(page, one[name]) for name in ("before", "after"))
    picture = '<div class="blank"></div>'
    if one["thumbnail"]:
        picture = (
            f'<img alt="input {one["index"]}" src="data:image/jpeg;base64,{one["thumbnail"]}">'
        )
    return (
        f"<li>{picture}<div><s>{before}</s> {one['confidence_before'].show('share')}</div>"
        f"<div>{after} {one['confidence_after'].show('share')}</div></li>"
    )


def _class(page: Spot, index: Spot) -> str:
    called = page["class_names"].value.get(str(index.value))
    return escape(called) if called else f"class {index}"
